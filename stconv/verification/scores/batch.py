"""Sums over the cells of one batch of windows, for several contenders on the very same cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from stconv.contenders import CLIMATOLOGY, MODEL
from stconv.errors import ConfigError, MissingValuesError, ShapeError
from stconv.verification.scores.circular import difference

Field: TypeAlias = Tensor | np.ndarray
Sums: TypeAlias = dict[str, np.ndarray]
"""By statistic: float64, (window, variable, lead, weighting); PER_CONTENDER have contender after window."""

WEIGHTINGS = ("area", "cells")
"""``area``: a cell counts by its area (cosine of latitude); ``cells``: all count equally, as in papers."""

PER_CONTENDER = ("squared_error", "absolute_error", "error", "anomaly_product", "anomaly_square")
COMMON = ("weight", "left_out", "truth_square")
"""``left_out``: cells with known truth that were not scored because a reference or a forecast is missing."""


def sum_cells(
    truth: Field,
    forecasts: Mapping[str, Field],
    cell_weight: Field | None,
    forecastable: Field | None = None,
    circular: Sequence[bool] = (),
) -> Sums:
    """Sum errors, squared errors and products of anomalies over the cells that every contender can forecast.

    Args:
        truth: Observed fields, float, (batch, channel, leads, lat, lon), physical units; NaN is not scored.
        forecasts: Fields by contender, shaped like the truth. The judged one ("model", else the first) has to
            be finite wherever a forecast is possible. Another may be NaN (persistence of a missing frame):
            that cell is left out for all. Anomalies are departures from "climatology", if it is there.
        cell_weight: Weight of each cell, (lat, lon), or None: 1.
        forecastable: Cells with a possible forecast, bool, (channel, lat, lon) or (lat, lon). None: where the
            judged forecast is finite at some lead of some window of the batch.
        circular: Whether a channel holds directions in degrees, whose errors are smallest angles and whose
            anomalies are not correlated; empty if none does.

    Returns:
        The sums, float64.

    Raises:
        ShapeError: A forecast is not shaped like the truth.
        ConfigError: There is no forecast.
        MissingValuesError: The judged forecast is not finite where truth is known and a forecast possible.
    """
    truth = _tensor(truth)
    fields = {name: _tensor(forecast) for name, forecast in forecasts.items()}
    if not fields:
        raise ConfigError("There is no forecast to score; name at least one contender.")
    for name, field in fields.items():
        if field.shape != truth.shape:
            raise ShapeError(f"Forecast '{name}' is {tuple(field.shape)}, the truth is {tuple(truth.shape)}.")
    scored = _scored_cells(truth, fields, forecastable)
    turning = torch.tensor(circular or [False] * truth.shape[1], device=truth.device)
    if cell_weight is None:
        weight = torch.ones(truth.shape[-2:], dtype=truth.dtype, device=truth.device)
    else:
        weight = _tensor(cell_weight).to(truth)

    zero = truth.new_zeros(())
    sums = {
        "weight": _pool(scored.to(truth.dtype), weight),
        "left_out": _pool((torch.isfinite(truth) & ~scored).to(truth.dtype), weight),
    }
    unknown = np.full_like(sums["weight"], np.nan)
    anomaly = None
    if CLIMATOLOGY in fields:
        anomaly = torch.where(scored, truth - fields[CLIMATOLOGY], zero)
        anomaly[:, turning] = torch.nan
    sums["truth_square"] = unknown if anomaly is None else _pool(anomaly * anomaly, weight)
    columns: dict[str, list[np.ndarray]] = {name: [] for name in PER_CONTENDER}
    for field in fields.values():
        error = torch.where(scored, difference(field, truth, turning), zero)
        columns["squared_error"].append(_pool(error * error, weight))
        columns["absolute_error"].append(_pool(error.abs(), weight))
        columns["error"].append(_pool(error, weight))
        if anomaly is None:
            columns["anomaly_product"].append(unknown)
            columns["anomaly_square"].append(unknown)
        else:
            forecast_anomaly = torch.where(scored, field - fields[CLIMATOLOGY], zero)
            forecast_anomaly[:, turning] = torch.nan
            columns["anomaly_product"].append(_pool(forecast_anomaly * anomaly, weight))
            columns["anomaly_square"].append(_pool(forecast_anomaly * forecast_anomaly, weight))
    return sums | {name: np.stack(column, axis=1) for name, column in columns.items()}


def judged(contenders: tuple[str, ...]) -> str:
    """The judged contender: "model", or else the first."""
    return MODEL if MODEL in contenders else contenders[0]


def _scored_cells(truth: Tensor, fields: dict[str, Tensor], forecastable: Field | None) -> Tensor:
    model = fields[judged(tuple(fields))]
    scored = torch.isfinite(truth)
    if forecastable is not None:
        possible = torch.as_tensor(forecastable).to(truth.device).bool()
    else:
        possible = torch.isfinite(model).any(dim=2).any(dim=0)
        if not possible.any():  # the training diverged; this is not a grid without any cell
            possible = torch.ones_like(possible)
    scored = scored & (possible[:, None] if possible.ndim == 3 else possible)
    missing = scored & ~torch.isfinite(model)
    if missing.any():
        window, channel, lead, row, column = (int(i) for i in missing.nonzero()[0])
        raise MissingValuesError(
            f"The forecast is NaN or infinite at {int(missing.sum())} of {int(scored.sum())} cells to be "
            f"scored, first in window {window} of the batch, channel {channel}, lead {lead + 1}, cell "
            f"[{row}, {column}]. A forecast has to be finite wherever one is possible: the training may "
            "have diverged."
        )
    for field in fields.values():
        scored = scored & torch.isfinite(field)
    return scored


def _tensor(field: Field) -> Tensor:
    tensor = torch.as_tensor(field).detach()
    if tensor.device.type == "mps":  # has no float64 to sum in
        tensor = tensor.cpu()
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def _pool(values: Tensor, weight: Tensor) -> np.ndarray:
    """Sums over cells, float64, (batch, channel, leads, weighting)."""
    area = (values * weight).sum(dim=(-2, -1), dtype=torch.float64)
    cells = values.sum(dim=(-2, -1), dtype=torch.float64)
    return torch.stack([area, cells], dim=-1).cpu().numpy()
