"""Uncertainty bands: an error scale that is known beforehand, and quantiles of the error divided by it.

`conformal.py` calibrates them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from stconv.datasets.preparation.harmonics import Term, harmonic_basis
from stconv.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stconv.datasets.preparation.preparation import Preparation

LEVELS = (80, 95)
"""Percent of the observed values that each band should contain."""
BOUNDS = tuple(f"_{side}_{level}" for level in LEVELS for side in ("lower", "upper"))
"""Ends of the names of the bounds of a variable in a forecast, in the order of `Bands.physical`."""
LEAST_SEASON, MOST_SEASON = 0.1, 10.0
"""Bounds of the seasonal factor of the squared error."""
LEAST_SPREAD = 0.2
"""This fraction of the typical spread of the members is added, in squares, to the spread of every cell."""
RECENT = 3
"""Number of newest frame-to-frame changes of a window that its recent change is averaged over."""
LEAST_CHANGE, MOST_CHANGE = 0.1, 10.0
"""Bounds of the recent change relative to the typical one."""


def refuse_names_of_bounds(names: Sequence[str]) -> None:
    """Refuse forecast variables that have the name of a bound of another one.

    Raises:
        ConfigError: A forecast with bands would have two variables of one name.
    """
    taken = [name for name in names for other in names for bound in BOUNDS if name == f"{other}{bound}"]
    if taken:
        raise ConfigError(
            f"The target '{taken[0]}' has the name that a forecast gives to a bound of an uncertainty band "
            "of another target. Rename the variable, for example with `ncrename -v "
            f"{taken[0]},NAME FILE`, or leave it out of the targets."
        )


@dataclass(frozen=True)
class Bands:
    """Scales and quantiles that turn the members of a forecast into bands; all normalized, on the CPU.

    Attributes:
        scale: Root mean square error of each cell and lead, divided by the spread factor, (target, leads,
            lat, lon).
        season: Harmonic coefficients of the relative squared error over day and year at the first valid
            time, (term, target, leads, lat, lon); the axis of leads has length 1 if all leads share them.
        terms: Harmonic terms, from `fit_harmonics`.
        typical_change: Mean over training windows of `recent_change_of`, (target,).
        change_power: Exponent with which the squared error grows with the recent change relative to the
            typical one, (target, leads).
        spread: Typical spread of the members, (target, leads); 0 for a network with a single forecast.
        spread_power: Exponent with which the error grows with the spread relative to the typical one,
            (target, leads).
        quantiles: Lower and upper quantile of the scaled errors, (level, 2, target, leads).
        lowest: Smallest possible value of each target in its units, -inf if there is none, (target,).
        widening: Widths of the band by which both of its bounds are moved outwards, (level, target, leads),
            as learned from truths after the calibration; 0 without any.
        n_windows: Number of validation windows used for calibration.
    """

    scale: Tensor
    season: Tensor
    terms: tuple[Term, ...]
    typical_change: Tensor
    change_power: Tensor
    spread: Tensor
    spread_power: Tensor
    quantiles: Tensor
    lowest: Tensor
    widening: Tensor
    n_windows: int

    def normalized(self, members: Tensor, cycles: Tensor, recent_change: Tensor) -> Tensor:
        """Return bands around the mean of the members.

        Args:
            members: Members from `Network.members`, (member, batch, target, leads, lat, lon), normalized.
            cycles: Fractions of day, year and week of the valid times, (batch, leads, 3).
            recent_change: Recent change of each window, from `recent_change_of`, (batch, target).

        Returns:
            (level, 2, batch, target, leads, lat, lon): lower and upper bound for each of `LEVELS`.
        """
        scale = self.scale.to(members) * season_factor(self.terms, self.season.to(members), cycles)
        scale = scale * change_factor(
            recent_change.to(members), self.typical_change.to(members), self.change_power.to(members)
        )
        if len(members) > 1:
            variance = members.var(0, correction=0)
            scale = scale * spread_factor(variance, self.spread.to(members), self.spread_power.to(members))
        quantiles = self.quantiles.to(members)[:, :, None, :, :, None, None]
        return members.mean(0) + quantiles * scale

    def physical(self, members: Tensor, batch: Mapping[str, Tensor], preparation: Preparation) -> Tensor:
        """Return bands in physical units: NaN in cells that never had a value, nowhere below `lowest`."""
        recent_change = recent_change_of(
            preparation.normalize(batch["inputs"], batch["input_cycles"]), len(self.typical_change)
        )
        bounds = self.normalized(members, batch["target_cycles"], recent_change)
        fields = preparation.physical(bounds, batch)
        fields = torch.maximum(fields, self.lowest.to(fields).view(-1, 1, 1, 1))
        return widened(fields, self.widening, self.lowest)

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors that a bundle stores with its weights."""
        return {name: getattr(self, name) for name in TENSORS}

    def to_spec(self) -> dict[str, Any]:
        """Return the values that a bundle stores in its spec, as JSON types."""
        return {
            "levels": list(LEVELS),
            "terms": [list(term) for term in self.terms],
            "n_windows": self.n_windows,
        }

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Bands:
        """Rebuild bands from `to_spec` and `tensors`.

        Raises:
            ConfigError: A value or tensor is missing, or the levels differ from `LEVELS`.
        """
        missing = [name for name in ("levels", "terms", "n_windows") if name not in spec]
        missing += [name for name in TENSORS if name not in tensors]
        if missing or list(spec["levels"]) != list(LEVELS):
            raise ConfigError(
                f"the bands lack {', '.join(missing)}; export the model again."
                if missing
                else f"the bands have the levels {spec['levels']}, expected {list(LEVELS)}."
            )
        terms = tuple(tuple(int(n) for n in term) for term in spec["terms"])
        return cls(**{name: tensors[name] for name in TENSORS}, terms=terms, n_windows=int(spec["n_windows"]))


