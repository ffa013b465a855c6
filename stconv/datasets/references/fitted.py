"""Reference forecasts that are fitted: damped persistence and a linear regression on the neighborhood.

Both are fitted on the training period alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stconv.contenders import DAMPED_PERSISTENCE, LINEAR_3X3
from stconv.datasets.preparation.climatology import HarmonicClimatology
from stconv.datasets.series.dataset import WindowDataset
from stconv.datasets.series.filling import fill_forward_and_backward, fill_from_around
from stconv.datasets.series.windows import WindowSpec
from stconv.nn.regression import LAGS, MAX_ROWS, CellSlopes, NeighborRegression, on_neighborhoods
from stconv.spacing import evenly_spaced

if TYPE_CHECKING:
    from stconv.datasets.series.store import Series

MAX_WINDOWS = 1024
"""Largest number of training windows; a longer period is thinned evenly."""
CHUNK = 16


class ReferenceForecasts:
    """Two reference forecasts of the departure from the climatology.

    damped persistence: a[l] = d[l, cell] a[0], d the lagged regression coefficient of the cell, in [0, 1].
    linear 3x3: a[l] = sum over 9 neighbors and up to 3 newest frames of w[l] a + w0[l], the same in all
    cells; the edge cells are repeated beyond the grid.

    A missing value is replaced by the last departure before it in the window, else the first after it, else
    by the mean departure of the known cells around it (`fill_from_around`). The forecast is NaN where there
    is no climatology.

    Args:
        climatology: Climatology of all channels, fitted on the training period.
        damping: d, float32, (target, lead, lat, lon).
        weights: w, then w0, float32, (target, lead, 9 lags + 1).

    Source:
        Murphy (1992), Weather and Forecasting 7, 692-698: damped persistence as a reference forecast.
    """

    def __init__(self, climatology: HarmonicClimatology, damping: Tensor, weights: Tensor) -> None:
        self.climatology, self.damping, self.weights = climatology, damping, weights
        self.lags = (weights.shape[-1] - 1) // 9

    @classmethod
    def fit(
        cls, series: Series, spec: WindowSpec, windows: Sequence[int], climatology: HarmonicClimatology
    ) -> ReferenceForecasts:
        """Fit both forecasts on windows of the training period alone.

        Args:
            series: The series.
            spec: Shape of a window.
            windows: Reference indices of the training windows.
            climatology: Climatology of the training period.

        Returns:
            The fitted forecasts.
        """
        n_targets = series.n_targets
        chosen = evenly_spaced(windows, MAX_WINDOWS)
        dataset = WindowDataset(series, spec, chosen)
        climatology = climatology.to("cpu")
        n_rows = len(chosen) * series.values[0, 0].size
        slopes = CellSlopes()
        regression = NeighborRegression(
            n_targets, spec.leads, min(LAGS, spec.t_in), MAX_ROWS / n_rows, constant=True
        )
        for start in range(0, len(chosen), CHUNK):
            batch = dataset.batch(range(start, min(start + CHUNK, len(chosen))))
            past = _departures(batch, climatology, n_targets)
            future = batch["targets"] - climatology(batch["target_cycles"])[:, :n_targets]
            known = torch.isfinite(future)
            past, future = torch.nan_to_num(past), torch.nan_to_num(future)
            slopes.add(past[:, :, -1:], future, known)
            regression.add(past, future, known)
        return cls(climatology, slopes.by_cell().float(), regression.solve().float())

    def __call__(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Forecast a batch.

        Args:
            batch: Batch with "inputs", "input_cycles" and "target_cycles".

        Returns:
            Forecasts by name, float32, (batch, target, leads, lat, lon), physical units.
        """
        device = batch["inputs"].device
        climatology = self.climatology.to(device)
        n_targets = len(self.damping)
        past = torch.nan_to_num(_departures(batch, climatology, n_targets))
        future = climatology(batch["target_cycles"])[:, :n_targets]
        damped = self.damping.to(device) * past[:, :, -1:]
        weights = self.weights.to(device)
        of_neighbors = weights[..., :-1].reshape(-1, self.lags, 3, 3)
        linear = on_neighborhoods(past[:, :, -self.lags :], of_neighbors) + weights[..., -1, None, None]
        return {DAMPED_PERSISTENCE: future + damped, LINEAR_3X3: future + linear}


def _departures(batch: Mapping[str, Tensor], climatology: HarmonicClimatology, n_targets: int) -> Tensor:
    """Departures of the targets from the climatology; gaps are filled from other frames, then other cells."""
    past = batch["inputs"][:, :n_targets] - climatology(batch["input_cycles"])[:, :n_targets]
    return fill_from_around(fill_forward_and_backward(past))
