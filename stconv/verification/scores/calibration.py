"""Calibration of stated uncertainties: probabilistic scores of a test, pooled per variable and lead."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from stconv.errors import ConfigError, DataError, ShapeError
from stconv.verification.scores import probability as cellwise
from stconv.verification.scores.batch import Field
from stconv.verification.scores.sums import ratio

BINS = 10
"""Number of bins of the forecast probabilities: 0 to 0.1, ..., 0.9 to 1."""


class Calibration:
    """Coverage, CRPS, Brier score, reliability and rank histogram, summed batch by batch.

    Add any of these scores for each batch of windows; a score that was never added is not in the result.
    A cell counts by its weight where truth and forecast are known. Store the result of `to_dataset` in
    `Verification.diagnostics["calibration"]`, and the table, the report and the model card show it.

    Args:
        variables: Names of the variables, in channel order.
        n_leads: Number of leads.
    """

    def __init__(self, variables: Sequence[str], n_leads: int) -> None:
        self.variables, self.n_leads = tuple(variables), n_leads
        self._sums: dict[str, np.ndarray] = {}

    def add_band(
        self, truth: Field, lower: Field, upper: Field, level: float, cell_weight: Field | None = None
    ) -> None:
        """Add a band that should contain the share `level` of the truth: coverage, width and interval score.

        Args:
            truth: (batch, channel, leads, lat, lon), physical units; NaN is not scored.
            lower: Lower bound, shaped like the truth.
            upper: Upper bound, shaped like the truth.
            level: Nominal coverage, such as 0.8.
            cell_weight: Weight of each cell, (lat, lon), or None: 1.
        """
        cellwise.check_level(level)
        covered = cellwise.inside(lower, upper, truth)
        width = torch.as_tensor(upper) - torch.as_tensor(lower)
        for name, values in (
            ("coverage", covered),
            ("width", width),
            ("interval_score", cellwise.interval_score(lower, upper, truth, level)),
        ):
            self._add(f"{name}@{level}", torch.where(covered.isnan(), torch.nan, values), cell_weight)

    def add_members(self, truth: Field, members: Field, cell_weight: Field | None = None) -> None:
        """Add CRPS, ranks, spread and error of an ensemble, (member, batch, channel, leads, lat, lon)."""
        members, truth = torch.as_tensor(members), torch.as_tensor(truth)
        self._add("crps", cellwise.crps_ensemble(members, truth), cell_weight)
        for rank, share in enumerate(cellwise.rank_shares(members, truth)):
            self._add(f"rank@{rank}", share, cell_weight)
        error = (members.mean(0) - truth) ** 2
        self._add("error_square", error, cell_weight)
        if len(members) > 1:
            variance = torch.where(error.isnan(), torch.nan, members.var(0))
            self._add("variance", variance, cell_weight)

    def add_probability(self, event: Field, probability: Field, cell_weight: Field | None = None) -> None:
        """Add the probability of an event (1 or 0, NaN not known): Brier score and reliability.

        Both are (batch, channel, leads, lat, lon).
        """
        score = cellwise.brier(probability, event)
        chance, happened = (torch.as_tensor(field).to(score) for field in (probability, event))
        self._add("brier", score, cell_weight)
        self._add("event", torch.where(score.isnan(), torch.nan, happened), cell_weight)
        which = (chance * BINS).long().clamp(0, BINS - 1)
        for i in range(BINS):
            here = ~score.isnan() & (which == i)
            self._add(f"bin_probability@{i}", torch.where(here, chance, torch.nan), cell_weight)
            self._add(f"bin_event@{i}", torch.where(here, happened, torch.nan), cell_weight)

    @property
    def scored(self) -> bool:
        """Whether anything was added."""
        return bool(self._sums)

    def merge(self, *others: Calibration) -> Calibration:
        """Merge with the sums of others, for example of other ranks.

        Raises:
            ConfigError: They have other variables or leads.
        """
        merged = Calibration(self.variables, self.n_leads)
        for part in (self, *others):
            if (part.variables, part.n_leads) != (self.variables, self.n_leads):
                raise ConfigError(f"Calibration of {part.variables} is not that of {self.variables}.")
            for name, sums in part._sums.items():
                merged._sums[name] = merged._sums.get(name, 0) + sums
        return merged

    def to_dataset(self) -> xr.Dataset:
        """The scores.

        Returns:
            By (variable, lead), those that were added: `crps`, `brier`, `event_frequency`, `spread` (root
            mean variance of the members), `member_rmse` (of their mean); by (variable, lead, level)
            `coverage`, `width`, `interval_score`; by (variable, lead, bin) `bin_probability` (mean of the
            forecasts in the bin), `bin_frequency` (of the event) and `bin_count` (sum of weights); by
            (variable, lead, rank) `rank_frequency`.

        Raises:
            DataError: Nothing was added.
        """
        if not self._sums:
            raise DataError(f"No probability, band or ensemble of {self.variables} was scored.")
        base = ("variable", "lead")
        ds = xr.Dataset(coords={"variable": list(self.variables), "lead": np.arange(1, self.n_leads + 1)})
        for name, new in (("crps", "crps"), ("brier", "brier"), ("event", "event_frequency")):
            if name in self._sums:
                ds[new] = base, self._mean(name)
        if "error_square" in self._sums:
            ds["member_rmse"] = base, np.sqrt(self._mean("error_square"))
        if "variance" in self._sums:
            ds["spread"] = base, np.sqrt(self._mean("variance"))
        for name, dim in (("coverage", "level"), ("width", "level"), ("interval_score", "level")):
            if keys := self._keys(name):
                ds[name] = (*base, dim), np.stack([self._mean(f"{name}@{key}") for key in keys], -1)
                ds[dim] = [float(key) for key in keys]
        if keys := self._keys("rank"):
            ds["rank_frequency"] = (*base, "rank"), np.stack([self._mean(f"rank@{key}") for key in keys], -1)
        if keys := self._keys("bin_event"):
            for name, new in (("bin_probability", "bin_probability"), ("bin_event", "bin_frequency")):
                ds[new] = (*base, "bin"), np.stack([self._mean(f"{name}@{key}") for key in keys], -1)
            counts = [self._sums[f"bin_event@{key}"][1] for key in keys]
            ds["bin_count"] = (*base, "bin"), np.stack(counts, -1)
        return ds

    def _keys(self, name: str) -> list[str]:
        """Sort keys by the number after the @."""
        found = [key.partition("@")[2] for key in self._sums if key.startswith(f"{name}@")]
        return sorted(found, key=float)

    def _mean(self, name: str) -> np.ndarray:
        total, weight = self._sums[name]
        return ratio(total, weight)

    def _add(self, name: str, values: Tensor, cell_weight: Field | None) -> None:
        expected = (len(self.variables), self.n_leads)
        if values.ndim != 5 or tuple(values.shape[1:3]) != expected:
            raise ShapeError(
                f"The truth is {tuple(values.shape)}; expected (batch, channel, leads, lat, lon) with "
                f"{expected[0]} channels and {expected[1]} leads."
            )
        values = values.double() if values.device.type != "mps" else values.cpu().double()
        known = torch.isfinite(values)
        weight = known.double()
        if cell_weight is not None:
            weight = weight * torch.as_tensor(cell_weight).to(weight)
        total = (torch.where(known, values, 0) * weight).sum((0, 3, 4))
        sums = torch.stack([total, weight.sum((0, 3, 4))]).cpu().numpy()
        self._sums[name] = self._sums.get(name, 0) + sums
