"""Names on a run: its tags and parameters, and where its files lie, in its folder and in MLflow alike."""

from __future__ import annotations

from stconv.results import SCORES_NC

TAG_VERSION, TAG_COMMAND, TAG_COMMIT = "stconv.version", "stconv.command", "mlflow.source.git.commit"
TAG_FOLDER = "stconv.folder"
"""Folder of the run, on the machine that trained it."""
TAG_TRAINED, TAG_ERROR = "stconv.trained", "stconv.error"
TAG_READS, TAG_LAST_READ = "stconv.test_reads", "stconv.test_last_read"
TAG_REFIT_OF, TAG_REFIT = "stconv.refit_of", "stconv.refit"
"""Run that a refit repeats, on the refit; and the newest refit of a run, on that run."""
TAG_SWEEP, TAG_TRIAL = "stconv.sweep", "stconv.trial"
TAG_PARENT, TAG_NAME = "mlflow.parentRunId", "mlflow.runName"

DATA_HASH, DATA_NAME, N_PARAMETERS = "data.hash", "data.name", "model.n_parameters"
"""Parameters."""
TEST_METRIC = "test_rmse"
"""A run that has it was tested."""

CONFIG, DATA = "config.yaml", "data.json"
LONG_PARAMETERS = "long_parameters.json"
BUNDLE, EXPLANATION, VERIFICATION = "bundle", "explain", "verification"
"""Folders."""
SCORES = f"{VERIFICATION}/{SCORES_NC}"
BEST_CHECKPOINT = "checkpoints/best.ckpt"


def registered(bundle_hash: str) -> str:
    """Folder of the copy that a registered version is: a `BUNDLE`, and its `SCORES_NC`."""
    return f"registered/{bundle_hash[:12]}"


def checkpoint_path(which: str) -> str:
    """Of the checkpoint of this name, such as "best" or "last"."""
    return BEST_CHECKPOINT.replace("best", which)
