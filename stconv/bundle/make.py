"""Making a bundle from a trained task and its data."""

from __future__ import annotations

import copy
import dataclasses
import math
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import stconv
from stconv.bundle.bundle import FORMAT_VERSION, Bundle
from stconv.bundle.contract import ModelGrid, ModelVariable
from stconv.compute.tiling import tiles_of
from stconv.datasets.preparation.event_preparation import EventPreparation
from stconv.datasets.series.extent import lowest_and_highest
from stconv.datasets.series.missing import known_counts, most_missing
from stconv.datasets.source.origin import decode_attrs
from stconv.models import describe, modules_outside
from stconv.plain import stated, to_plain
from stconv.results import recipe_source

if TYPE_CHECKING:
    from stconv.datasets.datamodule import GridDataModule
    from stconv.datasets.series.store import Series
    from stconv.task import ForecastTask


RARELY_MISSING = 0.1
"""A cell that misses less than this share of the non-empty training frames is expected to hold a value."""


def make_bundle(
    task: ForecastTask,
    datamodule: GridDataModule,
    scores: Mapping[str, Any] | None = None,
    name: str | None = None,
    allowed_missing_share: float | None = None,
    try_tiles: bool = True,
) -> Bundle:
    """Make a bundle of a trained task and the data module that it was trained with.

    The keys of the spec:
        network, preparation: specifications to build both from; their tensors are in the weights.
        network_name: name of the network in scores and cards, such as UNet-2D within a LinearResidual.
        modules: for networks outside of stconv, the module of each, to be named if it is not imported.
        variables: name, units, long_name, whether the network sees it and whether it is a target; in the
            order of the channels, targets first.
        grid: dims, geographic, and the coordinates along each dim, canonical (ascending; longitude from
            -180).
        source: how the training files were read, the default for reading others.
        calendar, step, input_offsets, leads: the time axis and the window.
        missing: share of missing values allowed in cells that (nearly) always had one in training; number
            of never valid cells.
        outputs: for an event: name, units and long_name of each probability that is forecast.
        ranges: smallest and largest value of each variable in the training period, in its units; departures
            from its `center`, if the variable states one (see `Series.centers`).
        bands: levels of the uncertainty bands, and the number of windows they were calibrated on.
        tiles: receptive field, if tiles of the network give the result of the whole grid, which is tried on
            a small grid; otherwise the reason why not.
        data, code, scores, name, created: origin and quality of the model.
        start: layers that started from the weights of another bundle, its name and hash, and the layers that
            did not; only if there was one.
        frozen: patterns of the parameters that were not trained, if any.

    Args:
        task: Trained task; its network and preparation are not copied.
        datamodule: Data module after `setup`.
        scores: Verification result as JSON types.
        name: Name of the model; the class of its network by default.
        allowed_missing_share: Share in [0, 1] of the values of such cells that may be missing in the inputs
            of a forecast; by default the largest share that a window of the training period missed.
        try_tiles: Compare tiles with the whole grid now. Otherwise the first forecast that needs tiles does.

    Returns:
        The bundle, on the CPU, not yet saved.
    """
    series, period = datamodule.series, datamodule.periods.train
    training = series.values[period.start : period.stop]
    n_known, n_frames = known_counts(training)
    # frames without any value, such as those put into gaps, say nothing about a cell
    expected = n_known > (1 - RARELY_MISSING) * n_frames[:, None, None]
    low, high = lowest_and_highest(training)
    if allowed_missing_share is None:
        allowed_missing_share = most_missing(training, expected, datamodule.spec.input_offsets)
    network, data = describe(task.network), datamodule.describe()
    spec: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "name": name or network["name"],
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "network": network,
        "network_name": task.network.display_name,
        "preparation": task.preparation.spec.to_json(),
        "variables": [stated(variable) for variable in _variables(series, task.preparation.settings.inputs)],
        "grid": _grid(series).to_json(),
        "source": to_plain(datamodule.grid),
        "calendar": series.calendar,
        "step": series.step.to_json(),
        "input_offsets": list(datamodule.spec.input_offsets),
        "leads": datamodule.spec.leads,
        "missing": {
            "allowed_share": allowed_missing_share,
            "never_valid_cells": int((n_known == 0).all(axis=0).sum()),
        },
        "ranges": {
            variable: [float(low[channel]), float(high[channel])]
            for channel, variable in enumerate(series.variables)
        },
        "data": dataclasses.replace(data, source=recipe_source(data.recipe)).to_json(),
        "code": code_version(),
        "scores": _finite(scores or {}),
    }
    if try_tiles:
        spec["tiles"] = tiles_of(copy.deepcopy(task.network).eval())
    spec |= _optional_keys(task)
    bands = getattr(task, "bands", None)
    if bands is not None:
        spec["bands"] = bands.to_spec()
    return Bundle(task.network, task.preparation, spec, always_valid=expected, bands=bands)


def _variables(series: Series, inputs: Sequence[str]) -> list[ModelVariable]:
    """Return the variables of a model in the order of the channels, targets first."""
    return [
        ModelVariable(
            name=variable,
            units=series.units.get(variable, ""),
            long_name=_long_name(series, variable),
            input=variable in inputs,
            target=channel < series.n_targets,
            center=series.centers.get(variable, 0.0),
        )
        for channel, variable in enumerate(series.variables)
    ]


def _optional_keys(task: ForecastTask) -> dict[str, Any]:
    """Return the keys of a spec that only some models have."""
    found: dict[str, Any] = {}
    if modules := modules_outside(task.network):
        found["modules"] = modules
    if (refit := getattr(task, "refit", None)) is not None:
        found["refit"] = refit
    if (start := getattr(task, "start", None)) is not None:
        found["start"] = start.to_json()
    if (freezing := getattr(task, "freezing", None)) is not None and freezing.patterns:
        found["frozen"] = list(freezing.patterns)
    if isinstance(task.preparation, EventPreparation):
        found["outputs"] = task.preparation.outputs
    return found


def code_version() -> dict[str, str | None]:
    """Return the version of stconv and, in a checkout, the commit, with "+changes" if it is not clean."""
    root = Path(__file__).resolve().parents[2]
    commit = None
    if (root / ".git").exists():
        commit = _git(root, "rev-parse", "HEAD")
        if commit and _git(root, "status", "--porcelain", "--untracked-files=no"):
            commit += "+changes"
    return {"stconv": stconv.__version__, "commit": commit}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], check=False, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _grid(series: Series) -> ModelGrid:
    dims = ("lat", "lon") if series.geographic else ("y", "x")
    axes = {
        dim: np.asarray(axis, dtype=np.float64).tolist()
        for dim, axis in zip(dims, (series.lat, series.lon), strict=True)
    }
    return ModelGrid(dims, series.geographic, axes, _axis_units(series))


def _axis_units(series: Series) -> dict[str, str]:
    """Return the units of the rows and columns of a projected grid, if its files state them."""
    if series.geographic or series.origin is None:
        return {}
    found = {
        dim: str(decode_attrs(entry["attrs"]).get("units", ""))
        for dim in ("y", "x")
        if (entry := series.origin.static.get(series.origin.names.get(dim, series.origin.dims[dim])))
    }
    return found if any(found.values()) else {}


def _long_name(series: Series, variable: str) -> str:
    fields = series.origin.fields if series.origin else {}
    attributes = fields[variable].attrs if variable in fields else {}
    return str(attributes.get("long_name", attributes.get("standard_name", variable)))


def _finite(value: Any) -> Any:
    """Return the same with None for infinite numbers and NaN, such as an undefined skill."""
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
