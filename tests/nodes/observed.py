"""`stconv` that writes down the windows of each step, and may kill itself in the middle of an epoch.

`OBSERVED` is the folder of the notes. `KILLED` is the rank and the step, such as "1 12", of the process that
ends itself as a lost machine does; after a restart it does not.
"""

import json
import os
import signal
import sys
from pathlib import Path

import stconv.experiments.resuming as resuming
from stconv.cli.main import main
from stconv.task import ForecastTask

NOTES = Path(os.environ["OBSERVED"])
KILLED = [int(word) for word in os.environ.get("KILLED", "").split()]
RESTARTS = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))

if KILLED:
    resuming.INTERVAL_SECONDS = 0.0  # a checkpoint after each step
step = ForecastTask.training_step


def observed(task, batch, batch_idx):
    """Write a line, then take the step."""
    rank, at = task.global_rank, task.global_step
    if [rank, at] == KILLED and RESTARTS == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    line = {"restart": RESTARTS, "step": at, "windows": batch["reference_index"].tolist()}
    with (NOTES / f"{rank}.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    return step(task, batch, batch_idx)


ForecastTask.training_step = observed
sys.exit(main(sys.argv[1:]))
