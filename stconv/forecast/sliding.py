"""Event networks on a larger grid than that of training: a probability for each position of the window."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
import xarray as xr

from stconv.bundle import Bundle
from stconv.datasets.preparation.event_preparation import EventPreparation
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.errors import ConfigError, GridError

SPACING_TOLERANCE = 0.01


def slide_over(bundle: Bundle, ds: xr.Dataset) -> Bundle:
    """Return the bundle of an event for another grid of the same spacing, at least as large as its own.

    The forecast is then a map: the probability that the event happens in a region of the same shape around
    each position. Beyond its own grid, a network that pads (all but LeNet5) sees the values of the larger
    grid, where it saw zeros in training.

    Args:
        bundle: Bundle of an event network.
        ds: Canonical data on the larger grid.

    Raises:
        ConfigError: The network forecasts no event, or its inputs belong to the cells of its own grid.
        GridError: The grid is smaller, or has another spacing.
    """
    preparation = bundle.preparation
    if not isinstance(preparation, EventPreparation):
        raise ConfigError(
            f"'{bundle.name}' forecasts fields on its own grid and does not slide; only event networks "
            "do. Leave --slide out."
        )
    _check_place_free(bundle.name, preparation.settings)
    grid, axes = bundle.contract.grid, {}
    for dim in grid.dims:
        if dim not in ds.coords:
            raise GridError(f"The input has no coordinate '{dim}'; '{bundle.name}' slides along it.")
        axis, own = np.asarray(ds[dim].values, dtype=float), np.asarray(grid.axes[dim])
        if len(axis) < len(own):
            raise GridError(
                f"The input has {len(axis)} cells along {dim}, '{bundle.name}' was trained on {len(own)}; "
                "expected at least as many. Give a larger grid."
            )
        spacing, trained = (abs(a[-1] - a[0]) / max(len(a) - 1, 1) for a in (axis, own))
        if abs(spacing - trained) > SPACING_TOLERANCE * trained:
            raise GridError(
                f"The input has a spacing of {spacing:g} along {dim}, '{bundle.name}' was trained on "
                f"{trained:g}. Interpolate the input to that spacing."
            )
        axes[dim] = axis.tolist()
    sizes = [len(axes[dim]) for dim in grid.dims]
    spec = {**bundle.spec, "grid": replace(grid, axes=axes).to_json()}
    tensors = preparation.state_dict()
    n_channels, n_terms = len(preparation.variables), len(tensors["harmonics.coefficients"])
    larger = {
        **tensors,
        "never_valid": torch.zeros(n_channels, *sizes, dtype=torch.bool),
        "cell_weight": torch.ones(*sizes),
        "static": torch.zeros(0, *sizes),
        "harmonics.coefficients": torch.zeros(n_terms, n_channels, *sizes),
    }
    made = EventPreparation(preparation.spec, larger).eval()
    return Bundle(bundle.network, made, spec, None, bundle.hash)


def places(bundle: Bundle, ds: xr.Dataset, fields: np.ndarray) -> tuple[xr.Dataset, list[str], np.ndarray]:
    """Place the probabilities of an event at their positions.

    Args:
        bundle: Bundle of the event network.
        ds: Canonical input.
        fields: Probabilities, (class, lead, lat', lon').

    Returns:
        The input with the coordinates of the positions (the middle of the event's region), their dimensions,
        and the fields; on the network's own grid there is a single position, and no dimension is left.
    """
    network, preparation = bundle.network, bundle.preparation
    assert isinstance(preparation, EventPreparation)
    dims = list(bundle.contract.grid.dims)
    if tuple(ds.sizes[dim] for dim in dims) == network.grid:
        return ds, [], fields[..., 0, 0]
    coords: dict[str, Any] = {}
    for i, dim in enumerate(dims):
        inside = preparation.event_cells.any(dim=1 - i).nonzero().flatten()
        first = np.arange(fields.shape[2 + i]) * network.strides[i]
        axis = ds[dim].values
        middle = (axis[first + int(inside[0])] + axis[first + int(inside[-1])]) / 2
        coords[dim] = (dim, middle, ds[dim].attrs)
    return xr.Dataset(coords=coords), dims, fields


def _check_place_free(name: str, settings: PreparationSettings) -> None:
    bound = [
        what
        for what, found in (
            ("static fields", settings.static_fields or settings.static_files),
            ("the height of the sun", settings.solar_zenith),
            ("the climatology at the leads", settings.climatology_at_leads),
            ("scaling by cell", settings.per_cell),
            ("anomalies", settings.scaling == "anomaly"),
            ("climatology for missing values", settings.impute == "climatology"),
        )
        if found
    ]
    if bound:
        raise ConfigError(
            f"'{name}' cannot slide over another grid: its preparation has {', '.join(bound)}, which "
            "belong to the cells it was trained on. Train it with scaling zscore or minmax and without "
            "these."
        )
