"""Scores of threshold events: hits, misses and false alarms, exact and in a neighborhood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from stconv.errors import ConfigError
from stconv.verification.scores.diagnostic import common_cells
from stconv.verification.scores.neighborhood import box_sums
from stconv.verification.scores.sums import ratio

SCALES = (1, 5, 11, 21)
"""Sides of the squares of the fractions skill score, in cells; larger ones than the grid are left out."""


class ThresholdScores:
    """CSI, POD, FAR, frequency bias, fractions skill score and MAE of events, over windows and cells.

    An event is a value at or above the threshold. With hits a, false alarms b and misses c, summed over all
    cells where truth and every forecast are known:

    csi = a / (a + b + c), pod = a / (a + c), far = b / (a + b), frequency_bias = (a + b) / (a + c)
    mae = mean |forecast - truth| where the truth is at or above the threshold
    fss = 1 - sum (pf - po)^2 / (sum pf^2 + sum po^2), pf and po the shares of events among the known cells
    of each square inside the grid with at least one known cell

    Args:
        variables: Names of the variables, in channel order.
        thresholds: By variable, in its units; a variable may lack them.
        scales: Sides of the squares, odd numbers of cells; those larger than the grid are left out.
        centers: Number subtracted from the values of a variable, by name, see `Series.centers`.

    Raises:
        ConfigError: A threshold has an unknown variable, there is no threshold, or a scale is not an odd
            number.

    Source:
        Wilks (2011), Statistical Methods in the Atmospheric Sciences, 8.2; Roberts and Lean (2008), Monthly
        Weather Review 136, 78-97, eq. 5-7.
    """

    def __init__(
        self,
        variables: Sequence[str],
        thresholds: Mapping[str, Sequence[float]],
        scales: Sequence[int] = SCALES,
        centers: Mapping[str, float] | None = None,
    ) -> None:
        self.variables = tuple(variables)
        unknown = [name for name in thresholds if name not in self.variables]
        if unknown or not any(thresholds.values()):
            raise ConfigError(
                f"Thresholds were given for {', '.join(unknown) or 'no variable'}; expected some for "
                f"{', '.join(self.variables)}, as in `--thresholds {self.variables[0]}=0.5`."
            )
        if any(scale < 1 or scale % 2 == 0 for scale in scales):
            raise ConfigError(f"Scales of the FSS are {tuple(scales)}; expected odd numbers of cells.")
        self.thresholds = {name: sorted(values) for name, values in thresholds.items()}
        self.scales = sorted(set(scales))
        self._centers = dict(centers or {})
        self._contenders: tuple[str, ...] = ()
        self._counts: np.ndarray | None = None
        self._absolute: np.ndarray | None = None
        self._fractions: np.ndarray | None = None

    def add(self, truth: Tensor, forecasts: Mapping[str, Tensor]) -> None:
        """Add a batch; see `Diagnostic`."""
        scales = [scale for scale in self.scales if scale <= min(truth.shape[-2:])]
        n_thresholds = max(len(values) for values in self.thresholds.values())
        shape = (len(forecasts), len(self.variables), truth.shape[2], n_thresholds)
        if self._counts is None or self._absolute is None or self._fractions is None:
            self.scales, self._contenders = scales, tuple(forecasts)
            self._counts, self._absolute = np.zeros((3, *shape)), np.zeros(shape)
            self._fractions = np.zeros((2, *shape, len(scales)))
        known = common_cells(truth, forecasts)
        for channel, name in enumerate(self.variables):
            here = known[:, channel]
            cells = {scale: box_sums(here, scale) for scale in scales}
            for i, value in enumerate(self.thresholds.get(name, ())):
                threshold = value - self._centers.get(name, 0.0)
                observed = here & (truth[:, channel] >= threshold)
                happened = {scale: _shares(observed, scale, cells[scale]) for scale in scales}
                for k, forecast in enumerate(forecasts.values()):
                    said = here & (forecast[:, channel] >= threshold)
                    error = (forecast[:, channel] - truth[:, channel]).abs().double()
                    self._absolute[k, channel, :, i] += (
                        torch.where(observed, error, 0).sum((0, 2, 3)).cpu().numpy()
                    )
                    for j, joint in enumerate((said & observed, said & ~observed, ~said & observed)):
                        self._counts[j, k, channel, :, i] += joint.sum((0, 2, 3)).cpu().numpy()
                    for s, scale in enumerate(scales):
                        share = _shares(said, scale, cells[scale])
                        apart = ((share - happened[scale]) ** 2).sum((0, 2, 3))
                        apart_at_most = (share**2 + happened[scale] ** 2).sum((0, 2, 3))
                        self._fractions[0, k, channel, :, i, s] += apart.cpu().numpy()
                        self._fractions[1, k, channel, :, i, s] += apart_at_most.cpu().numpy()

    def to_dataset(self) -> xr.Dataset:
        """The scores by (contender, variable, lead, threshold), fss also by scale; NaN without any event.

        `value` is the threshold by (variable, threshold), NaN where a variable has fewer.
        """
        assert self._counts is not None
        assert self._absolute is not None
        assert self._fractions is not None
        hits, false_alarms, misses = self._counts
        apart, apart_at_most = self._fractions
        value = np.full((len(self.variables), hits.shape[-1]), np.nan)
        for channel, name in enumerate(self.variables):
            value[channel, : len(self.thresholds.get(name, ()))] = self.thresholds.get(name, [])
        dims = ("contender", "variable", "lead", "threshold")
        return xr.Dataset(
            {
                "csi": (dims, ratio(hits, hits + false_alarms + misses)),
                "pod": (dims, ratio(hits, hits + misses)),
                "far": (dims, ratio(false_alarms, hits + false_alarms)),
                "frequency_bias": (dims, ratio(hits + false_alarms, hits + misses)),
                "mae": (dims, ratio(self._absolute, hits + misses)),
                "n_events": (dims, hits + misses),
                "fss": ((*dims, "scale"), 1 - ratio(apart, apart_at_most)),
                "value": (("variable", "threshold"), value),
            },
            coords={
                "contender": list(self._contenders),
                "variable": list(self.variables),
                "lead": np.arange(1, hits.shape[2] + 1),
                "scale": self.scales,
            },
        )


def _shares(event: Tensor, scale: int, cells: Tensor) -> Tensor:
    """Share of events among the known cells of each square; 0 where none is known."""
    return torch.where(cells > 0, box_sums(event, scale) / cells.clamp(min=1), 0)
