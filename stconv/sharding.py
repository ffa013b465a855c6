"""Training with the weights spread over processes: FSDP, version 2, of PyTorch under Lightning.

Each process keeps a part of the weights, of their gradients and of the state of the optimizer, and has all
weights only while the network computes. The version 1 behind Lightning's `fsdp` flattens weights, which then
have neither their shapes nor their names.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from pytorch_lightning.strategies import FSDPStrategy, ModelParallelStrategy, StrategyRegistry
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    set_model_state_dict,
)
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

from stconv.errors import ConfigError

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

NAME = "fsdp2"
"""Name in `trainer.strategy`."""
METHODS = ("members",)
"""Methods of a network, besides `forward`, that need its weights."""


class Sharded(ModelParallelStrategy):
    """Spread the weights over all processes; a checkpoint is one file, as that of a single process."""

    strategy_name = NAME

    def __init__(self) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False)

    def setup_environment(self) -> None:
        """Count the processes of all nodes."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()


StrategyRegistry.register(NAME, Sharded, description="Fully sharded data parallel training, version 2")


def refuse_flattening(strategy: object) -> None:
    """Refuse the version 1.

    Raises:
        ConfigError: It is the strategy.
    """
    known = FSDPStrategy.get_registered_strategies()
    if isinstance(strategy, FSDPStrategy) or strategy in known:
        raise ConfigError(
            f"trainer.strategy is {strategy if strategy in known else 'FSDPStrategy'}, which flattens the "
            f"weights that stconv fits, checks and exports by name and shape. Set it to {NAME}."
        )


def shard(network: nn.Module, mesh: DeviceMesh) -> None:
    """Spread the weights that are trained; the others stay whole on every process."""
    frozen = set()
    for weight in network.parameters():
        weight.data = weight.data.contiguous()  # others cannot be spread
        if not weight.requires_grad:
            frozen.add(weight)
    fully_shard(network, mesh=mesh, ignored_params=frozen)
    for name in METHODS:
        register_fsdp_forward_method(network, name)


@contextmanager
def whole_weights(network: nn.Module) -> Iterator[None]:
    """Have all weights in every process, for what computes with a part of the network."""
    if isinstance(network, FSDPModule):
        network.unshard()
    yield
    if isinstance(network, FSDPModule):
        network.reshard()


class AveragedShards:
    """Exponential moving average of weights that are spread: each process averages its part of them.

    average <- decay * average + (1 - decay) * weights

    It stands in for the `AveragedModel` of torch, which copies a network and cannot copy a spread one.

    Args:
        module: Module whose weights are spread already.
        decay: Weight of the old average at each step, in [0, 1).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.n_averaged = decay, 0
        reshard(module)
        self._weights = [weight.detach().clone() for weight in module.parameters()]
        self._buffers = [buffer.detach().clone() for buffer in module.buffers()]

    @property
    def module(self) -> AveragedShards:
        """Itself: `AveragedModel` has the network here, and Lightning asks it for what follows."""
        return self

    def parameters(self) -> Iterator[Tensor]:
        """Averages of the parts of the weights that lie in this process, in the order of the module's."""
        return iter(self._weights)

    def buffers(self) -> Iterator[Tensor]:
        """Copies of the buffers, which are not averaged."""
        return iter(self._buffers)

    def update_parameters(self, module: nn.Module) -> None:
        """Take a step of the weights into the average."""
        self._mix(module, self.decay if self.n_averaged else 0.0)
        self.n_averaged += 1

    def take(self, module: nn.Module, n_averaged: int) -> None:
        """Take over the weights of a module that are averages already."""
        self._mix(module, 0.0)
        self.n_averaged = n_averaged

    @torch.no_grad()
    def _mix(self, module: nn.Module, decay: float) -> None:
        reshard(module)
        for average, weight in zip(self._weights, module.parameters(), strict=True):
            average.copy_(decay * average + (1 - decay) * weight)
        for ours, buffer in zip(self._buffers, module.buffers(), strict=True):
            ours.copy_(buffer)


def reshard(module: nn.Module) -> None:
    """Drop the whole weights that the last computation left, so that each process has its part alone."""
    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.reshard()


def scatter(weights: dict[str, Any], module: nn.Module) -> None:
    """Give a module whose weights are spread the whole ones of a checkpoint; all processes call this."""
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    set_model_state_dict(module, weights, options=options)


def gather(network: nn.Module, into: nn.Module) -> None:
    """Give a network of one process the weights that are spread over all; all of them have to call this."""
    into.load_state_dict(get_model_state_dict(network, options=StateDictOptions(full_state_dict=True)))
