"""A sweep of two processes on a real PostgreSQL, of which one is killed in the middle of a trial."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
import yaml

from postgresql import empty_database
from stconv.datasets.recipes.synthetic import generate
from stconv.experiments.study import open_study
from stconv.tracking import list_runs
from waiting import LIMIT_SECONDS

pytestmark = pytest.mark.slow

N_TRIALS = 4
LR = "model.optimizer.init_args.lr"
CONFIG = {
    "data": {"paths": "made.nc", "inputs": ["t2m"], "t_in": 3, "leads": 2, "scaling": "anomaly"},
    "model": {
        "network": {"class_path": "stconv.models.Linear3x3"},
        "loss": {"class_path": "stconv.losses.MaskedMSE"},
        "optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1}},
    },
    "trainer": {
        "max_epochs": 1,
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
    },
}
WORKER = """\
import sys
import stconv.experiments.study as study
from stconv.cli.main import main
study.HEARTBEAT_SECONDS, study.LOST_SECONDS = 1, 12
sys.exit(main(sys.argv[1:]))
"""


def test_the_trial_of_a_killed_process_is_tried_again_and_counted_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    generate(tmp_path / "made.nc", n_steps=120, n_lat=4, n_lon=5)
    Path("made.yaml").write_text(yaml.safe_dump(CONFIG))
    Path("worker.py").write_text(WORKER)
    with empty_database() as storage:
        command = [sys.executable, "-u", "worker.py", "sweep", "--config", "made.yaml", "--storage", storage]
        command += ["--space", f"{LR}=1e-4:0.3:log", "--trials", str(N_TRIALS)]
        workers = [
            subprocess.Popen(
                command, env=os.environ | {"OMP_NUM_THREADS": "1"}, text=True, stdout=subprocess.PIPE
            )
            for _ in range(2)  # at once: both make the tables of the database
        ]
        try:
            begun = next(line for line in workers[1].stdout if line.startswith("Trial "))
            workers[1].send_signal(signal.SIGKILL)
            said, _ = workers[0].communicate(timeout=2 * LIMIT_SECONDS)
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
        assert workers[0].returncode == 0, said
        trials = open_study("made", storage).trials
    lost = trials[int(begun.split()[1].rstrip(":"))]
    (again,) = (trial for trial in trials if trial.system_attrs.get("retry_history"))
    assert again.system_attrs["retry_history"] == [lost.number]
    assert again.params == lost.params
    assert lost.state == optuna.trial.TrialState.FAIL
    assert {trial.state for trial in trials if trial is not lost} <= {
        optuna.trial.TrialState.COMPLETE,
        optuna.trial.TrialState.PRUNED,
    }
    assert len(trials) == N_TRIALS + 1
    assert f"Trial {again.number}: " in said
    runs = {run.name for run in list_runs("made") if "stconv.trial" in run.tags}
    assert {f"made-{trial.number}" for trial in trials if trial is not lost} <= runs
