"""Places in the queue of a model are counted before an upload is read; every admitted request is answered."""

import asyncio
import inspect

import pytest
from fastapi import FastAPI

from service.http.bodies import BodyRoom
from service.http.problem_answers import install
from service.problems import DeadlineExceeded, Unavailable
from service.settings import Settings
from service.telemetry.metrics import Metrics
from service.wire.model_messages import ForecastNewest, Form
from service.workers import parsers, places
from service.workers.parsers import Slots
from service.workers.places import asker
from service.workers.worker import Worker
from waiting import LIMIT_SECONDS, until_async

ASKED = ForecastNewest(None, Form("application/json", None))


class Link:
    """A model process that never answers."""

    lost = None
    bytes_under_way = 0

    def __init__(self):
        self.under_way = {}

    def send(self, pending):
        pending.place.movable = False
        self.under_way[id(pending)] = pending


@pytest.fixture
def worker(tmp_path, monkeypatch):
    worker = Worker("air", tmp_path, Settings(queue_size=2, max_batch=1), Metrics())
    monkeypatch.setattr(worker, "_link", Link())
    return worker


async def asked(worker, n):
    asking = [asyncio.create_task(worker.ask(ASKED)) for _ in range(n)]
    await asyncio.sleep(0)
    return asking


def test_uploads_that_are_read_take_the_places_of_others(worker):
    """Two places with the model and two in the queue: three are asked for, one upload is read."""

    async def work():
        asking = await asked(worker, 3)
        async with worker.place() as place:
            refused = worker.refusal("")
            assert "air is busy: 4 requests" in refused.detail
            assert refused.extra["limit"] == 4
            with pytest.raises(Unavailable):
                await worker.ask(ASKED)
            placed = asyncio.create_task(worker.ask_in_place(place, ASKED))
            await asyncio.sleep(0)
            assert not placed.done()
            placed.cancel()
        assert worker.refusal("") is None
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, placed, return_exceptions=True)
        assert worker.places.taken == 0

    asyncio.run(work())


def test_places_come_back_however_a_request_ends(worker):
    async def work():
        for _ in range(10):
            with pytest.raises(ValueError, match="unreadable"):
                async with worker.place():
                    raise ValueError("unreadable")
        assert worker.places.taken == 0
        with pytest.raises(DeadlineExceeded, match=r"not ready within 0.01 s") as late:
            async with worker.place(0.01):
                await asyncio.sleep(LIMIT_SECONDS)
        assert late.value.extra == {"limit_seconds": 0.01}
        assert worker.places.taken == 0

    asyncio.run(work())


async def holding(worker, client, n, ends):
    """Hold n places of a client, and note how each ends."""

    async def hold():
        asker.set(client)
        try:
            async with worker.place():
                await asyncio.sleep(LIMIT_SECONDS)
        except Unavailable as problem:
            ends.append((client, problem.detail))

    held = [asyncio.create_task(hold()) for _ in range(n)]
    await asyncio.sleep(0)
    return held


def test_a_client_takes_places_from_the_one_with_the_most(worker):
    """Of four places one client has all; another gets two of them, a third one of those of the first two."""

    async def work():
        ends = []
        held = await holding(worker, "many", 5, ends)
        assert [client for client, _ in ends] == ["many"], "a fifth for the same client"
        assert worker.refusal("many") is not None
        assert worker.refusal("few") is None
        held += await holding(worker, "few", 3, ends)
        await until_async(lambda: len(ends) == 4)
        assert [client for client, _ in ends].count("few") == 1, "it has two, and so has the other"
        assert any("other clients have fewer" in detail for _, detail in ends)
        held += await holding(worker, "third", 1, ends)
        await until_async(lambda: len(ends) == 5)
        assert worker.places.taken == 4
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)

    asyncio.run(work())


def test_what_the_model_has_already_is_finished(worker):
    async def work():
        asker.set("many")
        asking = await asked(worker, 4)  # two of them are with the model
        asker.set("few")
        more = [asyncio.create_task(worker.ask(ASKED)) for _ in range(2)]
        await until_async(lambda: sum(task.done() for task in asking) == 2)
        await asyncio.sleep(0)
        assert [task.done() for task in asking] == [False, False, True, True]
        assert not any(task.done() for task in more)
        assert worker.refusal("third") is None or worker.places.taken == 4
        for task in (*asking, *more):
            task.cancel()
        await asyncio.gather(*asking, *more, return_exceptions=True)

    asyncio.run(work())


