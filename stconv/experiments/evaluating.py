"""A trained model on the test period of its data: scores, pictures and report, recorded on its run."""

from __future__ import annotations

import logging
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stconv.experiments.quiet import silence_lightning
from stconv.experiments.trained_model import TrainedModel, check_data, load_scoring

if TYPE_CHECKING:
    from stconv.verification import Verification
    from stconv.verification.scores.scoring import Scoring


def evaluate(
    trained: TrainedModel,
    output: Path | None = None,
    device: str = "auto",
    scoring: Scoring | None = None,
    forecasts: Path | None = None,
) -> tuple[Verification, Path]:
    """Score a model once on the test period of its data, and write and record the results.

    Args:
        trained: Model to evaluate, from `find_trained_model`.
        output: Folder to write to; default: "verification" in the folder of the run.
        device: auto, cpu or cuda.
        scoring: Further scores besides the errors; default: those of the configuration.
        forecasts: NetCDF file to write every forecast to.

    Returns:
        The result, and the folder with report, pictures and scores.

    Raises:
        ConfigError: Data and model do not fit each other.
        SplitError: The test period reaches into what the model was trained or selected on.
        LeakError: The forecast knows what it is to forecast.
    """
    import pytorch_lightning as pl

    from stconv.bundle import Bundle
    from stconv.results import write_results
    from stconv.task import ForecastTask
    from stconv.tracking import RunLogger
    from stconv.tracking.archive import WriteForecasts
    from stconv.tracking.callbacks import ExportBundle
    from stconv.tracking.run_layout import VERIFICATION

    bundle = Bundle.load(trained.bundle)
    data = trained.data()
    data.prepare_data()
    data.setup("test")
    check_data(bundle, data)
    task = ForecastTask(bundle.network, None, scoring=scoring or load_scoring(trained))
    task.preparation, task.bands = bundle.preparation, bundle.bands
    logger = RunLogger.going_on(trained.run) if trained.run else None
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    silence_lightning()
    callbacks: list[Any] = [ExportBundle()] if logger else []
    trainer = pl.Trainer(
        accelerator={"cuda": "gpu"}.get(device, device),
        devices=1,
        logger=logger or False,
        callbacks=callbacks + ([WriteForecasts(forecasts)] if forecasts else []),
        enable_progress_bar=sys.stderr.isatty(),
        enable_model_summary=False,
    )
    trainer.test(task, datamodule=data, verbose=False)
    result = task.verification
    assert result is not None
    if logger is None:
        folder = output or Path(VERIFICATION)
        about = {"Model": f"{bundle.name}, bundle {bundle.hash[:12]}"}
        write_results(result, task, data, folder, about)
        return result, folder
    logger.finalize("success")
    folder = Path(logger.log_dir, VERIFICATION)
    if output is not None:
        folder = Path(shutil.copytree(folder, output, dirs_exist_ok=True))
    return result, folder
