"""Networks that forecast a distribution, as equally probable members in ascending order in every cell.

Quantiles, a normal distribution, several networks and passes with dropout all have this form, see
`Network.members`; the forecast is the mean of the members. `Quantiles` and `Gaussian` widen the output of the
network that they are given, so they go directly around the network that makes the output:
`LinearResidual(Quantiles(ResNet2D))`, not the other way round.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stconv.errors import ConfigError
from stconv.models.registry import Network, build, describe, register
from stconv.nn.normal_scores import normal_scores
from stconv.nn.regression import Windows
from stconv.nn.settings import check_count

LEAST_DEVIATION, MOST_DEVIATION = 1e-3, 1e2
"""Bounds of the standard deviation of a normal distribution, normalized units."""
ERRORS_OF_BATCH = 5000
"""Approximate number of errors of a batch, for each target and lead, that a first spread is fitted on."""


class _Head(Network):
    """A network with several output channels for each target."""

    def __init__(self, network: Network, channels: int) -> None:
        super().__init__(network.c_in, network.c_out, network.t_in, network.leads)
        spec = describe(network)
        if "c_out" not in spec["arguments"]:
            raise ConfigError(
                f"{type(self).__name__} goes around a network that has output channels of its own; "
                f"{spec['name']} takes them from another one. Put {type(self).__name__} inside of it."
            )
        spec["arguments"]["c_out"] = network.c_out * channels
        self.network = build(spec)
        self.channels = channels

    def channels_of(self, x: Tensor) -> Tensor:
        """Return the output channels, (channel, batch, target, leads, lat, lon)."""
        y: Tensor = self.network(x)
        return y.unflatten(1, (self.c_out, self.channels)).movedim(2, 0)

    def compute(self, x: Tensor) -> Tensor:
        """Return the mean of the members."""
        return self.members(x).mean(0)


@register
class Quantiles(_Head):
    """Forecast quantiles (i - 1/2) / n of each target, i = 1 to n; train it with `stconv.losses.CRPS`.

    They never cross: the output is sorted, which does not change a loss of the members. Inside
    `LinearResidual`, training starts from the quantiles of the errors of its start, the same in all cells.

    Args:
        network: Network with a `c_out` argument; a copy with n times the output channels is trained.
        n_members: Number n of quantiles; for 9 they are at 5.6, 16.7, ..., 94.4 %.

    Raises:
        ConfigError: There are fewer than 2 members, or the network has no `c_out` argument.

    Source:
        Chernozhukov et al. (2010), Econometrica 78, 1093-1125: sorting quantiles that cross.
    """

    first_spread: Tensor

    def __init__(self, network: Network, *, n_members: int = 9) -> None:
        super().__init__(network, check_count("n_members", n_members, "Quantiles", at_least=2))
        self.register_buffer("first_spread", torch.zeros(n_members, network.c_out, network.leads, 1, 1))

    def members(self, x: Tensor) -> Tensor:
        """Return the sorted sums of output channels and first spread."""
        return (self.channels_of(x) + self.first_spread[:, None]).sort(dim=0).values

    @torch.no_grad()
    def fit_spread(self, errors: Windows) -> None:
        """Set the first spread to the quantiles of the errors, less their mean."""
        n = self.c_out * self.leads
        pieces: list[list[Tensor]] = [[] for _ in range(n)]
        for _, error, weight in errors():
            rows, known = (t.transpose(0, 1).transpose(1, 2).reshape(n, -1) for t in (error, weight > 0))
            for piece, row, here in zip(pieces, rows, known, strict=True):
                found = row[here]
                piece.append(found[:: 1 + len(found) // ERRORS_OF_BATCH].cpu())
        levels = (np.arange(self.channels) + 0.5) / self.channels
        for i, piece in enumerate(pieces):
            values = torch.cat(piece).numpy() if piece else np.empty(0)
            if len(values):
                quantiles = torch.from_numpy(np.quantile(values, levels)).float()
                self.first_spread[:, i // self.leads, i % self.leads, 0, 0] = quantiles - quantiles.mean()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Take tensors of earlier bundles and checkpoints as well, which have no first spread."""
        state_dict.setdefault(prefix + "first_spread", torch.zeros_like(self.first_spread))
        super()._load_from_state_dict(state_dict, prefix, *args)


@register
class Gaussian(_Head):
    """Forecast mean and standard deviation of each target; train it with `stconv.losses.GaussianCRPS`.

    Args:
        network: Network with a `c_out` argument; a copy with twice the output channels is trained, for mean
            and logarithm of the variance.
        n_members: Number of quantiles that represent the distribution.

    Raises:
        ConfigError: There are fewer than 2 members, or the network has no `c_out` argument.

    Source:
        Nix and Weigend (1994), ICNN 1, 55-60: mean and variance as outputs of a network.
    """

    def __init__(self, network: Network, *, n_members: int = 9) -> None:
        super().__init__(network, 2)
        self.n_members = check_count("n_members", n_members, "Gaussian", at_least=2)

    def members(self, x: Tensor) -> Tensor:
        """Return quantiles of the normal distribution."""
        mean, log_variance = self.channels_of(x)
        deviation = (0.5 * log_variance).exp().clamp(LEAST_DEVIATION, MOST_DEVIATION)
        scores = normal_scores(self.n_members).to(mean).view(-1, 1, 1, 1, 1, 1)
        return mean + scores * deviation

    def compute(self, x: Tensor) -> Tensor:
        """Return the mean of the normal distribution."""
        return self.channels_of(x)[0]


