"""Maps of the errors: RMSE and bias of every cell, pooled over windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from stconv.verification.scores.diagnostic import common_cells
from stconv.verification.scores.sums import ratio


class ErrorMaps:
    """Root mean squared error of every contender and bias of every cell, over the windows where it is known.

    Args:
        variables: Names of the variables, in channel order.
        lat: Coordinate of the rows.
        lon: Coordinate of the columns.
        geographic: Whether the coordinates are degrees.
    """

    def __init__(
        self, variables: Sequence[str], lat: np.ndarray, lon: np.ndarray, geographic: bool = True
    ) -> None:
        self.variables = tuple(variables)
        self.lat, self.lon, self.geographic = np.asarray(lat), np.asarray(lon), geographic
        self._contenders: tuple[str, ...] = ()
        self._sums: np.ndarray | None = None
        self._count = np.zeros(0)

    def add(self, truth: Tensor, forecasts: Mapping[str, Tensor]) -> None:
        """Add a batch; see `Diagnostic`."""
        known = common_cells(truth, forecasts)
        parts = []
        for forecast in forecasts.values():
            error = torch.where(known, forecast - truth, 0)
            parts.append([(error**2).sum(0).cpu().numpy(), error.sum(0).cpu().numpy()])
        total, count = np.array(parts, dtype=np.float64), known.sum(0).cpu().numpy()
        self._contenders = tuple(forecasts)
        self._sums = total if self._sums is None else self._sums + total
        self._count = count if self._count.size == 0 else self._count + count

    def to_dataset(self) -> xr.Dataset:
        """`rmse` and `bias` by (contender, variable, lead, row, column), float32, NaN where unknown."""
        assert self._sums is not None
        dims = ("contender", "variable", "lead", "row", "column")
        return xr.Dataset(
            {
                "rmse": (dims, np.sqrt(ratio(self._sums[:, 0], self._count)).astype(np.float32)),
                "bias": (dims, ratio(self._sums[:, 1], self._count).astype(np.float32)),
            },
            coords={
                "contender": list(self._contenders),
                "variable": list(self.variables),
                "lead": np.arange(1, self._sums.shape[3] + 1),
                "lat": ("row", self.lat),
                "lon": ("column", self.lon),
            },
            attrs={"geographic": int(self.geographic)},
        )
