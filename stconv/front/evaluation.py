"""A trained model scored on the test period of its data: `stconv.evaluate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stconv.errors import ConfigError
from stconv.front.contained import contained
from stconv.front.model import Model
from stconv.front.registry import Version
from stconv.front.run import Run
from stconv.front.scores import Scores

if TYPE_CHECKING:
    import xarray as xr


@contained
def evaluate(
    model: Model | Run | Version | str | Path | None = None,
    data: xr.Dataset | None = None,
    *,
    experiment: str | None = None,
    config: str | Path | None = None,
    output: str | Path | None = None,
    device: str = "auto",
    thresholds: Sequence[float] | Mapping[str, Sequence[float]] = (),
    regions: Mapping[str, Sequence[float]] | None = None,
    optical_flow: bool = False,
    hindcast: str | Path | None = None,
    forecasts: str | Path | None = None,
) -> Scores:
    """Score a trained model on the test period of its data, beside the references.

    The scores are recorded on its run, unless `config` or `hindcast` is given.

    Args:
        model: A run, a model, a version, or their address; the name of a run is enough. Default: the newest
            trained run.
        data: Dataset that the model was trained on, if it was in memory.
        experiment: Look for the run in this experiment only.
        config: Configuration whose data the model is tested on instead of those of its run.
        output: Folder for a copy of report, pictures and scores.
        device: auto, cpu or cuda.
        thresholds: Thresholds of events in the units of the variable: numbers for a single target, or numbers
            by variable. Default: those of the configuration.
        regions: Boxes to score too, by name: first and last latitude, first and last longitude (y, then x, on
            other grids).
        optical_flow: Compare with the optical flow of pysteps as well (`pip install 'stconv[pysteps]'`).
        hindcast: Store of `stconv.hindcast`, a path or an address; its forecasts are scored, and none is
            computed.
        forecasts: NetCDF file to write every forecast of the test period to.

    Raises:
        TrackingError: There is no such run, model or version.
        ConfigError: Data and model do not fit each other, or an argument is invalid.
        SplitError: The test period reaches into what the model was trained on.
    """
    from stconv.datasets.remote.address import place_of
    from stconv.experiments.evaluating import evaluate
    from stconv.experiments.scoring_hindcasts import evaluate_hindcast
    from stconv.experiments.trained_model import find_trained_model, load_scoring

    if data is None and isinstance(model, Run):
        data = model.dataset
    if hindcast is not None and forecasts is not None:
        raise ConfigError("--hindcast names forecasts that are stored already. Leave --forecasts out.")
    trained = find_trained_model(
        reference_of(model), experiment, None if config is None else str(config), data
    )
    boxes = {name: list(map(float, box)) for name, box in (regions or {}).items()}
    scoring = load_scoring(trained, _by_variable(thresholds), boxes, optical_flow)
    folder = None if output is None else Path(output)
    if hindcast is not None:
        return Scores(*evaluate_hindcast(place_of(hindcast), trained, folder, scoring))
    file = None if forecasts is None else Path(forecasts)
    return Scores(*evaluate(trained, folder, device, scoring, file))


def reference_of(model: Model | Run | Version | str | Path | None) -> str | None:
    """Address of a model, for the rooms that look it up."""
    if isinstance(model, Model):
        return model.reference
    if isinstance(model, Run):
        return model.id
    if isinstance(model, Version):
        return model.reference
    return None if model is None else str(model)


def _by_variable(thresholds: Sequence[float] | Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """Thresholds by variable; those of the only target under no name."""
    if not isinstance(thresholds, Mapping):
        thresholds = {"": thresholds} if len(thresholds) else {}
    return {name: list(map(float, values)) for name, values in thresholds.items()}
