"""Mark a run FAILED whose process was killed, and so could not do it itself.

A process of its own waits for the end of a pipe. A training that ends, well or not, says so into it; one
that is killed (out of memory, or by Lightning after the death of another rank) just closes it. While it waits
it has imported nothing but this file.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

DONE = b"done\n"
REASON = "the training process was killed, or one of its ranks died; see what it printed last"


class Watchdog:
    """Watch over a run until `done`.

    Args:
        run_id: The run, which is RUNNING.
    """

    def __init__(self, run_id: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), run_id],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,  # what stops the training by a signal to its group does not stop it
        )  # fmt: skip

    def done(self) -> None:
        """Say that the training has ended, and that the status of its run is right."""
        with contextlib.suppress(OSError):
            self._process.communicate(DONE)


def mark_failed(run_id: str) -> None:
    """Mark a run FAILED if it is still RUNNING."""
    from stconv.tracking.store import connect

    client = connect(reading=True)
    if client.get_run(run_id).info.status == "RUNNING":
        client.set_tag(run_id, "stconv.error", REASON)
        client.set_terminated(run_id, "FAILED")


def _main() -> None:
    if sys.stdin.buffer.read() == DONE:
        return
    root = str(Path(__file__).resolve().parents[2])
    sys.path[0] = root  # not this folder, whose files have names that others have too
    mark_failed(sys.argv[1])


if __name__ == "__main__":
    _main()
