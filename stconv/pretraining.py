"""Unsupervised training of a network's filters: a part of each window is masked and reconstructed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from stconv.datasets.summary import DataSummary
from stconv.errors import ConfigError
from stconv.losses import DistributionLoss
from stconv.losses.pooling import batch_weight, exponent_of
from stconv.models import describe
from stconv.models.reconstruction import Reconstruction, reconstruction_of
from stconv.nn.masking import Masking
from stconv.nn.memory import recompute
from stconv.task import ForecastTask
from stconv.training import Batch, TrainingTask
from stconv.verification.scores.pooled import PooledMean

N_SUMS = 5
"""Sums over the validation period: of the weighted loss, of its weights, of squared errors of the
reconstruction, of those of the substitutes, and of weights."""


class MaskedFrames(TrainingTask):
    """Mask a part of each window, and train a network to reconstruct it; targets are not needed.

    loss = sum over masked cells of w e(network(fill(x)), x) / sum over masked cells of w

    where x are the normalized input variables of the window, e is the error of the experiment's loss (the
    square for `MaskedMSE`), and w is the area of the cell, 0 where the file has no value. A masked cell is
    treated as a missing one: `impute` substitutes its value, and the mask channel, if there is one, says so.
    Cells that are not masked, that are missing, or that never hold a value do not count. Static fields and
    time features stay visible.

    The network is that of the experiment without wrappers, with the frames of the window in place of the
    leads, see `stconv.models.reconstruction`; its output layers are dropped in the end.

    Args:
        task: Task of the experiment; its network, loss, optimizer and schedule are used.
        n_variables: Number of input variables.
        masking: The part of each window that is masked.

    Raises:
        ConfigError: The network or the loss cannot be trained this way.

    Source:
        He et al. (2022), arXiv 2111.06377, section 3: mean squared error over the masked patches alone. Xie
        et al. (2022), arXiv 2111.09886, section 3.2: masked cells stay in the input with a substitute. Unlike
        both, the substitute is that of a missing value instead of a dropped or learned token, the network is
        convolutional and its own last layers reconstruct, targets are normalized by the training period
        instead of by patch, cells count by their area, and whole frames are masked by default.
    """

    def __init__(self, task: ForecastTask, n_variables: int, masking: Masking) -> None:
        if task.loss is None or isinstance(task.loss, DistributionLoss):
            found = "there is none" if task.loss is None else f"{type(task.loss).__name__} compares members"
            raise ConfigError(
                f"Pretraining needs a loss of fields; {found}. Set `model.loss` to stconv.losses.MaskedMSE."
            )
        made = reconstruction_of(task.network, n_variables)
        recompute(made.network, task.recompute_activations)
        super().__init__(made.network, task.loss, task.optimization)
        self.reconstruction: Reconstruction = made
        self.masking = masking
        self._sums = torch.zeros(N_SUMS, dtype=torch.float64)

    def origin(self, data: DataSummary) -> dict[str, Any]:
        """Describe where the weights come from, as JSON types."""
        masking = asdict(self.masking)
        return {"network": describe(self.network), "masking": masking, "data": data.to_json()}

    def setup(self, stage: str) -> None:
        """Take the preparation of the data module, and check that a window can be masked."""
        super().setup(stage)
        self.masking.units(self.network.t_in, *self.data.series.values.shape[-2:])

    def reconstruct(self, batch: Batch, mask: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Reconstruct the masked part of a batch.

        Args:
            batch: As from `WindowDataset`; its targets are not read.
            mask: True where a window is masked, bool, (batch, time, lat, lon).

        Returns:
            Reconstruction, truth (0 where it does not count), weight (0 there too), and the substitutes that
            the network saw, all normalized, (batch, variable, time, lat, lon).
        """
        masked = mask[:, None]
        x = self.preparation.inputs({**batch, "inputs": batch["inputs"].masked_fill(masked, math.nan)})
        truth, weight = self.preparation.visible_targets(
            batch["inputs"].masked_fill(~masked, math.nan), batch["input_cycles"]
        )
        return self.network(x), truth, weight, x[:, : truth.shape[1]]

    def loss_of(self, batch: Batch) -> Tensor:
        """Compute the loss over the masked cells of a batch."""
        prediction, truth, weight, _ = self.reconstruct(
            batch, self._masks(batch, [None] * len(batch["inputs"]))
        )
        assert self.loss is not None
        loss: Tensor = self.loss(prediction, truth, weight)
        return loss

    def _masks(self, batch: Batch, generators: Sequence[torch.Generator | None]) -> Tensor:
        t_in, n_lat, n_lon = batch["inputs"].shape[2:]
        masks = [self.masking.draw(t_in, n_lat, n_lon, generator) for generator in generators]
        return torch.stack(masks).to(self.device)

    def on_validation_epoch_start(self) -> None:
        """Start the sums of errors."""
        self._sums = torch.zeros(N_SUMS, dtype=torch.float64, device=self.device)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add the errors of a validation batch; each window has the same mask in every epoch."""
        seeded = [torch.Generator().manual_seed(int(index)) for index in batch["reference_index"]]
        prediction, truth, weight, substitute = self.reconstruct(batch, self._masks(batch, seeded))
        assert self.loss is not None
        counts = batch_weight(self.loss, truth, weight, self.preparation.score_weight)
        sums = [
            self.loss(prediction, truth, weight) ** exponent_of(self.loss) * counts,
            counts,
            (weight * (prediction - truth).square()).sum(),
            (weight * (substitute - truth).square()).sum(),
            weight.sum(),
        ]
        self._sums += torch.stack([value.double() for value in sums])

    def on_validation_epoch_end(self) -> None:
        """Log the loss and the RMSE of the masked cells, normalized, and the skill over the substitutes."""
        sums: Tensor = self.trainer.strategy.reduce(self._sums, reduce_op="sum")
        loss, counts, error, of_substitute, weight = sums.tolist()
        if weight == 0:
            raise ConfigError(
                "No masked cell of the validation period has a value, so the pretraining cannot be judged. "
                "Choose another split, or set data.window.max_missing."
            )
        loss = PooledMean(exponent_of(self.loss), loss, counts).mean
        self.log("val_loss", loss, prog_bar=True)  # the same on all ranks, as all below
        self.log("val_rmse", math.sqrt(error / weight), prog_bar=True)
        if of_substitute > 0:
            self.log("val_skill", 1 - math.sqrt(error / of_substitute))
