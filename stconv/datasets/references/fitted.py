"""Reference forecasts that are fitted: damped persistence and a linear regression on the neighborhood.

Both see the training period alone. Persistence and climatology, which need no fit, are in `Preparation`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from stconv.datasets.preparation.climatology import HarmonicClimatology
from stconv.datasets.series.dataset import WindowDataset
from stconv.datasets.series.filling import filled_in_time
from stconv.datasets.series.windows import WindowSpec
from stconv.nn.regression import MAX_ROWS, NormalEquations, neighborhoods
from stconv.spacing import evenly_spaced

if TYPE_CHECKING:
    from stconv.datasets.series.store import Series

DAMPED_PERSISTENCE, LINEAR = "damped persistence", "linear 3x3"
MAX_LAGS = 3
"""The regression sees as many of the newest input frames: more of them change nothing."""
MAX_WINDOWS = 1024
"""Of a longer training period evenly spaced windows are fitted on."""
CHUNK = 16


class ReferenceForecasts:
    """Two forecasts of the departure from the climatology, one for each target, cell and lead.

    damped persistence: a[l] = d[l, cell] a[0], d the lagged regression coefficient of the cell, in [0, 1].
    linear 3x3: a[l] = sum over 9 neighbors and up to 3 newest frames of w[l] a + w0[l], the same in all
    cells; beyond the grid its edge goes on.

    For a missing value stands the newest departure before it in the window, or the first after it; where the
    window has none, the climatology. Where there is no climatology the forecast is NaN.

    Args:
        climatology: Of all channels, fitted on the training period.
        damping: d, float32, (target, lead, lat, lon).
        weights: w and last w0, float32, (target, lead, 9 lags + 1).

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
        """Fit on windows of the training period, and on nothing else.

        Args:
            series: The series.
            spec: Form of a window.
            windows: Reference indices of the training windows.
            climatology: Fitted on the training period.

        Returns:
            The two forecasts.
        """
        lags, n_targets = min(MAX_LAGS, spec.t_in), series.n_targets
        n_cells = int(np.prod(series.values.shape[2:]))
        chosen = evenly_spaced(windows, MAX_WINDOWS)
        dataset = WindowDataset(series, spec, chosen)
        climatology = climatology.to("cpu")
        squares = torch.zeros(n_targets, spec.leads, *series.values.shape[2:], dtype=torch.float64)
        products = torch.zeros_like(squares)
        equations = NormalEquations((n_targets, spec.leads), 9 * lags + 1)
        n_rows = min(n_cells, max(1, MAX_ROWS // len(chosen)))
        generator = torch.Generator().manual_seed(0)
        for start in range(0, len(chosen), CHUNK):
            batch = dataset.batch(range(start, min(start + CHUNK, len(chosen))))
            past, _ = _anomalies(batch, climatology, n_targets, lags)
            future = batch["targets"] - climatology(batch["target_cycles"])[:, :n_targets]
            newest = past[:, :, -1:]
            both = torch.isfinite(newest) & torch.isfinite(future)
            squares += torch.where(both, newest**2, 0).sum(0)
            products += torch.where(both, newest * future, 0).sum(0)
            cells = torch.arange(n_cells)
            if n_rows < n_cells:
                cells = torch.randperm(n_cells, generator=generator)[:n_rows]
            for target in range(n_targets):
                rows = _features(past[:, target])[:, cells].flatten(0, 1)
                for lead in range(spec.leads):
                    y = future[:, target, lead].flatten(1)[:, cells].flatten()
                    known = torch.isfinite(y)
                    equations.add((target, lead), rows[known], y[known])
        damping = (products / squares.clamp(min=1e-30)).clamp(0, 1).float()
        return cls(climatology, damping, equations.solve().float())

    def __call__(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Forecast a batch.

        Args:
            batch: With "inputs", "input_cycles" and "target_cycles".

        Returns:
            By name, float32, (batch, target, leads, lat, lon), physical units.
        """
        device = batch["inputs"].device
        climatology = self.climatology.to(device)
        n_targets = len(self.damping)
        past, n_lat_lon = _anomalies(batch, climatology, n_targets, self.lags)
        future = climatology(batch["target_cycles"])[:, :n_targets]
        damped = self.damping.to(device) * torch.nan_to_num(past[:, :, -1:])
        weights = self.weights.to(device)
        linear = torch.stack(
            [_features(past[:, target]) @ weights[target].T for target in range(n_targets)], dim=1
        )
        linear = linear.transpose(2, 3).unflatten(3, n_lat_lon)
        return {DAMPED_PERSISTENCE: future + damped, LINEAR: future + linear}


def _anomalies(
    batch: Mapping[str, Tensor], climatology: HarmonicClimatology, n_targets: int, lags: int
) -> tuple[Tensor, tuple[int, int]]:
    """Departures of the targets' newest frames, (batch, target, lags, lat, lon), and the size of the grid.

    Gaps are filled from other frames of the window.
    """
    past = batch["inputs"][:, :n_targets]
    departures = filled_in_time(past - climatology(batch["input_cycles"])[:, :n_targets])
    return departures[:, :, -lags:], (past.shape[-2], past.shape[-1])


def _features(past: Tensor) -> Tensor:
    """Neighborhoods of every cell and a one: (batch, lags, lat, lon) to (batch, cell, 9 lags + 1)."""
    columns = neighborhoods(torch.nan_to_num(past))
    return torch.cat([columns, torch.ones_like(columns[..., :1])], dim=-1)