TENSORS = (
    "scale",
    "season",
    "typical_change",
    "change_power",
    "spread",
    "spread_power",
    "quantiles",
    "lowest",
    "widening",
)


def widened(bounds: Tensor, widening: Tensor, lowest: Tensor) -> Tensor:
    """Move both bounds of each band outwards by a number of its widths.

    Args:
        bounds: (level, 2, ..., target, leads, lat, lon), physical units.
        widening: Widths, (level, target, leads).
        lowest: Smallest possible value of each target, (target,); a bound there stays.

    Returns:
        The moved bounds, of the same shape.
    """
    lower, upper = bounds.unbind(1)
    least = lowest.to(bounds).view(-1, 1, 1, 1)
    inner = [1] * (bounds.ndim - widening.ndim - 3)
    by = widening.to(bounds).view(len(widening), *inner, *widening.shape[1:], 1, 1) * (upper - lower)
    moved = torch.where(lower > least, torch.maximum(lower - by, least), lower)
    return torch.stack([moved, torch.maximum(upper + by, moved)], 1)


def as_calibrated(bounds: Tensor, widening: Tensor, lowest: Tensor) -> Tensor:
    """Undo `widened`; a bound that was stopped at the smallest value stays there."""
    lower, upper = bounds.unbind(1)
    stays = lower <= lowest.to(bounds).view(-1, 1, 1, 1)
    inner = [1] * (bounds.ndim - widening.ndim - 3)
    moved = widening.to(bounds).view(len(widening), *inner, *widening.shape[1:], 1, 1)
    by = moved * (upper - lower) / (1 + torch.where(stays, moved, 2 * moved))
    return torch.stack([torch.where(stays, lower, lower + by), upper - by], 1)


def season_factor(terms: Sequence[Term], season: Tensor, cycles: Tensor) -> Tensor:
    """Return the seasonal factor of the error at the valid times, (batch, target, leads or 1, lat, lon)."""
    basis = torch.from_numpy(harmonic_basis(cycles[:, 0].cpu().numpy(), terms)).to(season)
    factor = torch.einsum("bk,kclhw->bclhw", basis, season)
    return factor.clamp(LEAST_SEASON, MOST_SEASON).sqrt()


def recent_change_of(frames: Tensor, n_targets: int) -> Tensor:
    """Return the mean square change between the newest frames of a window, (batch, target); NaN if unknown.

    Args:
        frames: Normalized, NaN where missing, (batch, channel, time, lat, lon), targets first.
        n_targets: Number of targets.
    """
    changes = frames[:, :n_targets].diff(dim=2)[:, :, -RECENT:].square()
    return changes.flatten(2).nanmean(2)


def change_factor(recent_change: Tensor, typical_change: Tensor, power: Tensor) -> Tensor:
    """Return the factor of the error for a recent change, (batch, target, leads, 1, 1); 1 if unknown."""
    relative = (recent_change / typical_change).nan_to_num(1.0).clamp(LEAST_CHANGE, MOST_CHANGE)
    return relative[:, :, None, None, None] ** (0.5 * power[:, :, None, None])


def spread_factor(variance: Tensor, typical: Tensor, power: Tensor) -> Tensor:
    """Return the factor of the error for a variance of the members, (batch, target, leads, lat, lon)."""
    square = typical[:, :, None, None].square().clamp(min=torch.finfo(torch.float32).tiny)
    return (variance / square + LEAST_SPREAD**2) ** (0.5 * power[:, :, None, None])
