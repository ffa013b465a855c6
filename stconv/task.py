"""The LightningModule: one shared step around an injected network and an injected loss."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging
from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor, nn

from stconv.compute.tiling import Tiled, halo_of, tiles_of
from stconv.datasets.origins import rolling_origins
from stconv.datasets.preparation.cropping import cropped
from stconv.datasets.preparation.preparation import Preparation
from stconv.datasets.series.dataset import WindowDataset
from stconv.errors import ConfigError, ShapeError
from stconv.evaluation.assessment import Assessment
from stconv.evaluation.leakage import check_causality
from stconv.losses import DistributionLoss
from stconv.losses.pooling import batch_weight, exponent_of
from stconv.models import Network
from stconv.models.transfer import Transfer
from stconv.nn.freezing import Freezing
from stconv.nn.memory import recompute
from stconv.nn.placing import placed
from stconv.nn.regression import Windows
from stconv.sharding import AveragedShards, Sharded, reshard, scatter, whole_weights
from stconv.spacing import evenly_spaced
from stconv.training import Batch, Optimization, TrainingTask
from stconv.uncertainty.bands import Bands, refuse_names_of_bounds
from stconv.uncertainty.conformal import calibrate
from stconv.verification import Verification
from stconv.verification.scores.metrics import calibration_metrics, event_metrics, score_metrics
from stconv.verification.scores.pooled import PooledMean
from stconv.verification.scores.scoring import Scoring

if TYPE_CHECKING:
    from stconv.datasets.datamodule import GridDataModule

MOST_WINDOWS = {"train": 4096, "val": 256}
"""Number of evenly spaced windows of a period on which a network fits itself outside of training steps."""
MOST_AT_ORIGIN = 512
"""Number of evenly spaced windows before, and after, a rolling origin."""


class ForecastTask(TrainingTask):
    """Train, validate and test a network that forecasts on the windows of a data module.

    Args:
        network: Maps normalized inputs (batch, c_in, t_in, lat, lon) to (batch, c_out, leads, lat, lon).
        loss: Called as loss(prediction, target, weight), see `stconv.losses`; None for a network that is
            only evaluated, for which no loss is logged.
        optimizer: Makes the optimizer from the parameters.
        lr_scheduler: Makes the schedule of the learning rate from the optimizer; None keeps it constant.
        lr_interval: "epoch" or "step": whether the schedule advances after each epoch or optimizer step.
        loss_units: "normalized" or "physical": the values that the loss compares. Physical ones, with
            transforms undone and bounds applied, suit scores of counts and rain; targets in different units
            then count by the size of their numbers.
        scoring: Scores of a test besides the errors: thresholds, regions, seasons.
        decay_all: Apply weight decay to biases and norms as well, not to kernels alone.
        recompute_activations: Keep only the input of each convolution block for the backward pass and
            recompute the rest: less memory, slower steps, the same training.
        freeze: Patterns of names of the network's parameters that are not trained, such as "features.*".
    """

    def __init__(
        self,
        network: Network,
        loss: nn.Module | None,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_interval: Literal["epoch", "step"] = "epoch",
        loss_units: Literal["normalized", "physical"] = "normalized",
        scoring: Scoring = Scoring(),  # noqa: B008 - frozen
        decay_all: bool = True,
        recompute_activations: bool = False,
        freeze: Sequence[str] = (),
    ) -> None:
        super().__init__(network, loss, Optimization(optimizer, lr_scheduler, lr_interval, decay_all))
        self.freezing = Freezing(network, freeze)
        recompute(network, recompute_activations)
        self.recompute_activations = recompute_activations
        self._loss_units = loss_units
        self.verification: Verification | None = None
        """Result of the latest test."""
        self.bands: Bands | None = None
        """Uncertainty bands once calibrated; a test calibrates them if there are none yet."""
        self.refit: dict[str, Any] | None = None
        """In a refit, what its bundle says about the verified run."""
        self.combination: list[dict[str, Tensor]] | None = None
        """In a refit, the weights of combination of the verified network, from `combination_of`."""
        self._scoring = scoring
        self._assessment: Assessment | None = None
        self._tiled: list[Tiled] = []
        self._trains_on_crops = False

    @property
    def has_parameters(self) -> bool:
        """Whether there is anything to train; False for the baselines."""
        return any(True for _ in self.network.parameters())

    def setup(self, stage: str) -> None:
        """Take the preparation of the data module, and check that network and data fit each other."""
        super().setup(stage)
        check_fit(self.network, self.data)
        self._trains_on_crops = self.data.window.crop is not None
        if stage == "fit" and self._trains_on_crops:
            self.data.crop_with(halo_of(self.network))
        refuse_names_of_bounds([*self.data.outputs, *self.data.directions])
        if stage == "fit" and self.loss is None:
            raise ConfigError("There is no loss to train with. Set `model.loss`, see `stconv.losses`.")
        if self._loss_units == "physical" and self.data.event is not None:
            raise ConfigError(
                "loss_units is physical, and data.event is set: the loss of an event compares "
                "probabilities. Leave loss_units out."
            )
        if stage == "fit" and not self.has_parameters:
            raise ConfigError(
                f"{type(self.network).__name__} has no parameters, there is nothing to fit. Run `stconv "
                "test` with the same configuration."
            )
        if stage == "fit" and not any(p.requires_grad for p in self.network.parameters()):
            raise ConfigError(
                f"freeze ({', '.join(self.freezing.patterns)}) matches every parameter of "
                f"{type(self.network).__name__}, there is nothing left to fit. Leave a part of it free."
            )

    def before_first_step(self) -> None:
        """Let the network fit itself, unless training resumes from a checkpoint."""
        if self.trainer.ckpt_path is None:
            with self.freezing.kept():
                for part in self.network.parts():
                    part.before_training(partial(self._windows, "train"), partial(self._windows, "val"))
                    if self.combination is None:
                        part.fit_combination(self._origins())
                if self.combination is not None:
                    take_combination(self.network, self.combination)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write down which layers started from another network."""
        checkpoint["start"] = None if self.start is None else self.start.to_json()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take over which layers started from another network."""
        if checkpoint.get("start"):
            self.start = Transfer.from_json(checkpoint["start"])

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Hold the statistics of frozen layers, whatever put the network into training mode."""
        self.freezing.hold_statistics()

    def _windows(self, period: str) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Return normalized windows of a period, the same on every rank."""
        references = evenly_spaced(self.data.references.get(period, []), MOST_WINDOWS[period])
        return self._normalized(references, self.preparation)

    def _origins(self) -> Iterator[tuple[Windows, Windows]]:
        """Return windows before and after rolling origins, the same on every rank."""
        for origin in rolling_origins(self.data):
            preparation = origin.preparation.to(self.device)
            before, after = (
                evenly_spaced(references, MOST_AT_ORIGIN) for references in (origin.before, origin.after)
            )
            yield (
                partial(self._normalized, before, preparation),
                partial(self._normalized, after, preparation),
            )

    def _normalized(
        self, references: Sequence[int], preparation: Preparation
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        windows = WindowDataset(self.data.series, self.data.spec, references)
        for start in range(0, len(windows), self.data.loading.batch_size):
            batch = windows.batch(range(start, min(start + self.data.loading.batch_size, len(windows))))
            batch = {name: value.to(self.device) for name, value in batch.items()}
            yield (preparation.inputs(batch), *preparation.targets(batch))

    def forecast(self, batch: Batch) -> Tensor:
        """Forecast in physical units, float32, (batch, c_out, leads, lat, lon); NaN in never valid cells."""
        return self.preparation.physical(self.whole(self.preparation.inputs(batch)), batch)

    @property
    def whole(self) -> Network:
        """The network on the whole grid; in tiles if crops are trained on and memory demands it."""
        if self.training or not self._trains_on_crops:
            return self.network
        if not self._tiled:  # in a list, so that it is no second home of the parameters
            self._tiled.append(Tiled(self.network, tiles=tiles_of(self.network)))
        return self._tiled[0]

    def _on_crop(self, batch: Batch) -> tuple[Tensor, Preparation]:
        """Return the members of the forecast on the kept cells of a crop, and their preparation."""
        rows, columns = batch["rows"], batch["columns"]
        row, n_rows, column, n_columns = batch["crop"].tolist()
        inputs = cropped(self.preparation, rows, columns).inputs(batch)
        with placed(self.network, rows, columns):
            members = self.network.members(inputs)
        kept = rows[row : row + n_rows], columns[column : column + n_columns]
        members = members.narrow(-2, row, n_rows).narrow(-1, column, n_columns)
        return members, cropped(self.preparation, *kept)

    def _members(self, batch: Batch) -> tuple[Tensor, Preparation]:
        """Return the members of the normalized forecast, and the preparation of its cells."""
        if "crop" in batch:
            return self._on_crop(batch)
        return self.whole.members(self.preparation.inputs(batch)), self.preparation

    def _compared(
        self, batch: Batch, members: Tensor, preparation: Preparation
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return prediction, target and weight as the loss takes them."""
        target, weight = preparation.targets(batch)
        prediction = members.mean(0)
        if isinstance(self.loss, DistributionLoss):
            prediction = preparation.members_in_bounds(members, batch) if self.loss.within_bounds else members
        if self._loss_units == "physical":
            prediction = preparation.physical(prediction, batch).nan_to_num()
            target = batch["targets"].nan_to_num()
        return prediction, target, weight

    def loss_of(self, batch: Batch) -> Tensor:
        """Compute the loss of a batch."""
        assert self.loss is not None
        loss: Tensor = self.loss(*self._compared(batch, *self._members(batch)))
        return loss

    def on_validation_epoch_start(self) -> None:
        """Let the network fit its weights of combination, and start the sums of errors."""
        if self.trainer.state.fn == TrainerFn.FITTING:
            with self.freezing.kept(), whole_weights(self.network):
                for part in self.network.parts():
                    part.after_epoch(partial(self._windows, "val"))
        self._begin(Assessment(self.data, self.preparation))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add the loss and errors of a validation batch."""
        self._assess(batch)

    def on_validation_epoch_end(self) -> None:
        """Log RMSE per lead and skill against the baselines."""
        assessment = self._gathered()
        metrics = score_metrics(assessment.sums, "val")
        if assessment.events is not None:
            metrics |= event_metrics(assessment.events.to_dataset(), "val")
        if self.loss is not None:
            self.log("val_loss", assessment.loss.mean, prog_bar=True)  # the same on all ranks, as all below
        self.log("val_rmse", metrics.pop("val_rmse"), prog_bar=True)
        self.log_dict(metrics)

    def on_test_epoch_start(self) -> None:
        """Check for leaks, calibrate bands if there are none, and start the scores."""
        check_causality(self.forecast, self.data, self.device)
        if self.bands is None:
            self.calibrate()
            self.bands = self.trainer.strategy.broadcast(self.bands)
        self._begin(Assessment(self.data, self.preparation, self._scoring, self.bands))

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Score a test batch and the references on the same windows; return the forecast."""
        return {"forecast": self._assess(batch)}

    def calibrate(self) -> None:
        """Calibrate the bands on the validation period; the probability of an event has none."""
        if self.data.event is None:
            self.bands = calibrate(self.whole, self.preparation, self.data)

    def on_test_epoch_end(self) -> None:
        """Log the scores and keep them in `verification`."""
        assessment = self._gathered()
        result = assessment.verification(self.network.display_name)
        metrics = score_metrics(result.sums, "test", detailed=True)
        if self.loss is not None:
            metrics["test_loss"] = assessment.loss.mean
        if "event" in result.diagnostics:
            metrics |= event_metrics(result.diagnostics["event"], "test")
        elif "calibration" in result.diagnostics:
            metrics |= calibration_metrics(result.diagnostics["calibration"], "test")
        self.log_dict(metrics)
        self.verification = result
        widening = assessment.widening()
        if self.bands is not None and widening is not None:
            self.bands = replace(self.bands, widening=widening)

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Return the forecast in physical units, and the reference index of each window."""
        return {"reference_index": batch["reference_index"], "forecast": self.forecast(batch)}

    def _begin(self, assessment: Assessment) -> None:
        assessment.loss = PooledMean(exponent_of(self.loss))
        self._assessment = assessment

    def _assess(self, batch: Batch) -> Tensor:
        """Score a batch, and return its forecast in physical units."""
        members, preparation = self._members(batch)
        assert self._assessment is not None
        if self.loss is not None:
            prediction, target, weight = self._compared(batch, members, preparation)
            counts = batch_weight(self.loss, target, weight, preparation.score_weight)
            self._assessment.loss.add(float(self.loss(prediction, target, weight)), float(counts))
        return self._assessment.add(batch, members)

    def _gathered(self) -> Assessment:
        """Return the result of all ranks."""
        assert self._assessment is not None
        if self.trainer.world_size > 1:
            parts: list[Any] = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(parts, self._assessment.scores)
            self._assessment.take(parts)
        return self._assessment


class WeightAveraging(EMAWeightAveraging):
    """Validate, test and export an exponential moving average of the weights instead of the newest ones.

    average <- decay * average + (1 - decay) * weights, after every optimizer step

    Args:
        decay: Weight of the old average at each step, in [0, 1).

    Source:
        Tarvainen and Valpola (2017), arXiv 1703.01780, the teacher's weights.
    """

    def __init__(self, decay: float = 0.995) -> None:
        if not 0 <= decay < 1:
            raise ConfigError(f"decay of WeightAveraging is {decay}; expected at least 0 and below 1.")
        super().__init__(decay=decay, use_buffers=False)
        self.decay = decay
        self._swapped = False

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Copy the task once it has its preparation: Lightning sets callbacks up before the task."""
        if isinstance(trainer.strategy, Sharded):
            return  # until the weights are spread
        pl_module.setup(stage)
        with warnings.catch_warnings():  # spread weights are averaged by `AveragedShards`, see above
            warnings.filterwarnings("ignore", ".*doesn't support sharding", UserWarning)
            super().setup(trainer, pl_module, stage)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Copy the part of the weights that lies in this process, if the strategy has spread them."""
        if isinstance(trainer.strategy, Sharded):
            self._average_model: Any = AveragedShards(pl_module, self.decay)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Write the averages as the weights, and the newest weights next to them; whole ones in both."""
        if not isinstance(self._average_model, AveragedShards):
            super().on_save_checkpoint(trainer, pl_module, checkpoint)
            return
        checkpoint["current_model_state"] = _copied(checkpoint["state_dict"])
        self._swap_models(pl_module)
        checkpoint["state_dict"] = _copied(trainer.strategy.lightning_module_state_dict())
        self._swap_models(pl_module)
        checkpoint["averaging_state"] = {"n_averaged": torch.tensor(self._average_model.n_averaged)}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take averages and newest weights over; the former are in the task already."""
        if not isinstance(self._average_model, AveragedShards):
            super().on_load_checkpoint(trainer, pl_module, checkpoint)
            return
        state = checkpoint.get("averaging_state", {"n_averaged": 0})
        self._average_model.take(pl_module, int(state["n_averaged"]))
        if "current_model_state" in checkpoint:
            scatter(checkpoint["current_model_state"], pl_module)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Put the newest weights back if a validation is broken off, so that a checkpoint holds both."""
        if self._swapped:
            self._swap_models(pl_module)

    def _swap_models(self, pl_module: pl.LightningModule) -> None:
        reshard(pl_module)
        super()._swap_models(pl_module)
        self._swapped = not self._swapped

    def _copy_average_to_current(self, pl_module: pl.LightningModule) -> None:
        reshard(pl_module)
        super()._copy_average_to_current(pl_module)


