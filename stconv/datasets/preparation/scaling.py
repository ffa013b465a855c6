"""Center and scale of each channel, fitted on the training period in float64."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stconv.datasets.preparation.settings import Scaling, Transform
from stconv.errors import DataError, MissingValuesError

SMALLEST_CELL_SCALE = 0.1
"""Least scale of a cell as a fraction of its channel's, so that nearly constant cells are not amplified."""


@dataclass(frozen=True)
class ChannelScaling:
    """Affine normalization of one channel, after its transform.

    normalized = (transform(x) - center) / scale, or, for anomalies,
    normalized = (transform(x) - transform(climatology) - center) / scale

    Attributes:
        center: float64, (lat, lon) or (1, 1).
        scale: float64, positive, of the same shape.
        fill: Normalized value for missing values: the mean of the training period.
    """

    center: np.ndarray
    scale: np.ndarray
    fill: float


class CellMoments:
    """Count, sum, sum of squares, minimum and maximum of each channel and cell, block by block.

    Args:
        shift: Value near the mean of each channel, which keeps the squares precise; (channel,).
        shape: Rows and columns.
    """

    def __init__(self, shift: np.ndarray, shape: tuple[int, int]) -> None:
        size = (len(shift), *shape)
        self.shift = np.asarray(shift, dtype=np.float64)[:, None, None]
        self.count = np.zeros(size, dtype=np.int64)
        self.total, self.squares = np.zeros(size), np.zeros(size)
        self.low, self.high = np.full(size, np.inf), np.full(size, -np.inf)

    def add(self, values: np.ndarray) -> None:
        """Add values, float64, (time, channel, lat, lon), NaN missing."""
        self.count += np.isfinite(values).sum(axis=0)
        self.low = np.fmin(self.low, np.fmin.reduce(values, axis=0))
        self.high = np.fmax(self.high, np.fmax.reduce(values, axis=0))
        departure = np.nan_to_num(values - self.shift)
        self.total += departure.sum(axis=0)
        self.squares += np.square(departure).sum(axis=0)

    def deviation(self) -> np.ndarray:
        """Standard deviation of each channel and cell, NaN without a value; (channel, lat, lon)."""
        spread = _deviation(np.maximum(self.count, 1), self.total, self.squares)
        return np.where(self.count > 0, spread, np.nan)


def fit_channel(moments: CellMoments, channel: int, scaling: Scaling, per_cell: bool) -> ChannelScaling:
    """Compute the scaling of one channel; missing values are ignored, and a constant channel has scale 1.

    Args:
        moments: Moments of the transformed values, or of the departures from the climatology.
        channel: Index of the channel.
        scaling: "zscore" and "anomaly": mean and standard deviation; "minmax": to [0, 1]; "none": as it is.
        per_cell: Whether each cell has its own center and scale, instead of one per channel.

    Returns:
        Center, scale and fill value.
    """
    count, total = moments.count[channel], moments.total[channel]
    shift = float(moments.shift[channel, 0, 0])
    mean = shift + float(total.sum() / count.sum())
    if scaling == "none":
        return ChannelScaling(np.zeros((1, 1)), np.ones((1, 1)), mean)
    by_range = scaling == "minmax"
    center, spread, centers, spreads = (_by_range if by_range else _by_deviation)(moments, channel, mean)
    scale = spread if spread > 1e-7 * abs(mean) else 1.0
    if not per_cell:
        return ChannelScaling(np.full((1, 1), center), np.full((1, 1), scale), (mean - center) / scale)
    dry = count == 0
    centers = np.where(dry, mean, centers)
    scales = np.where(dry, scale, np.maximum(np.where(dry, 0.0, spreads), SMALLEST_CELL_SCALE * scale))
    fill = float(((total + count * (shift - centers)) / scales).sum() / count.sum()) if by_range else 0.0
    return ChannelScaling(centers, scales, fill)


Spread = tuple[float, float, np.ndarray, np.ndarray]
"""Center and spread of a channel, then of each of its cells, which have no meaning without a value."""


def _by_range(moments: CellMoments, channel: int, mean: float) -> Spread:
    """Take the smallest value as the center, and the range as the spread."""
    low, high = moments.low[channel], moments.high[channel]
    return float(low.min()), float(high.max() - low.min()), low, high - low


def _by_deviation(moments: CellMoments, channel: int, mean: float) -> Spread:
    """Take the mean as the center, and the standard deviation as the spread."""
    count, total, squares = moments.count[channel], moments.total[channel], moments.squares[channel]
    safe = np.maximum(count, 1)
    centers = float(moments.shift[channel, 0, 0]) + total / safe
    spread = float(_deviation(count.sum(), total.sum(), squares.sum()))
    return mean, spread, centers, _deviation(safe, total, squares)


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
    transforms: Mapping[str, Transform], variables: tuple[str, ...], lowest: np.ndarray
) -> None:
    """Refuse transforms of negative values.

    Args:
        transforms: Transform by variable name.
        variables: Names of the channels.
        lowest: Lowest value of each channel in the training period.

    Raises:
        DataError: The training period has negative values.
    """
    for variable, name in transforms.items():
        found = float(lowest[variables.index(variable)])
        if name != "identity" and found < 0:
            raise DataError(
                f"transform {name} of '{variable}' expects values of 0 or more; the training period has "
                f"{found:g}. Declare its valid_range in the grid, or remove the transform."
            )


def check_missing(values: np.ndarray, count: np.ndarray, variables: tuple[str, ...], impute: str) -> None:
    """Refuse values that cannot be imputed or, with impute "none", any missing value.

    Args:
        values: Training period, (time, channel, lat, lon).
        count: Valid values of each channel.
        variables: Names of the channels.
        impute: Imputation of missing inputs.

    Raises:
        MissingValuesError: A channel has no valid value, or a value is missing with impute "none".
    """
    n = values[:, 0].size
    for channel, variable in enumerate(variables):
        if count[channel] == 0:
            raise MissingValuesError(
                f"variable '{variable}' has no valid value in the training period ({len(values)} steps). "
                "Choose another variable or period, or correct its valid_range."
            )
        if impute == "none" and count[channel] < n:
            step = next(i for i, frame in enumerate(values[:, channel]) if not np.isfinite(frame).all())
            row, column = (int(i) for i in np.argwhere(~np.isfinite(values[step, channel]))[0])
            raise MissingValuesError(
                f"variable '{variable}' has {1 - count[channel] / n:.2%} missing values in the training "
                f"period, the first at step {step}, row {row}, column {column}; impute 'none' expects no "
                "missing value. Set impute to mean, climatology or persistence."
            )


def _deviation(count: Any, total: Any, squares: Any) -> Any:
    """Standard deviation from sums about any shift."""
    return np.sqrt(np.maximum(squares / count - np.square(total / count), 0.0))
