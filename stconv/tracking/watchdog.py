"""A watchdog process that marks a run FAILED after its process was killed.

It waits for the end of a pipe. A training that ends, with or without an error, writes into the pipe; one that
is killed (out of memory, or by Lightning after the death of another rank) only closes it. The watchdog
imports nothing but this file while it waits.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

DONE = b"done\n"
REASON = "the training process was killed, or one of its ranks died; see the end of its output"


class Watchdog:
    """Watch a run until `done`.

    Args:
        run_id: Id of a run with the status RUNNING.
    """

    def __init__(self, run_id: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), run_id],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,  # a signal to the group of the training must not stop it
        )  # fmt: skip

    def done(self) -> None:
        """Tell the watchdog that the training has ended and set the status of its run."""
        with contextlib.suppress(OSError):
            self._process.communicate(DONE)


def mark_failed(run_id: str) -> None:
    """Mark a run FAILED if it is still RUNNING."""
    from stconv.tracking.run_layout import TAG_ERROR
    from stconv.tracking.store import connect

    client = connect(reading=True)
    if client.get_run(run_id).info.status == "RUNNING":
        client.set_tag(run_id, TAG_ERROR, REASON)
        client.set_terminated(run_id, "FAILED")


def _main() -> None:
    if sys.stdin.buffer.read() == DONE:
        return
    root = str(Path(__file__).resolve().parents[2])
    sys.path[0] = root  # without this folder, whose file names also exist elsewhere
    mark_failed(sys.argv[1])


if __name__ == "__main__":
    _main()
