"""Tasks, turns, notes and versions of servers: alone, and through a folder with other processes."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from service.background import alias, versions
from service.http.quota import Quota, QuotaExceeded
from service.model.settings import ModelSettings
from service.settings import Settings
from service.sharing.alone import Alone
from service.sharing.folder import SharedFolder
from service.telemetry.metrics import Metrics
from stconv.errors import ServiceError, TrackingError
from waiting import until, until_async


@pytest.fixture(params=["alone", "folder"])
def sharing(request, tmp_path):
    return Alone() if request.param == "alone" else SharedFolder(tmp_path / "shared")


def test_a_server_holds_a_task_until_it_leaves_it(sharing):
    assert not sharing.holds("archive-air")
    assert sharing.hold("archive-air")
    assert sharing.hold("archive-air"), "it keeps it"
    assert sharing.holds("archive-air")
    sharing.release("archive-air")
    sharing.release("archive-air")
    assert not sharing.holds("archive-air")
    assert sharing.hold("archive-air")


def test_notes_are_replaced_as_a_whole(sharing):
    assert sharing.read("version-air") is None
    sharing.write("version-air", b"a long note")
    sharing.write("version-air", b"short")
    assert sharing.read("version-air") == b"short"
    sharing.write("../outside", b"x")
    assert sharing.read("../outside") == b"x"


def test_turns_of_threads_exclude_each_other(sharing):
    sharing.write("count", b"0")

    def add():
        for _ in range(50):
            with sharing.turn("count"):
                sharing.write("count", b"%d" % (int(sharing.read("count")) + 1))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sharing.read("count") == b"200"


def test_a_quota_is_spent_and_refilled(sharing):
    now = [1000.0]
    quota = Quota(2, sharing, clock=lambda: now[0])
    assert quota.spend("key")["RateLimit-Remaining"] == "1"
    quota.spend("key")
    with pytest.raises(QuotaExceeded, match="2 requests per minute"):
        quota.spend("key")
    quota.spend("another key")
    now[0] += 30
    quota.spend("key")
    now[0] -= 3600  # the clock was set back: nobody waits for an hour
    with pytest.raises(QuotaExceeded):
        quota.spend("key")
    now[0] += 30
    quota.spend("key")


def test_two_servers_share_one_quota(tmp_path):
    quotas = [Quota(10, SharedFolder(tmp_path / "shared"), clock=lambda: 0.0) for _ in range(2)]
    passed = []

    def ask(quota):
        for _ in range(10):
            try:
                quota.spend("key")
                passed.append(1)
            except QuotaExceeded:
                pass

    threads = [threading.Thread(target=ask, args=(quota,)) for quota in quotas]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(passed) == 10


def test_a_task_goes_to_another_server_when_its_own_is_killed(tmp_path):
    code = """
