"""Short waits of torch's threads: the use of the processor by other programs, and the idle threads."""

import os
import sys
import threading

import pytest
import torch

from stconv import brief_waits
from stconv.brief_waits import Usage, others, usage
from stconv.processor import WAITING
from waiting import until

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="GNU OpenMP and /proc are those of Linux")
STAT = """\
cpu  900 0 300 5000 10 3 7 20 0 0
cpu0 400 10 100 2000 5 1 4 5 0 0
cpu1 300 20 100 2000 5 1 3 6 0 0
cpu12 200 30 100 1000 0 1 0 9 0 0
intr 12 34
"""


@LINUX
def test_processor_time_of_the_allowed_cores_is_counted(tmp_path, monkeypatch):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "stat").write_text(STAT)
    monkeypatch.setattr(os, "sysconf", lambda name: 100)
    # user, nice, system, irq, softirq and steal of the cores 0 and 12: 520 and 340 ticks of 10 ms
    assert usage({0, 12}, tmp_path).all == pytest.approx(8.6)
    assert usage({1}, tmp_path).all == pytest.approx(4.3)


def test_cores_of_other_programs():
    # in two seconds: three seconds of the processor, half a second of them our own
    assert others(Usage(10, 4), Usage(13, 4.5), 2) == pytest.approx(1.25)
    assert others(Usage(10, 4), Usage(10, 4.1), 2) == 0


@pytest.fixture
def two_threads(monkeypatch):
    """Two threads on two cores, of which the list that the test changes gives those of other programs."""
    for name in WAITING:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    monkeypatch.setattr(brief_waits, "PAUSE_SECONDS", 0.01)
    busy = [0.0]
    monkeypatch.setattr(brief_waits, "others", lambda before, now, seconds: busy[0])
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield busy
    torch.set_num_threads(before)


def idle():
    return sum(thread.name == "stconv-idle" for thread in threading.enumerate())


def system_threads():
    return len(os.listdir("/proc/self/task"))


@LINUX
def test_idle_threads_are_there_while_others_are_busy_and_gone_afterwards(two_threads):
    torch.ones(brief_waits.ELEMENTS).add_(1)  # the threads of torch itself are there before and after
    before, names = system_threads(), {thread.name for thread in threading.enumerate()}
    with brief_waits.brief_waits():
        assert not idle()
        two_threads[0] = 1.0
        until(lambda: idle() == 1)
        until(lambda: system_threads() >= before + 3)  # the watch, the idle thread, and its one of OpenMP
        with brief_waits.brief_waits():
            assert idle() == 1
        two_threads[0] = 0.0
        until(lambda: not idle())
        two_threads[0] = 1.0
        until(lambda: idle() == 1)
    assert {thread.name for thread in threading.enumerate()} == names
    until(lambda: system_threads() <= before)  # of other tests, some may have ended meanwhile
    assert torch.get_num_threads() == 2


@LINUX
@pytest.mark.parametrize("name", WAITING)
def test_nothing_is_started_where_the_user_has_chosen(two_threads, monkeypatch, name):
    monkeypatch.setenv(name, "1")
    two_threads[0] = 2.0
    names = {thread.name for thread in threading.enumerate()}
    with brief_waits.brief_waits():
        assert {thread.name for thread in threading.enumerate()} == names


@LINUX
def test_one_thread_waits_for_nobody(two_threads, monkeypatch):
    torch.set_num_threads(1)
    two_threads[0] = 2.0
    looks = []
    monkeypatch.setattr(brief_waits, "others", lambda before, now, seconds: looks.append(1) or 2.0)
    with brief_waits.brief_waits():
        until(lambda: len(looks) > 3)
        assert not idle()
