"""Probabilities of values at or above thresholds, as the share of the members of a forecast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from stconv.verification.scores.calibration import Calibration
from stconv.verification.scores.sums import ratio


class Exceedance:
    """Brier score and reliability of the probability of each threshold, over windows and cells.

    The probability is the share of members at or above the threshold. With p_k the mean forecast and o_k the
    frequency of the event in bin k, and n_k cases in it:

    reliability = sum n_k (p_k - o_k)^2 / sum n_k, which is 0 for a perfect one
    brier_skill = 1 - brier / (f (1 - f)), against always saying the frequency f of the scored period

    Args:
        variables: Names of the variables, in channel order.
        n_leads: Number of leads.
        thresholds: By variable, in its units; a variable may lack them.
        centers: Number subtracted from the values of a variable, by name, see `Series.centers`.

    Attributes:
        scored: Whether a forecast with several members was added.

    Source:
        Murphy (1973), Journal of Applied Meteorology 12, 595-600: the partition of the Brier score.
    """

    def __init__(
        self,
        variables: Sequence[str],
        n_leads: int,
        thresholds: Mapping[str, Sequence[float]],
        centers: Mapping[str, float],
    ) -> None:
        n = max(map(len, thresholds.values()))
        self.values = np.full((len(variables), n), np.nan)
        for channel, name in enumerate(variables):
            own = sorted(thresholds.get(name, ()))
            self.values[channel, : len(own)] = own
        shifts = np.array([[centers.get(name, 0.0)] for name in variables])
        self._limits = torch.from_numpy(self.values - shifts)
        self._parts = [Calibration(variables, n_leads) for _ in range(n)]
        self.scored = False

    def add(self, truth: Tensor, members: Tensor) -> None:
        """Add a batch in physical units.

        Args:
            truth: (batch, channel, leads, lat, lon); NaN is not scored.
            members: (member, batch, channel, leads, lat, lon).
        """
        self.scored = True
        known = torch.isfinite(truth) & torch.isfinite(members).all(0)
        for limits, part in zip(self._limits.to(truth.device).unbind(1), self._parts, strict=True):
            limit = limits.to(truth.dtype).view(-1, 1, 1, 1)
            scored = known & torch.isfinite(limit)
            event, chance = (truth >= limit).to(truth.dtype), (members >= limit).to(truth.dtype).mean(0)
            part.add_probability(*(torch.where(scored, field, torch.nan) for field in (event, chance)))

    def to_dataset(self) -> xr.Dataset:
        """The scores by (threshold, variable, lead), the bins of `Calibration` with a further dimension bin.

        `value` is the threshold by (variable, threshold), NaN where a variable has fewer.
        """
        ds = xr.concat([part.to_dataset() for part in self._parts], "threshold")
        frequency = ds["event_frequency"]
        apart = (ds["bin_count"] * (ds["bin_probability"] - ds["bin_frequency"]) ** 2).sum("bin")
        ds["reliability"] = apart.dims, ratio(apart.values, ds["bin_count"].sum("bin").values)
        base = (frequency * (1 - frequency)).values
        ds["brier_skill"] = frequency.dims, 1 - ratio(ds["brier"].values, base)
        ds["value"] = ("variable", "threshold"), self.values
        return ds