def test_next_is_the_client_that_has_the_fewest_with_the_model(worker):
    async def work():
        asker.set("many")
        asking = await asked(worker, 3)
        asker.set("few")
        asking += await asked(worker, 1)
        link = worker._link
        assert [pending.place.client for pending in link.under_way.values()] == ["many", "many"]
        del link.under_way[next(iter(link.under_way))]
        worker._dispatch()
        assert [pending.place.client for pending in link.under_way.values()] == ["many", "few"]
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    asyncio.run(work())


def test_a_slow_body_keeps_no_place(worker, monkeypatch):
    monkeypatch.setattr(places, "SLOW_SECONDS", 0.01)

    async def work():
        async with worker.place() as place:
            async with worker.places.while_read(place):
                assert worker.places.taken == 1
                await until_async(lambda: worker.places.taken == 0)
            assert worker.places.taken == 1, "it has a place again once its body is there"
            asking, arrived = await asked(worker, 3), asyncio.Event()

            async def slow():
                async with worker.places.while_read(place):
                    await arrived.wait()

            reading = asyncio.create_task(slow())
            await until_async(lambda: place.aside)
            asking += await asked(worker, 1)
            arrived.set()
            with pytest.raises(Unavailable, match="busy"):
                await reading
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    asyncio.run(work())


def test_a_client_without_a_parser_gets_one_and_the_others_take_turns():
    async def work():
        slots, order, leave = Slots(2), [], asyncio.Event()

        async def parse(client):
            async with slots.one(client):
                order.append(client)
                await leave.wait()

        tasks = [asyncio.create_task(parse(client)) for client in ("a", "a", "a", "a", "b", "c", "d")]
        await asyncio.sleep(0)
        assert order == ["a", "a", "b", "c"], "two, and one each for two more"
        tasks[2].cancel()
        leave.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert sorted(order) == ["a", "a", "a", "b", "c", "d"]
        assert not slots._busy

    asyncio.run(work())


def test_small_uploads_do_not_wait_for_slow_ones_of_the_same_client(monkeypatch):
    """Two that do not return: two small ones are read after all, a large one waits, and so does a seventh."""
    monkeypatch.setattr(parsers, "SLOW_SECONDS", 0.01)

    async def work():
        slots, order, leave = Slots(2), [], asyncio.Event()

        async def parse(name, small=True):
            async with slots.one("a", small):
                order.append(name)
                await leave.wait()

        tasks = [asyncio.create_task(parse("large", small=False))]
        tasks += [asyncio.create_task(parse(i)) for i in range(6)]
        tasks.append(asyncio.create_task(parse("also large", small=False)))
        await until_async(lambda: len(order) == 6)
        assert order == ["large", 0, 1, 2, 3, 4]
        leave.set()
        await asyncio.gather(*tasks)
        assert sorted(order[6:], key=str) == [5, "also large"]
        assert not slots._busy

    asyncio.run(work())


def test_bodies_that_are_longest_on_their_way_make_room():
    async def work():
        room, ends = BodyRoom(100), []

        async def arrive(name, sizes):
            try:
                async with room.arriving(LIMIT_SECONDS) as count:
                    for size in sizes:
                        count(size)
                        await asyncio.sleep(0)
                    if name != "fast":
                        await asyncio.sleep(LIMIT_SECONDS)
                ends.append((name, "read"))
            except Unavailable:
                ends.append((name, "ended"))

        tasks = [asyncio.create_task(arrive(name, sizes)) for name, sizes in (("one", [40]), ("two", [40]))]
        await asyncio.sleep(0)
        await arrive("fast", [15, 15])
        await until_async(lambda: len(ends) == 2)
        assert sorted(ends) == [("fast", "read"), ("one", "ended")]
        await arrive("alone", [101])
        assert ends[-1] == ("alone", "ended")
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(work())


def test_a_refusal_waits_for_no_thread():
    """FastAPI runs a handler that is no coroutine in a thread, and an overload has none to spare."""
    app = FastAPI()
    before = set(app.exception_handlers)
    install(app)
    ours = [app.exception_handlers[kind] for kind in app.exception_handlers if kind not in before]
    assert len(ours) >= 4
    assert all(inspect.iscoroutinefunction(handler) for handler in ours)
