"""The preparation of a part of the grid: the same statistics, those of its cells alone."""

from __future__ import annotations

from torch import Tensor

from stconv.datasets.preparation.preparation import Preparation

BY_CELL = ("center", "scale", "never_valid", "cell_weight", "static", "harmonics.coefficients")
"""Tensors whose last two dimensions are the grid; center and scale only where each cell has its own."""


def cropped(preparation: Preparation, rows: Tensor, columns: Tensor) -> Preparation:
    """Return the preparation of some rows and columns.

    Args:
        preparation: Preparation of fields on the whole grid.
        rows: Rows of the part, int64, (lat,).
        columns: Columns of the part, int64, (lon,).
    """
    tensors, (n_lat, n_lon) = dict(preparation.state_dict()), preparation.cell_weight.shape
    for name in BY_CELL:
        if tensors[name].shape[-2:] == (n_lat, n_lon):
            tensors[name] = tensors[name].index_select(-2, rows).index_select(-1, columns)
    if preparation.settings.solar_zenith:
        lat, lon = tensors["sun_axes"].split([n_lat, n_lon])
        tensors["sun_axes"] = lat[rows].new_tensor([*lat[rows].tolist(), *lon[columns].tolist()])
    return Preparation(preparation.spec, tensors)