import sys, time
from pathlib import Path
from service.sharing.folder import SharedFolder
shared = SharedFolder(Path(sys.argv[1]))
print(shared.hold("archive-air"), flush=True)
time.sleep(600)
"""
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "True\n"
        here = SharedFolder(tmp_path)
        assert not here.hold("archive-air")
        os.kill(other.pid, signal.SIGKILL)
        until(lambda: here.hold("archive-air"))
    finally:
        other.kill()
        other.wait()
        other.stdout.close()


def test_a_task_that_is_left_is_taken_by_one_of_many(tmp_path):
    """The file of the lock is removed while others wait for it: two never hold the task at once."""
    holders, most = [], []
    over = threading.Event()

    def work():
        server = SharedFolder(tmp_path)
        while not over.is_set():
            if server.hold("job-1"):
                holders.append(1)
                most.append(len(holders))
                holders.pop()
                server.release("job-1")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: len(most) > 200)
    over.set()
    for thread in threads:
        thread.join()
    assert max(most) == 1


def test_a_folder_that_cannot_be_written_is_refused_with_a_sentence(tmp_path):
    (tmp_path / "shared").write_text("a file")
    with pytest.raises(ServiceError, match=r"cannot be shared: .* file system with locks"):
        SharedFolder(tmp_path / "shared")


# Versions


class Model:
    """A worker that loads what it is told to, and notes it."""

    name = "air"

    def __init__(self, folder, sha256):
        self.served, self.loaded = (folder, sha256), []

    @property
    def facts(self):
        return SimpleNamespace(sha256=self.served[1])

    def current(self):
        return ModelSettings(str(self.served[0]), version=self.served[1], sha256=self.served[1])

    async def swap(self, bundle, version, sha256):
        self.loaded.append(sha256)
        self.served = bundle, sha256
        await asyncio.sleep(0.02)  # others have their turn before the switch is noted


@pytest.fixture
def bundles(tmp_path):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "spec.json").write_text(name)
    return tmp_path


def test_a_switch_is_followed_once_and_not_taken_back(bundles, monkeypatch):
    monkeypatch.setattr(versions, "LOOK_SECONDS", 0.001)

    async def run():
        here, there = (
            versions.Versions(SharedFolder(bundles / "shared"), bundles / "bundles") for _ in range(2)
        )
        first, second = Model(bundles / "old", "old"), Model(bundles / "old", "old")
        following = [asyncio.create_task(v.follow(w)) for v, w in ((here, first), (there, second))]
        await until_async(lambda: here.noted("air") == versions.Served("old", "old"))
        await here.switch(first, bundles / "new", "new", "new")
        await until_async(lambda: second.loaded)
        await asyncio.sleep(0.05)
        for task in following:
            task.cancel()
        assert (first.loaded, second.loaded) == (["new"], ["new"])
        assert (second.served[0] / "spec.json").read_text() == "new", "a copy that all servers can read"

    asyncio.run(run())


def test_a_server_that_looked_before_a_switch_does_not_take_it_back(bundles):
    """It found no note, and notes its own version only now, when another server has switched."""
    here, there = (versions.Versions(SharedFolder(bundles / "shared"), bundles / "bundles") for _ in range(2))
    here._note(Model(bundles / "new", "new"), first=False)
    there._note(Model(bundles / "old", "old"), first=True)
    assert here.noted("air") == there.noted("air") == versions.Served("new", "new")


def test_servers_with_the_same_process_id_copy_a_bundle_at_once(bundles):
    """Each server in a container has the id 1; the copies of this process have the same id, too."""
    together = threading.Barrier(4)

    def note():
        server = versions.Versions(SharedFolder(bundles / "shared"), bundles / "bundles")
        together.wait()
        server._note(Model(bundles / "old", "old"), first=True)
        return server.noted("air")

    with ThreadPoolExecutor(4) as pool:
        noted = [future.result() for future in [pool.submit(note) for _ in range(4)]]
    assert noted == [versions.Served("old", "old")] * 4
    assert [path.name for path in (bundles / "bundles").iterdir()] == ["old"]


def test_a_server_that_comes_first_brings_its_own_version(bundles):
    earlier = SharedFolder(bundles / "shared")
    earlier.write("version-air", b'{"sha256": "old", "version": "1"}')
    joined = SharedFolder(bundles / "shared")
    assert versions.Versions(joined, bundles).noted("air") == versions.Served("old", "1")
    earlier.close()
    joined.close()
    assert versions.Versions(SharedFolder(bundles / "shared"), bundles).noted("air") is None


def test_why_an_alias_is_not_followed_is_told_without_addresses(bundles, monkeypatch, caplog):
    def refuse(reference):
        raise TrackingError("The tracking server at 10.0.0.7 does not answer")

    monkeypatch.setattr(alias, "alias_version", refuse)
    sharing, metrics = Alone(), Metrics()
    worker = SimpleNamespace(name="air", version="1")
    follow = alias.FollowAlias(
        worker,
        "models:/air@champion",
        sharing,
        versions.Versions(sharing, bundles),
        Settings(follow_seconds=0.01),
        metrics,
    )

    async def run():
        task = asyncio.create_task(follow.run())
        failed = metrics.alias_checks.labels("air", "failed")
        await until_async(lambda: failed.collect()[0].samples[0].value > 1)
        task.cancel()

    asyncio.run(run())
    assert follow.state() == {
        "reference": "models:/air@champion",
        "version": "1",
        "asks_the_registry": True,
        "checked": None,
        "problem": "The alias is not followed: the registry cannot be asked. The server's log says why.",
    }
    assert caplog.text.count("10.0.0.7 does not answer") == 1, "once, not at every check"
