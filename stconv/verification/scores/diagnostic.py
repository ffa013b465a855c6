"""The interface of diagnostics: scores of a test besides the pooled errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
import xarray as xr
from torch import Tensor


class Diagnostic(Protocol):
    """A score that is summed batch by batch and gives a Dataset for `Verification.diagnostics`."""

    def add(self, truth: Tensor, forecasts: Mapping[str, Tensor]) -> None:
        """Add a batch.

        Args:
            truth: (batch, channel, leads, lat, lon), physical units, NaN is missing.
            forecasts: By contender, shaped like the truth.
        """

    def to_dataset(self) -> xr.Dataset:
        """The scores."""


def common_cells(truth: Tensor, forecasts: Mapping[str, Tensor]) -> Tensor:
    """Where the truth and every forecast are known, bool, shaped like the truth."""
    known = torch.isfinite(truth)
    for forecast in forecasts.values():
        known = known & torch.isfinite(forecast)
    return known
