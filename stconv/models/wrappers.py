"""Networks around a network: one that adds a linear start to its output, and one that bounds it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from stconv.errors import ConfigError
from stconv.models.baselines import check_history
from stconv.models.registry import Network, register
from stconv.nn.damping import Damping
from stconv.nn.regression import LAGS, Windows, ratio_with_error

BLOCKS = 5
"""Number of blocks of the validation period, for standard errors; fewer if there are fewer windows."""
T_QUANTILES = (math.inf, 12.706, 4.303, 3.182, 2.776)
"""Half width of the 95 % interval in standard errors for 1, 2, ... blocks: the 97.5 % quantile of Student's
t with one degree of freedom less than blocks."""
FORMER_TENSORS = {
    "usual": "climatology_start",
    "recent": "recent_start",
    "trust": "climatology_weight",
    "share": "residual_weight",
}
"""Present names of the parts of `LinearResidual` by their names in earlier bundles and checkpoints."""
Bound = float | Sequence[float | None] | None
"""One bound for all targets, one for each, or none."""


@register
class LinearResidual(Network):
    """Forecast a linear start plus the network's residual.

    y = start + residual_weight network(x)
    start = climatology_weight climatology_start(x) + (1 - climatology_weight) recent_start(x)

    with both weights in [0, 1] for each target and lead. climatology_start(x) is the newest frame damped
    towards zero, which is the climatology if the data are anomalies; recent_start(x) is damped towards the
    mean of the window's frames, which is still right if the climate has changed since training. Both starts,
    with or without a regression on neighbors, are fitted in closed form before training and then fixed.
    climatology_weight is fitted on the validation period before training; the less certain it is, the closer
    it is to 1/2. residual_weight is 1 during training and then fitted on the validation period; the less
    certain it is, the closer it is to 0, so that an overfit network is drawn back to the linear start.

    Args:
        network: Network of the residual; it determines channels, frames and leads.
        grid: (lat, lon) cells of the data, for a damping factor per cell; otherwise all cells share one.
        neighbors: Add a linear regression on the 3 x 3 neighborhood in the three newest frames of the same
            target to the start, so that only what is not linear is left to the network.
        combine: Fit the two weights on the validation period; otherwise both are 1, for a loss whose minimum
            is not that of least squares over all cells.

    Raises:
        ConfigError: The network has fewer input than output channels, or a setting is out of its range.
    """

    climatology_weight: Tensor
    residual_weight: Tensor

    def __init__(
        self,
        network: Network,
        *,
        grid: Sequence[int] | None = None,
        neighbors: bool = False,
        combine: bool = True,
    ) -> None:
        super().__init__(network.c_in, network.c_out, network.t_in, network.leads)
        check_history(self)
        lags = min(LAGS, network.t_in) if neighbors else None
        self.climatology_start = Damping(network.c_out, network.leads, grid, lags).requires_grad_(False)
        self.recent_start = (
            Damping(network.c_out, network.leads, grid, lags, recent=True).requires_grad_(False)
            if combine
            else None
        )
        self.network = network
        self.register_buffer("climatology_weight", torch.ones(network.c_out, network.leads, 1, 1))
        self.register_buffer("residual_weight", torch.ones(network.c_out, network.leads, 1, 1))

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
        """Fit both starts on the training period, and climatology_weight on the validation period."""
        self.climatology_start.fit(training)
        if self.recent_start is not None:
            self.recent_start.fit(training)
        self.fit_climatology_weight(validation)

    def after_epoch(self, validation: Windows) -> None:
        """Fit residual_weight on the validation period."""
        self.fit_residual_weight(validation)

    @torch.no_grad()
    def fit_climatology_weight(self, windows: Windows) -> None:
        """Set climatology_weight for each target and lead, before training; nothing without `combine`.

        climatology_weight = 1/2 + d max(0, 1 - (q e / d)^2), d = w - 1/2, clipped to [0, 1], where w is the
        least-squares weight, e its standard error, and q the 97.5 % quantile of Student's t

        Args:
            windows: Windows as for `Damping.fit`, in the order of time, from a period that the starts were
                not fitted on.

        Source:
            Bates and Granger (1969), Operational Research Quarterly 20, 451-468: weights of a combination of
            forecasts from their past errors. Smith and Wallis (2009), Oxford Bulletin of Economics and
            Statistics 71, 331-355: why equal weights are hard to beat. Efron and Morris (1973), Journal of
            the American Statistical Association 68, 117-130: estimates shrunk towards a prior value, the more
            the less certain they are.
        """
        if self.recent_start is None:
            return
        sums = []
        for x, y, weight in windows():
            recent = self.recent_start(x)
            sums.append(_products(weight, self.climatology_start(x) - recent, y - recent))
        if sums:
            fitted, half_width = _ratio_with_interval(sums)
            self.climatology_weight.copy_((0.5 + _shrunk(fitted - 0.5, half_width)).clamp(0, 1))

    @torch.no_grad()
    def fit_residual_weight(self, windows: Windows) -> None:
        """Set residual_weight for each target and lead; nothing without `combine`.

        residual_weight = s max(0, 1 - (q e / s)^2), s = sum(w d r) / sum(w d^2), clipped to [0, 1], where
        d = network(x), r = y - start(x), w is the weight of the cell, and e and q are those of
        `fit_climatology_weight`

        Args:
            windows: Windows as for `Damping.fit`, in the order of time, from a period that neither starts nor
                network were fitted on.
        """
        if self.recent_start is None:
            return
        sums = [_products(weight, self.network(x), y - self._start(x)) for x, y, weight in windows()]
        if sums:
            self.residual_weight.copy_(_shrunk(*_ratio_with_interval(sums)).clamp(0, 1))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Take tensors of earlier bundles and checkpoints under their former names as well."""
        for key in [key for key in state_dict if key.startswith(prefix)]:
            first, dot, rest = key.removeprefix(prefix).partition(".")
            if first in FORMER_TENSORS:
                state_dict[prefix + FORMER_TENSORS[first] + dot + rest] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _start(self, x: Tensor) -> Tensor:
        start: Tensor = self.climatology_start(x)
        if self.recent_start is None:
            return start
        return torch.lerp(self.recent_start(x), start, self.climatology_weight)

    def _weighted(self, residual: Tensor) -> Tensor:
        return residual if self.training else self.residual_weight * residual


