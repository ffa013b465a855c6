"""Center and scale of each channel, fitted on the training period in float64."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from stconv.errors import ConfigError, DataError, MissingValuesError

Scaling = Literal["zscore", "minmax", "none", "anomaly"]
Transform = Literal["identity", "log1p", "sqrt"]

SMALLEST_CELL_SCALE = 0.01
"""A cell's own scale is at least this share of its channel's: nearly constant cells are not blown up."""


@dataclass(frozen=True)
class ChannelScaling:
    """Affine map of one channel, after its transform (and minus its climatology, for anomalies).

    normalized = (transform(x) - center) / scale

    Attributes:
        center: float64, (lat, lon) or (1, 1).
        scale: float64, positive, of the same shape.
        fill: Normalized value of a missing one: the mean of the training period.
    """

    center: np.ndarray
    scale: np.ndarray
    fill: float


def fit_channel(values: np.ndarray, scaling: Scaling, per_cell: bool) -> ChannelScaling:
    """Fit one channel; missing values are left out, and a constant channel has scale 1.

    Args:
        values: Transformed values or departures from the climatology, float64, (time, lat, lon), NaN missing.
        scaling: "zscore" and "anomaly": mean and standard deviation; "minmax": to [0, 1]; "none": as it is.
        per_cell: Each cell with its own center and scale, else one per channel.

    Returns:
        Center, scale and fill value.
    """
    n_lat, n_lon = values.shape[1:]
    shape = (n_lat, n_lon) if per_cell else (1, 1)
    mean = float(np.nanmean(values))
    if scaling == "none":
        return ChannelScaling(np.zeros((1, 1)), np.ones((1, 1)), mean)
    center, spread = _center_and_spread(values.reshape(-1, 1, 1), scaling)
    scale = spread if float(spread[0, 0]) > 1e-7 * max(1.0, abs(mean)) else np.ones((1, 1))
    if per_cell:
        dry = ~np.isfinite(values).any(axis=0)
        cell_center, cell_spread = _center_and_spread(np.where(dry, mean, values), scaling)
        center = cell_center
        scale = np.where(dry, scale, np.maximum(cell_spread, SMALLEST_CELL_SCALE * scale))
    fill = float(np.mean((mean - center) / scale)) if scaling == "minmax" and not per_cell else 0.0
    if scaling == "minmax" and per_cell:
        fill = float(np.nanmean((values - center) / scale))
    return ChannelScaling(np.broadcast_to(center, shape), np.broadcast_to(scale, shape), fill)


def transform(values: Tensor, name: Transform) -> Tensor:
    """Apply a transform for skewed, non-negative quantities; negative values count as 0."""
    if name == "log1p":
        return torch.log1p(values.clamp(min=0.0))
    return values.clamp(min=0.0).sqrt() if name == "sqrt" else values


def inverse_transform(values: Tensor, name: Transform) -> Tensor:
    """Undo `transform`; the result is never negative."""
    if name == "log1p":
        return torch.expm1(values.clamp(min=0.0))
    return values.clamp(min=0.0).square() if name == "sqrt" else values


def check_transforms(
    transforms: Mapping[str, str], variables: tuple[str, ...], scaling: str, values: np.ndarray
) -> None:
    """Refuse transforms of unknown variables, of departures, or of negative values.

    Args:
        transforms: Transform by variable name.
        variables: Names of the channels.
        scaling: How the channels are scaled.
        values: Training period, (time, channel, lat, lon).

    Raises:
        ConfigError: Unknown variable or transform, or together with scaling "anomaly".
        DataError: The training period has negative values.
    """
    for variable, name in transforms.items():
        if variable not in variables:
            raise ConfigError(
                f"transforms names variable '{variable}'; the variables are: {', '.join(variables)}."
            )
        if name not in ("identity", "log1p", "sqrt"):
            raise ConfigError(
                f"transform '{name}' of '{variable}' is unknown; choose identity, log1p or sqrt."
            )
        if name == "identity":
            continue
        if scaling == "anomaly":
            raise ConfigError(
                f"transform {name} of '{variable}' goes with scaling zscore, minmax or none; scaling anomaly "
                "takes departures from the climatology, which are negative half of the time."
            )
        lowest = float(np.nanmin(values[:, variables.index(variable)]))
        if lowest < 0:
            raise DataError(
                f"transform {name} of '{variable}' expects values of 0 or more; the training period has "
                f"{lowest:g}. Declare its valid_range in the grid, or leave the transform out."
            )


def check_missing(values: np.ndarray, variables: tuple[str, ...], impute: str) -> None:
    """Refuse what can not be imputed, or, with impute "none", any missing value.

    Raises:
        MissingValuesError: A channel has no valid value; or a value is missing and none may be.
    """
    for channel, variable in enumerate(variables):
        missing = ~np.isfinite(values[:, channel])
        if missing.all():
            raise MissingValuesError(
                f"variable '{variable}' has no valid value in the training period ({len(values)} steps). "
                "Choose another variable or period, or correct its valid_range."
            )
        if impute == "none" and missing.any():
            step, row, column = (int(i) for i in np.argwhere(missing)[0])
            raise MissingValuesError(
                f"variable '{variable}' has {missing.mean():.2%} missing values in the training period, the "
                f"first at step {step}, row {row}, column {column}; impute 'none' expects none. "
                "Set impute to mean or climatology."
            )


def _center_and_spread(values: np.ndarray, scaling: Scaling) -> tuple[np.ndarray, np.ndarray]:
    if scaling == "minmax":
        low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
        return low, high - low
    return np.nanmean(values, axis=0), np.nanstd(values, axis=0)
