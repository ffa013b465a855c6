"""A trained model that a reference names, and the data and scoring that its configuration describes."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray as xr

    from stconv.bundle import Bundle
    from stconv.datasets.datamodule import GridDataModule
    from stconv.tracking import RunInfo
    from stconv.verification.scores.scoring import Scoring


@dataclass(frozen=True)
class TrainedModel:
    """A trained model: its bundle, its configuration and its run.

    Attributes:
        bundle: Local folder of the bundle.
        config: Configuration whose data section describes the data.
        run: Run that the model belongs to, if known; an evaluation is recorded there.
        dataset: The data, if they are in memory.
    """

    bundle: Path
    config: Path
    run: RunInfo | None
    dataset: xr.Dataset | None = None

    def data(self) -> GridDataModule:
        """The data module of its configuration, before `setup`."""
        return load_data(self.config, self.dataset)


def find_trained_model(
    reference: str | None = None,
    experiment: str | None = None,
    config: str | None = None,
    dataset: xr.Dataset | None = None,
) -> TrainedModel:
    """Find the bundle, configuration and run that a reference names.

    Args:
        reference: Run id or name, runs:/ID, models:/NAME@ALIAS, or a folder; default: the newest trained run.
        experiment: Look for the run in this experiment only.
        config: Configuration of the data instead of that of the run.
        dataset: The data, if they are in memory.

    Raises:
        TrackingError: There is no such run, model or alias.
        ConfigError: There is no configuration to rebuild the data from.
    """
    from stconv.errors import ConfigError, TrackingError
    from stconv.tracking import download, find_run, list_runs, resolve_bundle
    from stconv.tracking.registry import find_version
    from stconv.tracking.run_layout import CONFIG, TAG_TRAINED

    run = None
    if reference is None:
        trained = [info for info in list_runs(experiment) if TAG_TRAINED in info.tags or info.tested]
        if not trained:
            raise TrackingError(
                "No run has been trained or tested here yet. Run `stconv fit --config FILE` first."
            )
        run = trained[0]
    elif reference.startswith("models:/"):
        run = find_run(find_version(reference).run_id)
    elif Path(reference).is_dir():
        return _local_model(Path(reference), config, dataset)
    else:
        run = find_run(reference, experiment)
    bundle = resolve_bundle(
        reference if reference and reference.startswith("models:/") else f"runs:/{run.run_id}"
    )
    if config is not None:
        return TrainedModel(bundle, _existing(config), None, dataset)
    try:
        return TrainedModel(bundle, download(run.run_id, CONFIG), run, dataset)
    except TrackingError as error:
        raise ConfigError(f"Run {run} has no {CONFIG}; name one with --config FILE.") from error


def _local_model(folder: Path, config: str | None, dataset: xr.Dataset | None) -> TrainedModel:
    """Find a model by a bundle's folder, or by a run's folder with the configuration next to the bundle."""
    from stconv.errors import ConfigError, TrackingError
    from stconv.tracking import find_run
    from stconv.tracking.run_layout import BUNDLE, CONFIG

    bundle = folder / BUNDLE if (folder / BUNDLE).is_dir() else folder
    if config is not None:
        return TrainedModel(bundle, _existing(config), None, dataset)
    beside = bundle.resolve().parent / CONFIG
    if not beside.is_file():
        raise ConfigError(
            f"A bundle does not name its data, and there is no {CONFIG} next to '{bundle}'. Name the "
            "configuration of its training: --config FILE."
        )
    try:
        run = find_run(beside.parent.name)
    except TrackingError:  # copied from another machine
        run = None
    return TrainedModel(bundle, beside, run, dataset)


def _existing(config: str) -> Path:
    from stconv.errors import FileError

    if not Path(config).is_file():
        raise FileError(f"No configuration '{config}'.")
    return Path(config)


def load_data(config: Path, dataset: xr.Dataset | None = None) -> GridDataModule:
    """Make the data module of the data section of a configuration.

    Args:
        config: YAML file.
        dataset: The data, if they are in memory.

    Raises:
        ConfigError: The section is missing or invalid.
    """
    from jsonargparse import ArgumentParser

    from stconv.datasets.datamodule import GridDataModule
    from stconv.errors import ConfigError
    from stconv.experiments.former_keys import grouped
    from stconv.experiments.parser_errors import plainly

    values = _read(config)
    if not isinstance(values.get("data"), dict):
        raise ConfigError(
            f"'{config}' has no section `data`, which names the data to test on. Add it, or "
            "name another file."
        )
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(GridDataModule, "data")
    try:
        parsed = parser.parse_object({"data": grouped(values)["data"]})
    except (argparse.ArgumentError, ValueError) as error:
        raise ConfigError(
            f"The data section of '{config}' is not understood: {plainly(str(error))}"
        ) from error
    data = parser.instantiate_classes(parsed).data
    assert isinstance(data, GridDataModule)
    data.dataset = dataset
    return data


def check_data(bundle: Bundle, data: GridDataModule) -> None:
    """Check data against a bundle: the same variables, and a test period that it was not trained on.

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
    if data.periods.refit:
        raise SplitError(
            "The model is a refit: it was trained on all data of its configuration, so that no test period "
            "is left. Name a configuration whose test period is later: --config FILE."
        )
    trained, start = bundle.data, data.describe().periods["test"].start
    for name in ("train", "val"):
        period = trained.periods.get(name)
        if trained.name == data.name and period is not None and start <= period.end:
            raise SplitError(
                f"The test period starts {start}, but the model used the data until {period.end} "
                f"({name}). Use the split it was trained with, or a later test period."
            )


