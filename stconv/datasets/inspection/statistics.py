"""Statistics of a variable for `stconv inspect`, accumulated block by block along the time."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import xarray as xr

from stconv.datasets.inspection.description import VariableSummary


def summarize(variable: xr.DataArray, pieces: Iterable[np.ndarray]) -> VariableSummary:
    """Return the statistics of a variable.

    Args:
        variable: Canonical variable, for its name, sizes and attributes.
        pieces: All of its values, cut along the time, each (time, lat, lon).
    """
    seen = _Accumulated(variable.shape[1:])
    for values in pieces:
        seen.add(values)
    n = seen.n_valid
    return VariableSummary(
        name=str(variable.name),
        long_name=str(variable.attrs.get("long_name", variable.attrs.get("standard_name", ""))),
        units=str(variable.attrs["units"]),
        minimum=seen.low if n else None,
        maximum=seen.high if n else None,
        mean=seen.mean if n else None,
        standard_deviation=seen.standard_deviation if n else None,
        missing_share=1 - n / variable.size,
        never_valid_share=float(1 - seen.ever_valid.mean()),
        zero_share=seen.n_zero / n if n else 0.0,
        lone_negative=next(iter(seen.negatives)) if len(seen.negatives) == 1 else None,
        lone_negative_share=seen.n_negative / n if n else 0.0,
        memory_bytes=4 * variable.size,
        infinite_share=seen.n_infinite / variable.size,
        standard_name=str(variable.attrs.get("standard_name", "")),
    )


class _Accumulated:
    """Counts, sums and extremes of the values so far; sums are of departures from the first valid value."""

    def __init__(self, cells: tuple[int, ...]) -> None:
        self.n_valid = self.n_zero = self.n_negative = self.n_infinite = 0
        self.low, self.high = np.inf, -np.inf
        self.negatives: set[float] = set()  # at most three: two are enough to know that there are several
        self.ever_valid = np.zeros(cells, dtype=bool)
        self._first: float | None = None
        self._sum = self._sum_of_squares = 0.0

    def add(self, values: np.ndarray) -> None:
        finite = np.isfinite(values)
        self.n_infinite += int(np.isinf(values).sum())
        self.ever_valid |= finite.any(axis=0)
        valid = values[finite]
        if not valid.size:
            return
        if self._first is None:
            self._first = float(valid[0])
        departure = valid.astype(np.float64) - self._first
        self.n_valid += valid.size
        self._sum += float(departure.sum())
        self._sum_of_squares += float((departure**2).sum())
        self.low, self.high = min(self.low, float(valid.min())), max(self.high, float(valid.max()))
        self.n_zero += int((valid == 0).sum())
        negative = valid[valid < 0]
        self.n_negative += negative.size
        if len(self.negatives) < 2 and negative.size:
            self.negatives |= {float(negative.min()), float(negative.max())}

    @property
    def mean(self) -> float:
        return self._sum / self.n_valid + (self._first or 0.0)

    @property
    def standard_deviation(self) -> float:
        variance = self._sum_of_squares / self.n_valid - (self._sum / self.n_valid) ** 2
        return float(np.sqrt(max(variance, 0.0)))
