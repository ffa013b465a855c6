"""A network that learns what the forecasts that are known without it miss."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from stconv.contenders import LINEAR_3X3
from stconv.models.baselines import check_history
from stconv.models.registry import Network, register
from stconv.nn.combination import (
    combination_weights,
    error_products,
    in_blocks,
    ratio_with_interval,
    shrunk,
)
from stconv.nn.damping import Damping
from stconv.nn.regression import LAGS, Windows
from stconv.nn.settings import check_count

CLIMATOLOGY, PERSISTENCE = "climatology", "persistence"
DAMPED, NEIGHBORS = "damped", "damped, neighbors"
RECENT, RECENT_NEIGHBORS = "towards recent level", "towards recent level, neighbors"
POOLED = "neighbors, all cells alike"
N_SIMPLE = 2
"""Number of leading starts that have no coefficients: the climatology and persistence."""
ROWS_AT_ORIGIN = 200_000
"""Approximate number of cells in the fit of a regression at a rolling origin, which weighs starts alone."""
FORMER_TENSORS = {
    "usual": "climatology_start",
    "recent": "recent_start",
    "trust": "climatology_weight",
    "share": "residual_weight",
}
"""Present names of the parts of `LinearResidual` by their names in earlier bundles and checkpoints."""


@register
class LinearResidual(Network):
    """Forecast a linear start plus the network's residual.

    y = sum over starts k of start_weight[k] start[k](x) + residual_weight network(x)

    for each target and lead. The starts are what is known without a network: the climatology,
    which is zero if the data are anomalies; persistence; the newest frame damped towards the climatology, and
    the newest frame damped towards the mean of the window's frames, which is still right if the climate has
    changed since training; with `neighbors` also the latter two with a linear regression on neighbors, and
    the linear reference forecast of a test. All are fitted in closed form before training and then fixed.

    start_weight is fitted before training on what follows several rolling origins in the training and
    validation periods; at each of them the starts are fitted on what came before. It is at least 0 with the
    sum 1, and the less certain it is, the closer it is to the climatology or persistence. residual_weight is
    1 during training and then fitted on the validation period, in [0, 1]; the less certain it is, the closer
    it is to 0, so that an overfit network is drawn back to the start.

    Args:
        network: Network of the residual; it determines channels, frames and leads.
        grid: (lat, lon) cells of the data, for a damping factor per cell; otherwise all cells share one.
        neighbors: Add starts with a linear regression on the 3 x 3 neighborhood in the three newest frames of
            the same target, so that only what is not linear is left to the network.
        frames: Number of newest frames in the regression of one more start, if more than three, that all
            cells share, or of the only start without `combine`; more than the window has mean all.
        combine: Fit the two weights. Otherwise the start is the newest frame damped towards the climatology,
            with the regression if there is one, and residual_weight is 1: for a loss whose minimum is not
            that of least squares over all cells.

    Raises:
        ConfigError: The network has fewer input than output channels, or a setting is out of its range.
    """

    combination: ClassVar[tuple[str, ...]] = ("start_weight", "residual_weight")

    start_weight: Tensor | None
    residual_weight: Tensor

    def __init__(
        self,
        network: Network,
        *,
        grid: Sequence[int] | None = None,
        neighbors: bool = False,
        frames: int = LAGS,
        combine: bool = True,
    ) -> None:
        super().__init__(network.c_in, network.c_out, network.t_in, network.leads)
        check_history(self)
        lags = min(LAGS, network.t_in) if neighbors else None
        most = min(check_count("frames", frames, type(self).__name__), network.t_in) if neighbors else None
        self.climatology_start = Damping(
            network.c_out, network.leads, grid, lags if combine else most
        ).requires_grad_(False)
        self.recent_start = self.pooled_start = self.reference_start = None
        weight = None
        if combine:
            self.recent_start = Damping(network.c_out, network.leads, grid, lags, recent=True).requires_grad_(
                False
            )
            if lags is not None and most is not None:
                pooled = partial(Damping, network.c_out, network.leads, None, constant=True)
                if most > lags:
                    self.pooled_start = pooled(most).requires_grad_(False)
                self.reference_start = pooled(lags, equal=True).requires_grad_(False)
            weight = torch.zeros(len(self.start_names), network.c_out, network.leads, 1, 1)
            weight[self.start_names.index(NEIGHBORS if neighbors else DAMPED)] = 1
        self.network = network
        self.register_buffer("start_weight", weight)
        self.register_buffer("residual_weight", torch.ones(network.c_out, network.leads, 1, 1))

    @property
    def start_names(self) -> tuple[str, ...]:
        """Names of the starts, in the order of start_weight."""
        regression = self.climatology_start.lags is not None
        names = [CLIMATOLOGY, PERSISTENCE, DAMPED, *([NEIGHBORS] if regression else [])]
        names += [RECENT, *([RECENT_NEIGHBORS] if regression else [])]
        names += [POOLED] if self.pooled_start is not None else []
        return (*names, *([LINEAR_3X3] if self.reference_start is not None else []))

    def compute(self, x: Tensor) -> Tensor:
        """Add the weighted residual to the linear start."""
        y: Tensor = self._start(x) + self._weighted(self.network(x))
        return y

    def members(self, x: Tensor) -> Tensor:
        """Shift all members so that their mean is the forecast."""
        members = self.network.members(x)
        mean = members.mean(0)
        y: Tensor = members + (self._start(x) + self._weighted(mean) - mean)
        return y

    @property
    def grid(self) -> tuple[int, int] | None:  # type: ignore[override]
        """(lat, lon) cells that the damping factors belong to; None for any grid."""
        return self.climatology_start.grid

    def before_training(self, training: Windows, validation: Windows) -> None:
        """Fit the starts on the training period, and the spread of the network's members around them."""
        for damping in self._dampings():
            damping.fit(training)
        self.network.fit_spread(partial(self._errors, training))

    @torch.no_grad()
    def _errors(self, windows: Windows) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for x, y, weight in windows():
            yield x, y - self._start(x), weight

    @torch.no_grad()
    def fit_combination(self, origins: Iterable[tuple[Windows, Windows]]) -> None:
        """Set start_weight at rolling origins (`combination_weights`); nothing without `combine`.

        Args:
            origins: Windows before and after each origin, both as for `Damping.fit`, in the order of time.
        """
        if self.start_weight is None:
            return
        dampings, products = copy.deepcopy(self._dampings()), []
        for before, after in origins:
            for damping in dampings:
                damping.fit(before, ROWS_AT_ORIGIN)
            for x, y, weight in after():
                products.append(error_products(_starts(dampings, x), y, weight).cpu())
        if products:
            names = self.start_names
            simpler = {names.index(POOLED): names.index(LINEAR_3X3)} if POOLED in names else {}
            weights = combination_weights(torch.cat(products), N_SIMPLE, simpler)
            self.start_weight.copy_(weights[..., None, None])

    def after_epoch(self, validation: Windows) -> None:
        """Fit residual_weight on the validation period."""
        self.fit_residual_weight(validation)

    @torch.no_grad()
    def fit_residual_weight(self, windows: Windows) -> None:
        """Set residual_weight for each target and lead; nothing without `combine`.

        residual_weight = s max(0, 1 - (q e / s)^2), s = sum(w d r) / sum(w d^2), clipped to [0, 1], where
        d = network(x), r = y - start(x), w is the weight of the cell, e the standard error of s from blocks
        of windows, and q the 97.5 % quantile of Student's t

        Args:
            windows: Windows as for `Damping.fit`, in the order of time, from a period that neither starts nor
                network were fitted on.
        """
        if self.start_weight is None:
            return
        sums = [_products(weight, self.network(x), y - self._start(x)) for x, y, weight in windows()]
        if sums:
            blocks = torch.stack([block.sum(0) for block in in_blocks(torch.cat(sums), self.leads)])
            fitted = shrunk(*ratio_with_interval(*blocks.unbind(1)))
            self.residual_weight.copy_(fitted[..., None, None].clamp(0, 1))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Take tensors of earlier bundles and checkpoints as well: former names, the weight of two starts."""
        for key in [key for key in state_dict if key.startswith(prefix)]:
            first, dot, rest = key.removeprefix(prefix).partition(".")
            if first in FORMER_TENSORS:
                state_dict[prefix + FORMER_TENSORS[first] + dot + rest] = state_dict.pop(key)
        former = state_dict.pop(prefix + "climatology_weight", None)
        if former is not None and self.start_weight is not None:
            weight, names = torch.zeros(self.start_weight.shape), self.start_names
            regression = NEIGHBORS in names
            weight[names.index(NEIGHBORS if regression else DAMPED)] = former
            weight[names.index(RECENT_NEIGHBORS if regression else RECENT)] = 1 - former
            state_dict[prefix + "start_weight"] = weight
            if self.pooled_start is not None:  # without weight
                self._add_start(state_dict, prefix, "pooled_start", self.pooled_start)
        self._take_former_reference(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _take_former_reference(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Take tensors without a reference start: it is that of all cells alike, or has no weight."""
        key, weight = f"{prefix}reference_start.weight", state_dict.get(prefix + "start_weight")
        if self.reference_start is None or weight is None or key in state_dict:
            return
        if self.pooled_start is None:
            for name in [name for name in state_dict if name.startswith(f"{prefix}pooled_start.")]:
                state_dict[name.replace("pooled_start", "reference_start")] = state_dict.pop(name)
        if key not in state_dict:
            self._add_start(state_dict, prefix, "reference_start", self.reference_start)
        if len(weight) < len(self.start_names):
            state_dict[prefix + "start_weight"] = torch.cat([weight, torch.zeros_like(weight[:1])])

    @staticmethod
    def _add_start(state_dict: dict[str, Any], prefix: str, name: str, start: Damping) -> None:
        """Add a start of zeros, to which nothing gives weight."""
        for part, tensor in start.state_dict().items():
            state_dict[f"{prefix}{name}.{part}"] = torch.zeros_like(tensor)

    def _dampings(self) -> list[Damping]:
        return [
            damping
            for damping in (
                *(self.climatology_start, self.recent_start),
                *(self.pooled_start, self.reference_start),
            )
            if damping is not None
        ]

    def _start(self, x: Tensor) -> Tensor:
        if self.start_weight is None:
            start: Tensor = self.climatology_start(x)
            return start
        starts = _starts(self._dampings(), x)[1:]  # the first is zero
        first, *others = (w * start for w, start in zip(self.start_weight[1:], starts, strict=True))
        return sum(others, first)

    def _weighted(self, residual: Tensor) -> Tensor:
        return residual if self.training else self.residual_weight * residual


def _starts(dampings: Sequence[Damping], x: Tensor) -> list[Tensor]:
    """Return the forecasts that are known without a network, in the order of `start_names`.

    Args:
        dampings: Damping towards the climatology, damping towards recent frames and those of all cells alike.
        x: Inputs, as for a network.
    """
    found = []
    for damping in dampings[:2]:
        damped, regression = damping.parts(x)
        found += [damped] if regression is None else [damped, damped + regression]
    found += [pooled(x) for pooled in dampings[2:]]
    persistence = x[:, : found[0].shape[1], -1:].expand_as(found[0])
    return [torch.zeros_like(persistence), persistence, *found]


def _products(weight: Tensor, a: Tensor, y: Tensor) -> Tensor:
    """Return the sums over cells of a y and a^2, float64, (window, 2, target, lead)."""
    return torch.stack([(weight * a * b).sum((3, 4)).double().cpu() for b in (y, a)], 1)
