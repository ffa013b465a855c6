"""Bands that hold a stated share of the truth: a scale of the error, and quantiles of the error over it.

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
"""Percent of the truth that each band holds."""
LEAST_SEASON, MOST_SEASON = 0.1, 10.0
"""Bounds of the seasonal factor of the squared error."""
LEAST_SPREAD = 0.2
"""Of the typical spread of members, is added (in squares) to that of every cell."""
RECENT = 3
"""Changes from frame to frame, the newest of a window, that say how unsettled it is."""
LEAST_UNREST, MOST_UNREST = 0.1, 10.0
"""Bounds of the unrest relative to what is usual."""


@dataclass(frozen=True)
class Bands:
    """Scales and quantiles that turn the members of a forecast into bands; all normalized, on the CPU.

    Attributes:
        scale: Root mean square error of each cell and lead, over the spread, (target, leads, lat, lon).
        season: Coefficients of the relative squared error over day and year at the first valid time,
            (term, target, leads, lat, lon), or with 1 for all leads.
        terms: The terms, as of `fit_harmonics`.
        calm: Usual unrest of a window, (target,).
        after_unrest: Power of the unrest over the usual one that the squared error follows, (target, leads).
        spread: Typical spread of the members, (target, leads); 0 for a network with a single forecast.
        after_spread: Power of the spread over the typical one that the error follows, (target, leads).
        quantiles: Of errors over scale, lower and upper, (level, 2, target, leads).
        lowest: Least possible value of each target in its units, -inf where there is none, (target,).
        n_windows: Validation windows it was calibrated on.
    """

    scale: Tensor
    season: Tensor
    terms: tuple[Term, ...]
    calm: Tensor
    after_unrest: Tensor
    spread: Tensor
    after_spread: Tensor
    quantiles: Tensor
    lowest: Tensor
    n_windows: int

    def normalized(self, members: Tensor, cycles: Tensor, unrest: Tensor) -> Tensor:
        """Bands around the mean of the members.

        Args:
            members: As `Network.members` returns them, (member, batch, target, leads, lat, lon), normalized.
            cycles: Fractions of day, year and week of the valid times, (batch, leads, 3).
            unrest: Of the windows, as `unrest_of` tells it, (batch, target).

        Returns:
            (level, 2, batch, target, leads, lat, lon): lower and upper bound for each of `LEVELS`.
        """
        scale = self.scale.to(members) * season_factor(self.terms, self.season.to(members), cycles)
        scale = scale * unrest_factor(
            unrest.to(members), self.calm.to(members), self.after_unrest.to(members)
        )
        if len(members) > 1:
            variance = members.var(0, correction=0)
            scale = scale * spread_factor(variance, self.spread.to(members), self.after_spread.to(members))
        quantiles = self.quantiles.to(members)[:, :, None, :, :, None, None]
        return members.mean(0) + quantiles * scale

    def physical(self, members: Tensor, batch: Mapping[str, Tensor], preparation: Preparation) -> Tensor:
        """The same in physical units, NaN in cells that never had a value, not below what is possible."""
        unrest = unrest_of(preparation.normalize(batch["inputs"], batch["input_cycles"]), len(self.calm))
        bounds = self.normalized(members, batch["target_cycles"], unrest)
        fields = preparation.physical(bounds, batch)
        return torch.maximum(fields, self.lowest.to(fields).view(-1, 1, 1, 1))

    def tensors(self) -> dict[str, Tensor]:
        """What belongs with the weights of a bundle."""
        return {name: getattr(self, name) for name in TENSORS}

    def to_spec(self) -> dict[str, Any]:
        """What belongs in the spec of a bundle, JSON types."""
        return {
            "levels": list(LEVELS),
            "terms": [list(term) for term in self.terms],
            "n_windows": self.n_windows,
        }

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Bands:
        """Rebuild bands from `to_spec` and `tensors`.

        Raises:
            ConfigError: Something is missing, or the levels are others.
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


TENSORS = ("scale", "season", "calm", "after_unrest", "spread", "after_spread", "quantiles", "lowest")


def season_factor(terms: Sequence[Term], season: Tensor, cycles: Tensor) -> Tensor:
    """Factor of the error at the valid times, (batch, target, leads or 1, lat, lon)."""
    basis = torch.from_numpy(harmonic_basis(cycles[:, 0].cpu().numpy(), terms)).to(season)
    factor = torch.einsum("bk,kclhw->bclhw", basis, season)
    return factor.clamp(LEAST_SEASON, MOST_SEASON).sqrt()


def unrest_of(frames: Tensor, n_targets: int) -> Tensor:
    """Mean square change from frame to frame at the end of a window, (batch, target); NaN where unknown.

    Args:
        frames: Normalized, NaN where missing, (batch, channel, time, lat, lon), targets first.
        n_targets: So many.
    """
    changes = frames[:, :n_targets].diff(dim=2)[:, :, -RECENT:].square()
    return changes.flatten(2).nanmean(2)


def unrest_factor(unrest: Tensor, calm: Tensor, power: Tensor) -> Tensor:
    """Factor of the error in a window as unsettled as that, (batch, target, leads, 1, 1); 1 if unknown."""
    relative = (unrest / calm).nan_to_num(1.0).clamp(LEAST_UNREST, MOST_UNREST)
    return relative[:, :, None, None, None] ** (0.5 * power[:, :, None, None])


def spread_factor(variance: Tensor, typical: Tensor, power: Tensor) -> Tensor:
    """Factor of the error where the members differ by so much, (batch, target, leads, lat, lon)."""
    square = typical[:, :, None, None].square().clamp(min=torch.finfo(torch.float32).tiny)
    return (variance / square + LEAST_SPREAD**2) ** (0.5 * power[:, :, None, None])