def load_scoring(
    trained: TrainedModel,
    thresholds: Mapping[str, Sequence[float]] | None = None,
    regions: Mapping[str, list[float]] | None = None,
    optical_flow: bool = False,
) -> Scoring:
    """Read what is scored besides the errors, from the configuration and from the arguments, which win.

    Args:
        trained: Model that is evaluated.
        thresholds: Thresholds of events by variable; those of the only target may stand under "".
        regions: Boxes by name: first and last latitude, first and last longitude.
        optical_flow: Compare with optical flow as well.

    Raises:
        ConfigError: An argument or setting is invalid.
    """
    import dataclasses

    from jsonargparse import ArgumentParser

    from stconv.errors import ConfigError
    from stconv.experiments.former_keys import grouped
    from stconv.experiments.parser_errors import plainly
    from stconv.verification.scores.scoring import Scoring

    values = grouped(_read(trained.config))
    model, data = (values.get(key) or {} for key in ("model", "data"))
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--scoring", type=Scoring, default=Scoring())
    try:
        scoring = parser.instantiate_classes(
            parser.parse_object({"scoring": model.get("scoring") or {}})
        ).scoring
    except (argparse.ArgumentError, ValueError) as error:
        raise ConfigError(
            f"model.scoring of '{trained.config}' is not understood: {plainly(str(error))}"
        ) from error
    assert isinstance(scoring, Scoring)
    if thresholds:
        shown = data.get("preparation") or {}
        targets = list(shown.get("targets") or shown.get("inputs") or [])
        scoring = dataclasses.replace(scoring, thresholds=_named(thresholds, targets))
    if optical_flow:
        scoring = dataclasses.replace(scoring, optical_flow=True)
    if regions:
        scoring = dataclasses.replace(scoring, regions=dict(regions))
    return scoring


def _named(thresholds: Mapping[str, Sequence[float]], targets: Sequence[str]) -> dict[str, list[float]]:
    """Name the only target where no variable is named."""
    from stconv.errors import ConfigError

    found: dict[str, list[float]] = {}
    for name, values in thresholds.items():
        if not name and len(targets) != 1:
            raise ConfigError(
                f"The threshold {values[0]:g} does not name one of the targets {', '.join(targets)}; write "
                f"--thresholds NAME={values[0]:g}."
            )
        found.setdefault(name or targets[0], []).extend(values)
    return found


def _read(config: Path) -> dict[str, Any]:
    from stconv.experiments.configuration import config_values

    values = config_values(config)
    return values if isinstance(values, dict) else {}
