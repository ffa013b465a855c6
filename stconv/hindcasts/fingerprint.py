"""Fingerprints of archive and model, by which a hindcast notices that one of them changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np
import xarray as xr

from stconv.bundle import Bundle
from stconv.datasets.series.cache import fingerprint
from stconv.datasets.source.finding import find_files
from stconv.datasets.source.grid_spec import GridSpec
from stconv.dims import TIME
from stconv.spacing import evenly_spaced

FORECASTING = (
    *("network", "preparation", "variables", "outputs", "source", "grid", "calendar", "step"),
    *("input_offsets", "leads", "missing"),
)
"""Keys of a bundle's spec that its forecasts depend on; a test adds scores to the others."""
SAMPLED = 8
"""Frames of a Dataset in memory that enter its fingerprint."""


def fingerprint_of(source: Sequence[str] | xr.Dataset, grid: GridSpec, opened: xr.Dataset) -> str:
    """Return a text that differs when the archive, or the way of reading it, differs.

    Files count by name, size and time of change; a Dataset in memory by its axes and some of its frames.

    Args:
        source: Paths, or a Dataset.
        grid: Options for reading.
        opened: The archive in canonical form.
    """
    if not isinstance(source, xr.Dataset):
        return fingerprint(find_files(list(source)), grid)
    digest = hashlib.sha256(repr((grid, dict(opened.sizes), list(opened.data_vars))).encode())
    digest.update(" ".join(map(str, opened[TIME].values)).encode())
    for i in evenly_spaced(range(opened.sizes[TIME]), SAMPLED):
        for name in opened.data_vars:
            digest.update(np.ascontiguousarray(opened[name].isel({TIME: i}).values).tobytes())
    return digest.hexdigest()[:32]


def fingerprint_of_model(bundle: Bundle, bands: bool) -> str:
    """Return a text that differs when a bundle forecasts otherwise.

    What a later test adds does not count: scores, the card, and the widening of the bands.

    Args:
        bundle: The bundle.
        bands: Whether the bounds of the bands count.
    """
    spec = {key: bundle.spec.get(key) for key in FORECASTING}
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode())
    tensors = {**bundle.network.state_dict(), **bundle.preparation.state_dict()}
    if bands and bundle.bands is not None:
        tensors |= bundle.bands.tensors()
        del tensors["widening"]  # learned from later truths, which a hindcast does not know
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).tobytes())
    digest.update(bundle.int8 or b"")
    return digest.hexdigest()[:32]
