"""Training with the weights spread over processes: FSDP, version 2, of PyTorch under Lightning.

Each process keeps a part of the weights, of their gradients and of the state of the optimizer, and has all
weights only while the network computes. The version 1 behind Lightning's `fsdp` flattens weights, which then
have neither their shapes nor their names.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pytorch_lightning.strategies import FSDPStrategy, ModelParallelStrategy, StrategyRegistry
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
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


def gather(network: nn.Module, into: nn.Module) -> None:
    """Give a network of one process the weights that are spread over all; all of them have to call this."""
    into.load_state_dict(get_model_state_dict(network, options=StateDictOptions(full_state_dict=True)))
