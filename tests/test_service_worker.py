"""Places in the queue of a model are counted before an upload is read; every admitted request is answered."""

import asyncio
import inspect

import pytest
from fastapi import FastAPI

from service.http.problem_answers import install
from service.problems import Unavailable
from service.settings import Settings
from service.telemetry.metrics import Metrics
from service.wire.model_messages import ForecastNewest, Form
from service.workers.worker import Worker

ASKED = ForecastNewest(None, Form("application/json", None))


class Link:
    """A model process that never answers."""

    lost = None
    bytes_under_way = 0

    def __init__(self):
        self.under_way = []

    def send(self, job):
        self.under_way.append(job)


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
        with worker.place():
            with pytest.raises(Unavailable, match="air is busy: 4 requests") as refused:
                worker.require_room()
            assert refused.value.extra["limit"] == 4
            with pytest.raises(Unavailable):
                await worker.ask(ASKED)
            placed = asyncio.create_task(worker.ask_in_place(ASKED))
            await asyncio.sleep(0)
            assert not placed.done()
            placed.cancel()
        worker.require_room()
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, placed, return_exceptions=True)
        for _ in range(4):
            worker.require_room()
        assert len(await asked(worker, 5)) == 5

    asyncio.run(work())


def test_places_come_back_however_a_request_ends(worker):
    async def work():
        for _ in range(10):
            with pytest.raises(ValueError, match="unreadable"), worker.place():
                raise ValueError("unreadable")
        worker.require_room()

    asyncio.run(work())


def test_a_refusal_waits_for_no_thread():
    """FastAPI runs a handler that is no coroutine in a thread, and an overload has none to spare."""
    app = FastAPI()
    before = set(app.exception_handlers)
    install(app)
    ours = [app.exception_handlers[kind] for kind in app.exception_handlers if kind not in before]
    assert len(ours) >= 5
    assert all(inspect.iscoroutinefunction(handler) for handler in ours)