class _Several(Network):
    """Several networks whose members together form the distribution."""

    networks: nn.ModuleList

    def members(self, x: Tensor) -> Tensor:
        """Return the members of all networks, in ascending order."""
        return torch.cat([network.members(x) for network in self.each()]).sort(dim=0).values

    def compute(self, x: Tensor) -> Tensor:
        """Return the mean of the forecasts of the networks."""
        return torch.stack([network(x) for network in self.each()]).mean(0)

    def fit_spread(self, errors: Windows) -> None:
        """Fit the first spread of each of the networks."""
        for network in self.networks:
            if isinstance(network, Network):
                network.fit_spread(errors)

    def each(self) -> list[Network]:
        """Return the networks that take part in the forecast."""
        return [network for network in self.networks if isinstance(network, Network)]


@register
class Ensemble(_Several):
    """Several separately trained networks, whose members together form the distribution.

    `stconv ensemble` makes one from trained bundles.

    Args:
        networks: Networks with the same channels, frames and leads.

    Raises:
        ConfigError: There are fewer than 2 networks, or their sizes differ.

    Source:
        Lakshminarayanan et al. (2017), arXiv 1612.01474, deep ensembles.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        if len(networks) < 2:
            raise ConfigError(f"Ensemble has {len(networks)} networks; expected 2 or more.")
        sizes = [(n.c_in, n.c_out, n.t_in, n.leads) for n in networks]
        if len(set(sizes)) > 1:
            raise ConfigError(
                f"The networks of an Ensemble differ in (c_in, c_out, t_in, leads): {sorted(set(sizes))}. "
                "Train them on the same inputs, targets and leads."
            )
        super().__init__(*sizes[0])
        self.networks = nn.ModuleList(networks)


@register
class MembersInTurn(_Several):
    """Several networks of the same kind in one training: each batch trains one of them, in turn.

    Each network starts from its own random weights and sees its own batches, so that their errors differ:
    the mean has smaller errors, and the spread tells how certain it is. A training step costs as much as that
    of one network, and n networks need about n times the epochs. Unlike `Ensemble`, it is one run with one
    configuration.

    Args:
        network: First network; the others have the same arguments.
        n_members: Number of networks.

    Raises:
        ConfigError: There are fewer than 2 members.

    Source:
        Lakshminarayanan et al. (2017), arXiv 1612.01474, deep ensembles.
    """

    def __init__(self, network: Network, *, n_members: int = 3) -> None:
        super().__init__(network.c_in, network.c_out, network.t_in, network.leads)
        check_count("n_members", n_members, "MembersInTurn", at_least=2)
        self.networks = nn.ModuleList([network, *(build(describe(network)) for _ in range(n_members - 1))])
        self.turn = 0

    @property
    def display_name(self) -> str:
        """Display name of each of the networks."""
        return super().each()[0].display_name

    def each(self) -> list[Network]:
        """Return all networks; in training, only the one whose turn it is."""
        networks = super().each()
        if not self.training:
            return networks
        self.turn = (self.turn + 1) % len(networks)
        return [networks[self.turn]]


@register
class MonteCarloDropout(Network):
    """Keep the dropout of a network on when it forecasts; several passes are the members.

    The passes use their own random seed, so that a forecast can be reproduced.

    Args:
        network: Network with dropout.
        n_members: Number of passes; the cost of a forecast is proportional to it.
        seed: Random seed of the passes.

    Raises:
        ConfigError: There are fewer than 2 members, or the network has no dropout.

    Source:
        Gal and Ghahramani (2016), arXiv 1506.02142.
    """

    def __init__(self, network: Network, *, n_members: int = 10, seed: int = 0) -> None:
        super().__init__(network.c_in, network.c_out, network.t_in, network.leads)
        self.n_members = check_count("n_members", n_members, "MonteCarloDropout", at_least=2)
        self.seed = seed
        if not any(_drops(module) for module in network.modules()):
            raise ConfigError(
                f"MonteCarloDropout goes around a network that drops channels; {type(network).__name__} "
                "drops none. Give it a `dropout` above 0."
            )
        self.network = network

    def members(self, x: Tensor) -> Tensor:
        """Return passes with dropout, in ascending order; in training, the single forecast of the network.

        Each pass drops the same channels for every window, whatever its batch.
        """
        if self.training:
            return self.network.members(x)
        dropouts = [module for module in self.network.modules() if _drops(module)]
        with torch.random.fork_rng([x.device] if x.is_cuda else []):
            for module in dropouts:
                module.train()
            try:
                passes = [self._passes(window) for window in x]
            finally:
                for module in dropouts:
                    module.eval()
        return torch.stack(passes, dim=1).sort(dim=0).values

    def _passes(self, window: Tensor) -> Tensor:
        torch.manual_seed(self.seed)
        y = self.network.members(window.expand(self.n_members, -1, -1, -1, -1))
        return y.flatten(0, 1)

    def compute(self, x: Tensor) -> Tensor:
        """Return the mean of the passes."""
        return self.members(x).mean(0)


def _drops(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0
