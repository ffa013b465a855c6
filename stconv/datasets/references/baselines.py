"""Persistence and climatology, for tests and for live verification."""

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
        preparation: Preparation of the model, with the climatology of the training period.
        batch: Batch with "inputs" (at least of the targets) and "target_cycles".

    Returns:
        Forecasts by name, (batch, target, leads, lat, lon), physical units; NaN where there is none.
    """
    return {
        PERSISTENCE: preparation.persistence(batch),
        CLIMATOLOGY: preparation.climatology(batch),
    }
