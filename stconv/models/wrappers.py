"""Networks around a network: where the forecast starts from, and where it may not go."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from stconv.errors import ConfigError
from stconv.models.baselines import check_history
from stconv.models.registry import Network, register
from stconv.nn.damping import Damping
from stconv.nn.regression import LAGS, Windows, ratio_with_error

BLOCKS = 5
"""Of the validation period, as many as there are windows for: they tell how sure trust and share are."""
DOUBT = (math.inf, 12.706, 4.303, 3.182, 2.776)
"""Standard errors that are beyond doubt with 1, 2, ... blocks: the 97.5 % quantile of Student's t with one
degree of freedom less."""
Bound = float | Sequence[float | None] | None
"""One bound for all targets, one for each, or none."""


@register
class Damped(Network):
    """Let a network forecast the difference from damped persistence.

    y = start + share network(x), start = recent(x) + trust (usual(x) - recent(x)) for each target and lead

    usual(x) is the newest frame, damped towards zero; recent(x) is damped towards the mean of the window's
    frames, which holds in a climate that has moved on since the training as well. Both, plus maybe a
    regression, are fitted in closed form before the training and stay as they are, as does trust, in [0, 1],
    which the validation period says: where it is in doubt, they count alike. Share, in [0, 1], is 1 in
    training, and then what the validation period says beyond doubt: a network that learned its training
    period by heart is drawn back to where it started from.

    Args:
        network: The network of the difference; it gives this one its channels, frames and leads.
        grid: (lat, lon) cells of the data, for a damping of each cell; otherwise the same in all.
        neighbors: Add a linear regression on the 3 x 3 neighborhood in the three newest frames of the same
            target: the network is left with what is not linear.
        combine: Fit trust and share on the validation period; otherwise the start is usual(x) and share 1,
            for a loss that wants something else than the least squares of all cells.

    Raises:
        ConfigError: The network has fewer input than output channels, or a setting is out of its range.
    """

    trust: Tensor
    share: Tensor

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
        self.usual = Damping(network.c_out, network.leads, grid, lags).requires_grad_(False)
        self.recent = (
            Damping(network.c_out, network.leads, grid, lags, recent=True).requires_grad_(False)
            if combine
            else None
        )
        self.network = network
        self.register_buffer("trust", torch.ones(network.c_out, network.leads, 1, 1))
        self.register_buffer("share", torch.ones(network.c_out, network.leads, 1, 1))

    def compute(self, x: Tensor) -> Tensor:
        """Add the network's output to where it starts from."""
        y: Tensor = self._start(x) + self._shared(self.network(x))
        return y

    def members(self, x: Tensor) -> Tensor:
        """Move each member by what is added to their mean."""
        members = self.network.members(x)
        mean = members.mean(0)
        y: Tensor = members + (self._start(x) + self._shared(mean) - mean)
        return y

    @property
    def grid(self) -> tuple[int, int] | None:  # type: ignore[override]
        """(lat, lon) cells that the damping is for; None for any."""
        return self.usual.grid

    def before_training(self, training: Windows, validation: Windows) -> None:
        """Fit both starts on the training period, and the trust on the validation period."""
        self.usual.fit(training)
        if self.recent is not None:
            self.recent.fit(training)
        self.fit_trust(validation)

    def after_epoch(self, validation: Windows) -> None:
        """Fit the share."""
        self.fit_share(validation)

    @torch.no_grad()
    def fit_trust(self, windows: Windows) -> None:
        """Set the trust for each target and lead, before the training; only if `combine`.

        trust = 1/2 + d max(0, 1 - (q e / d)^2), d = t - 1/2, t the least-squares trust, e its standard error,
        q of Student's t; in [0, 1]

        Args:
            windows: As of `Damping.fit`, in the order of time, of a period that the start was not fitted on.

        Source:
            Bates and Granger (1969), Operational Research Quarterly 20, 451-468: weights of a combination of
            forecasts from their past errors. Smith and Wallis (2009), Oxford Bulletin of Economics and
            Statistics 71, 331-355: why equal weights are hard to beat. Efron and Morris (1973), Journal of
            the American Statistical Association 68, 117-130: estimates drawn towards what is known, less the
            surer they are.
        """
        if self.recent is None:
            return
        sums = []
        for x, y, weight in windows():
            recent = self.recent(x)
            sums.append(_products(weight, self.usual(x) - recent, y - recent))
        if sums:
            trust, doubt = _ratio_with_doubt(sums)
            self.trust.copy_((0.5 + _beyond_doubt(trust - 0.5, doubt)).clamp(0, 1))

    @torch.no_grad()
    def fit_share(self, windows: Windows) -> None:
        """Set the share of the network for each target and lead; only if `combine`.

        share = s max(0, 1 - (q e / s)^2), s = sum(w d r) / sum(w d^2), d = network(x), r what the start
        leaves, e and q as in `fit_trust`; in [0, 1]

        Args:
            windows: As of `Damping.fit`, in the order of time, of a period that neither start nor network was
                fitted on.
        """
        if self.recent is None:
            return
        sums = [_products(weight, self.network(x), y - self._start(x)) for x, y, weight in windows()]
        if sums:
            self.share.copy_(_beyond_doubt(*_ratio_with_doubt(sums)).clamp(0, 1))

    def _start(self, x: Tensor) -> Tensor:
        usual: Tensor = self.usual(x)
        return usual if self.recent is None else torch.lerp(self.recent(x), usual, self.trust)

    def _shared(self, difference: Tensor) -> Tensor:
        return difference if self.training else self.share * difference


