"""`stconv evaluate`: a trained model on the test period: table, verdict, pictures, a page to show."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import shutil
import sys
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stconv.bundle import Bundle
    from stconv.datasets.datamodule import GridDataModule
    from stconv.task import ForecastTask
    from stconv.tracking import RunInfo, RunLogger
    from stconv.verification import Verification

EPILOG = """examples:
  stconv evaluate                                    the newest trained run
  stconv evaluate conv2plus1d                        the newest run of that name, or a run id
  stconv evaluate models:/air@champion --output report
  stconv evaluate runs/air/RUN/bundle --config runs/air/RUN/config.yaml --json
"""
CONFIG, REPORT = "config.yaml", "report.html"
TAG_TRAINED, TAG_READS, TAG_LAST_READ = "stconv.trained", "stconv.test_reads", "stconv.test_last_read"


@dataclass(frozen=True)
class Subject:
    """What is evaluated, and where things about it are.

    Attributes:
        bundle: Local folder of the bundle.
        config: Configuration whose data section says what to test on.
        run: The run it belongs to, if that is known; the result is recorded there.
    """

    bundle: Path
    config: Path
    run: RunInfo | None


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
        help="test on the data of this configuration, not on those of the run; the result is not recorded",
    )
    add("--output", metavar="DIR", help="write report, pictures and scores here too")
    add("--json", action="store_true", help="print the scores as JSON, nothing else")
    add("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Evaluate, print, write and record."""
    from rich.console import Console

    with contextlib.redirect_stdout(sys.stderr):  # whatever libraries print; the result alone goes to stdout
        subject = find_subject(args.reference, args.experiment, args.config)
        result, folder = evaluate(subject, Path(args.output) if args.output else None, args.device)
    if args.json:
        print(json.dumps({**result.to_json(), "folder": str(folder)}, indent=2, allow_nan=False))
        return 0
    console = Console()
    console.print(result.table(width=min(console.width, 110)), soft_wrap=True)
    console.print(f"Report: {folder / REPORT}", soft_wrap=True, highlight=False)
    return 0


def find_subject(
    reference: str | None = None, experiment: str | None = None, config: str | None = None
) -> Subject:
    """Find bundle, configuration and run that a reference means.

    Raises:
        TrackingError: There is no such run, model or alias.
        ConfigError: There is no configuration to rebuild the data from.
    """
    from stconv.errors import ConfigError, TrackingError
    from stconv.tracking import download, find_run, list_runs, resolve_bundle
    from stconv.tracking.registry import find_version

    run = None
    if reference is None:
        trained = [info for info in list_runs(experiment) if TAG_TRAINED in info.tags or info.tested]
        if not trained:
            raise TrackingError(
                "No run was trained or tested here yet. Run `stconv fit --config FILE` first."
            )
        run = trained[0]
    elif reference.startswith("models:/"):
        run = find_run(find_version(reference).run_id)
    elif Path(reference).is_dir():
        return _local_subject(Path(reference), config)
    else:
        run = find_run(reference, experiment)
    bundle = resolve_bundle(
        reference if reference and reference.startswith("models:/") else f"runs:/{run.run_id}"
    )
    if config is not None:
        return Subject(bundle, _existing(config), None)
    try:
        return Subject(bundle, download(run.run_id, CONFIG), run)
    except TrackingError as error:
        raise ConfigError(f"Run {run} has no {CONFIG}; name one with --config FILE.") from error


def _local_subject(folder: Path, config: str | None) -> Subject:
    """A bundle folder, or the folder of a run, which has the configuration beside the bundle."""
    from stconv.errors import ConfigError, TrackingError
    from stconv.tracking import find_run

    bundle = folder / "bundle" if (folder / "bundle").is_dir() else folder
    if config is not None:
        return Subject(bundle, _existing(config), None)
    beside = bundle.resolve().parent / CONFIG
    if not beside.is_file():
        raise ConfigError(
            f"A bundle does not say where its data are, and there is no {CONFIG} beside '{bundle}'. "
            "Name the configuration that it was trained with: --config FILE."
        )
    try:
        run = find_run(beside.parent.name)
    except TrackingError:  # copied here from another machine
        run = None
    return Subject(bundle, beside, run)


def _existing(config: str) -> Path:
    from stconv.errors import FileError

    if not Path(config).is_file():
        raise FileError(f"No configuration '{config}'.")
    return Path(config)