def _products(weight: Tensor, a: Tensor, y: Tensor) -> Tensor:
    """Return the sums over cells of a y and a^2, float64, (2, window, target, lead)."""
    return torch.stack([(weight * a * b).sum((3, 4)).double().cpu() for b in (y, a)])


def _ratio_with_interval(products: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Return w of y = w a by least squares, and the half width of its 95 % interval, (target, lead, 1, 1)."""
    by_window = torch.cat(products, dim=1)
    blocks = [block.sum(1) for block in by_window.tensor_split(min(BLOCKS, by_window.shape[1]), dim=1)]
    ratio, error = ratio_with_error(*torch.stack(blocks).unbind(1))
    return ratio[..., None, None], T_QUANTILES[len(blocks) - 1] * error[..., None, None]


def _shrunk(estimate: Tensor, half_width: Tensor) -> Tensor:
    """Return the estimate shrunk towards 0, the more the wider its interval is relative to it."""
    kept = 1 - (half_width / estimate.abs().clamp(min=1e-12)).square()
    return estimate * kept.nan_to_num(0).clamp(min=0)


@register
class Bounded(Network):
    """Clamp the forecast of a network to bounds: rain is never negative, a fraction never above 1.

    The bounds apply in forecasts, not during training: a training forecast outside of the bounds keeps a
    gradient that leads it back. If the truth keeps to the bounds, clamping never increases an error.

    Networks and these bounds work on normalized values. A physical bound can be stated with scaling `none`
    (the same number), `minmax` over the whole grid (0 is the smallest value of the training period, 1 the
    largest) or `zscore` over the whole grid ((b - mean) / standard deviation for a bound b, with the
    statistics of `Preparation`). It cannot be stated for anomalies or for scaling by cell, where the same
    physical bound is a different number in every cell.

    Args:
        network: Network whose forecast is clamped; it determines channels, frames and leads.
        lower: Smallest normalized value: one for all targets, one (or null) for each, or null.
        upper: Largest normalized value, in the same form.

    Raises:
        ConfigError: There is no bound, not one for each target, or a lower bound is not below the upper one.
    """

    low: Tensor
    high: Tensor

    def __init__(self, network: Network, *, lower: Bound = None, upper: Bound = None) -> None:
        super().__init__(network.c_in, network.c_out, network.t_in, network.leads)
        low = self._per_target("lower", lower, -torch.inf)
        high = self._per_target("upper", upper, torch.inf)
        if lower is None and upper is None:
            raise ConfigError("Bounded has no bound; give `lower`, `upper` or both, or leave Bounded out.")
        if not all(a < b for a, b in zip(low, high, strict=True)):
            raise ConfigError(f"lower of Bounded is {lower} and upper {upper}; expected lower below upper.")
        self.network = network
        self.register_buffer("low", torch.tensor(low).view(-1, 1, 1, 1), persistent=False)
        self.register_buffer("high", torch.tensor(high).view(-1, 1, 1, 1), persistent=False)

    def compute(self, x: Tensor) -> Tensor:
        """Clamp the forecast of the network, except in training."""
        return self._clamped(self.network(x))

    def members(self, x: Tensor) -> Tensor:
        """Clamp each member, except in training."""
        return self._clamped(self.network.members(x))

    def open_paths(self) -> None:
        """Lift the bounds, outside of which gradients are zero: `stconv.nn.probing`."""
        self.low, self.high = torch.tensor(-torch.inf), torch.tensor(torch.inf)

    def _clamped(self, y: Tensor) -> Tensor:
        return y if self.training else torch.minimum(torch.maximum(y, self.low), self.high)

    def _per_target(self, name: str, bound: Bound, missing: float) -> list[float]:
        bounds = [bound] * self.c_out if bound is None or isinstance(bound, int | float) else list(bound)
        if len(bounds) != self.c_out:
            raise ConfigError(
                f"{name} of Bounded has {len(bounds)} values for {self.c_out} targets; expected one for "
                "each (null for none), or a single number."
            )
        return [missing if value is None else float(value) for value in bounds]