def _products(weight: Tensor, a: Tensor, y: Tensor) -> Tensor:
    """Sums over the cells of a y and a^2, float64, (2, window, target, lead)."""
    return torch.stack([(weight * a * b).sum((3, 4)).double().cpu() for b in (y, a)])


def _ratio_with_doubt(products: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The w of y = w a by least squares, and how far it is in doubt, (target, lead, 1, 1)."""
    of_windows = torch.cat(products, dim=1)
    blocks = [block.sum(1) for block in of_windows.tensor_split(min(BLOCKS, of_windows.shape[1]), dim=1)]
    ratio, error = ratio_with_error(*torch.stack(blocks).unbind(1))
    return ratio[..., None, None], DOUBT[len(blocks) - 1] * error[..., None, None]


def _beyond_doubt(estimate: Tensor, doubt: Tensor) -> Tensor:
    """The estimate, drawn towards 0 the more, the larger the doubt is beside it."""
    kept = 1 - (doubt / estimate.abs().clamp(min=1e-12)).square()
    return estimate * kept.nan_to_num(0).clamp(min=0)


@register
class Bounded(Network):
    """Hold the forecast of a network to bounds: rain is never negative, a share never more than 1.

    The bounds apply when the network forecasts, not while it trains: a forecast outside of them then still
    has a gradient that leads it back, and the clamp can only bring a forecast closer to a truth that keeps
    to the bounds.

    A network knows nothing but normalized values, and so do these bounds. A physical bound can be stated
    with scaling `none` (the same number), `minmax` over the whole grid (0 is the smallest value of the
    training period, 1 the largest) or `zscore` over the whole grid (for b: (b - mean) / standard deviation,
    as `Preparation` has them). It can not be stated for anomalies or for scaling by cell, where the same
    physical bound is another number in every cell.

    Args:
        network: The network to hold; it gives this one its channels, frames and leads.
        lower: Least normalized value: one for all targets, one (or null) for each, or null.
        upper: Greatest normalized value, likewise.

    Raises:
        ConfigError: There is no bound, not one for each target, or the lower is not below the upper.
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
        """Clamp the network's output, except in training."""
        return self._held(self.network(x))

    def members(self, x: Tensor) -> Tensor:
        """Clamp each member, except in training."""
        return self._held(self.network.members(x))

    def _held(self, y: Tensor) -> Tensor:
        return y if self.training else torch.minimum(torch.maximum(y, self.low), self.high)

    def _per_target(self, name: str, bound: Bound, missing: float) -> list[float]:
        bounds = [bound] * self.c_out if bound is None or isinstance(bound, int | float) else list(bound)
        if len(bounds) != self.c_out:
            raise ConfigError(
                f"{name} of Bounded has {len(bounds)} values for {self.c_out} targets; expected one for each "
                "(null for none), or a single number."
            )
        return [missing if value is None else float(value) for value in bounds]