def evaluate(subject: Subject, output: Path | None = None, device: str = "auto") -> tuple[Verification, Path]:
    """Score a model once on the test period of its data, and write and record what came out.

    Args:
        subject: What to evaluate, from `find_subject`.
        output: Folder to write to; default: "verification" in the folder of the run.
        device: auto, cpu or cuda.

    Returns:
        The result, and the folder with report, pictures and scores.

    Raises:
        ConfigError: Data and model do not fit each other.
        SplitError: The test period reaches into what the model was trained or selected on.
    """
    import pytorch_lightning as pl

    from stconv.bundle import Bundle
    from stconv.losses import MaskedMSE
    from stconv.task import ForecastTask
    from stconv.tracking.callbacks import ExportBundle

    bundle = Bundle.load(subject.bundle)
    data = load_data(subject.config)
    data.prepare_data()
    data.setup("test")
    check_data(bundle, data)
    task = ForecastTask(bundle.network, MaskedMSE())
    task.preparation, task.bands = bundle.preparation, bundle.bands
    logger = _run_logger(subject.run) if subject.run else None
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for advice in (r".*does not have many workers.*", r".*isinstance\(treespec, LeafSpec\).*"):
        warnings.filterwarnings("ignore", advice)
    trainer = pl.Trainer(
        accelerator={"cuda": "gpu"}.get(device, device),
        devices=1,
        logger=logger or False,
        callbacks=[ExportBundle()] if logger else [],
        enable_progress_bar=sys.stderr.isatty(),
        enable_model_summary=False,
    )
    trainer.test(task, datamodule=data, verbose=False)
    result = task.verification
    assert result is not None
    if logger is not None:
        folder = Path(logger.log_dir, "verification")
    else:
        folder = output or Path("verification")
        _write_scores(result, task, data, folder)
    report = write_page(result, bundle, folder)
    if logger is not None and subject.run is not None:
        logger.log_artifact(report)
        record_read(logger, subject.run)
        logger.finalize("success")
        if output is not None:
            folder = Path(shutil.copytree(folder, output, dirs_exist_ok=True))
    return result, folder


def load_data(config: Path) -> GridDataModule:
    """Make the data module that the data section of a configuration describes.

    Raises:
        ConfigError: There is no such section, or it is not understood.
    """
    import yaml
    from jsonargparse import ArgumentParser

    from stconv.datasets.datamodule import GridDataModule
    from stconv.errors import ConfigError

    try:
        values = yaml.safe_load(config.read_text())
    except yaml.YAMLError as error:
        raise ConfigError(f"'{config}' is not YAML: {error}") from error
    if not isinstance(values, dict) or not isinstance(values.get("data"), dict):
        raise ConfigError(f"'{config}' has no section `data`, so it does not say what to test on.")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(GridDataModule, "data")
    try:
        parsed = parser.parse_object({"data": values["data"]})
    except (argparse.ArgumentError, ValueError) as error:
        raise ConfigError(f"The data section of '{config}' is not understood: {error}") from error
    data = parser.instantiate_classes(parsed).data
    assert isinstance(data, GridDataModule)
    return data


def check_data(bundle: Bundle, data: GridDataModule) -> None:
    """Hold data to what a bundle was trained on: variables, and a test period it has not seen.

    Raises:
        ConfigError: The variables differ.
        SplitError: The test period reaches into the training or validation period of the bundle.
    """
    from stconv.errors import ConfigError, SplitError

    expected, found = tuple(bundle.preparation.variables), data.series.variables
    if expected != found:
        raise ConfigError(
            f"The model was trained on {', '.join(expected)}, the data section names {', '.join(found)} "
            "(targets first). Name the same variables in the same order."
        )
    trained = bundle.spec.get("data", {})
    start = data.describe()["periods"]["test"]["start"]
    for name in ("train", "val"):
        end = trained.get("periods", {}).get(name, {}).get("end")
        if trained.get("name") == data.name and end is not None and start <= end:
            raise SplitError(
                f"The test period starts {start}, but the model used the data until {end} ({name}). "
                "Use the split it was trained with, or a later test period."
            )


def write_page(result: Verification, bundle: Bundle, folder: Path) -> Path:
    """Write the report with all pictures in a folder, that of the skill first."""
    from stconv.verification.report import write_report

    captions = {"skill": "Error and skill against lead"}
    pictures = sorted(folder.glob("*.png"), key=lambda path: (path.stem != "skill", path.stem))
    named = {
        captions.get(path.stem, f"{path.stem.removeprefix('forecast_')}: one forecast beside the truth"): path
        for path in pictures
    }
    code = bundle.spec.get("code", {})
    about = [
        f"Model {bundle.name}, bundle {bundle.hash[:12]}, stconv {code.get('stconv', 'of unknown version')}."
    ]
    return write_report(result, named, folder / REPORT, about)


def record_read(logger: RunLogger, run: RunInfo) -> None:
    """Write on the run that its test period was read, and how often by now."""
    before = int(run.tags.get(TAG_READS, 1 if run.tested else 0))
    logger.set_tag(TAG_READS, str(before + 1))
    logger.set_tag(TAG_LAST_READ, datetime.now(UTC).isoformat(timespec="seconds"))


def _run_logger(run: RunInfo) -> RunLogger:
    """A logger that goes on with a run, in the folder it has if that is on this machine."""
    from stconv.tracking import RunLogger

    folder = Path(run.tags.get("stconv.folder", ""))
    known = folder.is_dir() and folder.name == run.run_id
    save_dir = folder.parents[1] if known else Path("runs")
    logger = RunLogger(run.experiment, run_name=run.name, save_dir=str(save_dir))
    logger.attach(run.run_id, keep_status=True)
    return logger


def _write_scores(result: Verification, task: ForecastTask, data: GridDataModule, folder: Path) -> None:
    """What `ExportBundle` writes for a run."""
    from stconv.tracking.callbacks import SCORES_JSON, SCORES_NC, draw_test_forecast
    from stconv.verification.plots import skill_plot

    result.to_netcdf(folder / SCORES_NC)
    scores: dict[str, Any] = result.to_json()
    (folder / SCORES_JSON).write_text(json.dumps(scores, indent=2))
    skill_plot(result, folder / "skill.png")
    draw_test_forecast(task, data, folder)
