"""The part that all trainings share: data, preparation, optimizer, and the weights of a checkpoint."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pytorch_lightning as pl
from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable, ReduceLROnPlateau
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.optim import Optimizer

from stconv.datasets.preparation.preparation import Preparation
from stconv.errors import ConfigError
from stconv.models import Network
from stconv.models.transfer import Transfer
from stconv.nn.memory import channels_last
from stconv.ranks import pooled
from stconv.schedules import WarmupCosine
from stconv.sharding import gather, shard

if TYPE_CHECKING:
    from stconv.datasets.datamodule import GridDataModule

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Optimization:
    """Optimizer and schedule of a training.

    Attributes:
        make_optimizer: Makes the optimizer from the parameters.
        make_lr_scheduler: Makes the schedule of the learning rate from the optimizer; None keeps it constant.
        lr_interval: "epoch" or "step": whether the schedule advances after each epoch or optimizer step.
        decay_all: Apply weight decay to biases and norms as well, not to kernels alone.
    """

    make_optimizer: OptimizerCallable
    make_lr_scheduler: LRSchedulerCallable | None = None
    lr_interval: Literal["epoch", "step"] = "epoch"
    decay_all: bool = True

    def optimizer_of(self, network: nn.Module) -> Optimizer:
        """Make the optimizer of the parameters that are trained."""
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        groups: Any = parameters
        if not self.decay_all:
            groups = [
                {"params": [weight for weight in parameters if weight.ndim > 1]},
                {"params": [weight for weight in parameters if weight.ndim <= 1], "weight_decay": 0.0},
            ]
        return self.make_optimizer(groups)

    def configure(self, task: TrainingTask) -> Any:
        """Make the optimizer and, if there is one, the schedule of its learning rate, for Lightning."""
        optimizer = self.optimizer_of(task.network)
        if self.make_lr_scheduler is None:
            return optimizer
        scheduler = self.make_lr_scheduler(optimizer)
        config: dict[str, Any] = {"scheduler": scheduler, "interval": self.lr_interval}
        if isinstance(scheduler, WarmupCosine):
            scheduler.follow(task.trainer.estimated_stepping_batches)
            config["interval"] = "step"
        if isinstance(scheduler, ReduceLROnPlateau):
            config["monitor"] = scheduler.monitor
        return {"optimizer": optimizer, "lr_scheduler": config}


class TrainingTask(pl.LightningModule):
    """A network, a loss and an optimizer on the windows of a data module.

    The preparation (normalization, masks, extra channels) is taken from the data module and becomes part of
    the task and of its checkpoints, so that a checkpoint is tested with the statistics it was trained with.

    Args:
        network: Network to train.
        loss: Called as loss(prediction, target, weight), see `stconv.losses`.
        optimization: Optimizer and schedule.
    """

    preparation: Preparation

    def __init__(self, network: Network, loss: nn.Module | None, optimization: Optimization) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.optimization = optimization
        self.start: Transfer | None = None
        """Layers that started from another network's weights, if any did."""
        self._unsharded: list[Network] = []
        """A copy of a network whose weights are spread over processes, in a list, so that it is no part."""

    @property
    def data(self) -> GridDataModule:
        """The data module of the trainer."""
        return self.trainer.datamodule  # type: ignore[attr-defined]

    def setup(self, stage: str) -> None:
        """Take the preparation of the data module, and lay the weights out for this device."""
        if "preparation" not in self._modules:
            self.preparation = self.data.preparation
        if self.trainer.strategy.root_device.type == "cpu":  # how much faster: benchmarks/RESULTS.md
            channels_last(self.network)

    @property
    def is_spread(self) -> bool:
        """Whether each process holds a part of the weights only."""
        return bool(self._unsharded)

    def configure_model(self) -> None:
        """Spread the weights over the processes, if the strategy does; Lightning calls this after `setup`."""
        if self._device_mesh is None or self.trainer.state.fn != TrainerFn.FITTING or self.is_spread:
            return
        self.to(self.trainer.strategy.root_device)
        self.before_first_step()
        self._unsharded.append(copy.deepcopy(self.network).cpu())
        shard(self.network, self._device_mesh["data_parallel"])

    def on_fit_start(self) -> None:
        """Prepare the network, unless it was before its weights were spread."""
        if not self.is_spread:
            self.before_first_step()

    def before_first_step(self) -> None:
        """Let the network fit itself; does nothing by default."""

    def on_train_end(self) -> None:
        """Gather spread weights, so that what follows has a network as any other."""
        if self.is_spread:
            network = self._unsharded.pop()
            gather(self.network, network)
            self.network = network.to(self.trainer.strategy.root_device)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load the weights of a checkpoint.

        Raises:
            ConfigError: They belong to another network or preparation.
        """
        try:
            return super().load_state_dict(state_dict, strict, assign)
        except RuntimeError as error:
            reasons = str(error).strip().splitlines()
            raise ConfigError(
                f"The checkpoint does not fit this configuration: {reasons[-1].strip()} Use the "
                "configuration it was trained with (config.yaml in the folder of its run) and the same "
                "version of stconv, or train again."
            ) from error

    def loss_of(self, batch: Batch) -> Tensor:
        """Compute the loss of a batch."""
        raise NotImplementedError

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a training batch; log it by step and as the mean of the epoch."""
        with pooled(self.trainer.world_size):
            loss = self.loss_of(batch)
        n = len(batch["inputs"])
        self.log("train_loss_step", loss, on_step=True, on_epoch=False, batch_size=n)
        self.log(
            "train_loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=n, sync_dist=True
        )
        return loss

    def configure_optimizers(self) -> Any:
        """Make the optimizer and, if configured, the schedule of its learning rate."""
        return self.optimization.configure(self)
