"""Persistence and climatology, as every test and the live verification have them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from stconv.contenders import CLIMATOLOGY, PERSISTENCE
from stconv.datasets.preparation.preparation import Preparation


@torch.no_grad()
def baseline_forecasts(preparation: Preparation, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Forecast a batch.

    Args:
        preparation: Of the model: its climatology is that of the training period.
        batch: With "inputs" (of the targets, at least) and "target_cycles".

    Returns:
        By name, (batch, target, leads, lat, lon), physical units; NaN where there is no forecast.
    """
    return {
        PERSISTENCE: preparation.persistence(batch),
        CLIMATOLOGY: preparation.climatology(batch),
    }
