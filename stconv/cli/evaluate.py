"""`stconv evaluate`: a trained model on the test period: table, verdict, pictures, report page."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import shutil
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stconv.cli.trained_model import TrainedModel, check_data, find_trained_model, load_data, load_scoring

if TYPE_CHECKING:
    from stconv.verification import Verification
    from stconv.verification.scores.scoring import Scoring

EPILOG = """examples:
  stconv evaluate                                    the newest trained run
  stconv evaluate conv2plus1d                        the newest run of that name, or a run id
  stconv evaluate models:/air@champion --output report
  stconv evaluate runs/air/RUN/bundle --config runs/air/RUN/config.yaml --json
  stconv evaluate rain --thresholds 0.5 2            also CSI, POD, FAR and FSS above thresholds
  stconv evaluate rain --optical-flow                also compared with optical flow
  stconv evaluate --region europe=35,70,-10,40       also scores of this box
  stconv evaluate --forecasts forecasts.nc           also every forecast, for other evaluation tools
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `stconv evaluate`."""
    parser.epilog = EPILOG
    add = parser.add_argument
    add(
        "reference",
        nargs="?",
        metavar="REFERENCE",
        help="run id or name, runs:/ID, models:/NAME@ALIAS, or bundle folder (default: newest trained run)",
    )
    add("--experiment", metavar="NAME", help="look for the run in this experiment only")
    add(
        "--config",
        metavar="FILE",
        help="test on the data of this configuration instead of the run's; the result is not recorded",
    )
    add("--output", metavar="DIR", help="also write report, pictures and scores to this folder")
    add("--json", action="store_true", help="print only the scores, as JSON")
    add("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    add(
        "--thresholds",
        nargs="+",
        metavar="VALUE",
        help="thresholds of events, in the units of the variable; with several variables NAME=VALUE "
        "(default: model.scoring.thresholds of the configuration)",
    )
    add(
        "--region",
        action="append",
        metavar="NAME=LAT,LAT,LON,LON",
        help="also score this box; repeatable",
    )
    add(
        "--optical-flow",
        action="store_true",
        help="also compare with the optical flow of pysteps (pip install 'stconv[pysteps]') (default: "
        "model.scoring.optical_flow of the configuration)",
    )
    add("--forecasts", metavar="FILE", help="also write every forecast of the test period, as NetCDF")


def run(args: argparse.Namespace) -> int:
    """Evaluate, print, write and record."""
    from rich.console import Console

    from stconv.results import REPORT

    with contextlib.redirect_stdout(sys.stderr):  # whatever libraries print; the result alone goes to stdout
        trained = find_trained_model(args.reference, args.experiment, args.config)
        scoring = load_scoring(trained, args.thresholds or (), args.region or (), args.optical_flow)
        output = Path(args.output) if args.output else None
        forecasts = Path(args.forecasts) if args.forecasts else None
        result, folder = evaluate(trained, output, args.device, scoring, forecasts)
    if args.json:
        print(json.dumps({**result.to_json(), "folder": str(folder)}, indent=2, allow_nan=False))
        return 0
    from stconv.verification.report.table import render_table

    console = Console()
    console.print(render_table(result, width=min(console.width, 110)), soft_wrap=True)
    if forecasts is not None:
        console.print(f"Forecasts: {forecasts}", soft_wrap=True, highlight=False)
    console.print(f"Report: {folder / REPORT}", soft_wrap=True, highlight=False)
    return 0


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
    data = load_data(trained.config)
    data.prepare_data()
    data.setup("test")
    check_data(bundle, data)
    task = ForecastTask(bundle.network, None, scoring=scoring or load_scoring(trained))
    task.preparation, task.bands = bundle.preparation, bundle.bands
    logger = RunLogger.going_on(trained.run) if trained.run else None
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for advice in (r".*does not have many workers.*", r".*isinstance\(treespec, LeafSpec\).*"):
        warnings.filterwarnings("ignore", advice)
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