def _copied(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors, since those that are not spread are the tensors of the task itself."""
    return {name: weight.clone() for name, weight in weights.items()}


def combination_of(network: Network) -> list[dict[str, Tensor]]:
    """Return the weights of combination of a network and of all networks inside it, by name."""
    return [
        {name: weight for name in part.combination if (weight := getattr(part, name)) is not None}
        for part in network.parts()
    ]


@torch.no_grad()
def take_combination(network: Network, weights: Sequence[dict[str, Tensor]]) -> None:
    """Take weights of combination over, from `combination_of` a network of the same form."""
    for part, ours in zip(network.parts(), weights, strict=True):
        for name, weight in ours.items():
            getattr(part, name).copy_(weight)


def check_fit(network: Network, data: GridDataModule) -> None:
    """Check the sizes of a network against those of the data.

    Raises:
        ShapeError: Channels, frames or leads differ.
        ConfigError: The network needs anomalies, and the data are not anomalies.
    """
    for size in ("c_in", "c_out", "t_in", "leads"):
        ours, theirs = getattr(network, size), getattr(data, size)
        if ours != theirs:
            raise ShapeError(
                f"The network has {size} {ours}, the data have {theirs}. Set both alike; on the command "
                "line the network takes it from the data by itself."
            )
    starting = [type(part).__name__ for part in network.parts() if part.needs_history]
    if starting and not data.preparation.targets_are_inputs:
        raise ConfigError(
            f"{starting[0]} starts from the targets' newest frame, and the targets are not among the "
            "inputs. Add them to `data.preparation.inputs`, or choose a network without it."
        )
    if network.anomalies_only and data.preparation.settings.scaling != "anomaly":
        raise ConfigError(
            f"{type(network).__name__} forecasts an anomaly of zero and needs data that are anomalies. "
            "Set `data.preparation.scaling` to `anomaly`."
        )
    _check_event(network, data)
    _check_grid(network, data)


def _check_event(network: Network, data: GridDataModule) -> None:
    parts = list(network.parts())
    events = any(part.forecasts_event for part in parts)
    if events != (data.event is not None) or (len(parts) > 1 and events):
        found = f"the network is {type(network).__name__}, and data.event is " + (
            "not set" if data.event is None else f"'{data.event.name}'"
        )
        raise ConfigError(
            "An event is forecast by an event network (LeNet5, AlexNet, VGG16, ResNet18) without a "
            f"wrapper, and fields by any other; {found}. Set `data.event`, or choose another network."
        )


def _check_grid(network: Network, data: GridDataModule) -> None:
    found = tuple(data.series.values.shape[-2:])
    for part in network.parts():
        if part.grid not in (None, found):
            rows, columns = part.grid
            raise ShapeError(
                f"{type(part).__name__} was built for a grid of {rows} x {columns} cells, the data have "
                f"{found[0]} x {found[1]}. Set its `grid` to [{found[0]}, {found[1]}]."
            )
