"""What a network sees besides the variables: static fields, and where day and year stand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from stconv.errors import ConfigError

if TYPE_CHECKING:
    from stconv.datasets.store import Series

StaticField = Literal["latitude", "longitude", "position", "valid"]

N_TIME_FEATURES = 4
STATIC_CHANNELS: dict[str, int] = {"latitude": 1, "longitude": 2, "position": 2, "valid": 1}
"""sin(lat); cos(lon) and sin(lon); row and column from -1 to 1; 1 where the first target was ever valid."""


def count_channels(
    n_inputs: int, mask_channel: bool = False, static_fields: Sequence[str] = (), time_features: bool = False
) -> int:
    """Channels a network sees: inputs, a mask per input, static fields, sines and cosines of day and year.

    Raises:
        ConfigError: A static field is unknown.
    """
    unknown = [name for name in static_fields if name not in STATIC_CHANNELS]
    if unknown:
        raise ConfigError(
            f"static field '{unknown[0]}' is unknown; choose among {', '.join(STATIC_CHANNELS)}."
        )
    static = sum(STATIC_CHANNELS[name] for name in static_fields)
    return n_inputs * (2 if mask_channel else 1) + static + (N_TIME_FEATURES if time_features else 0)


def static_channels(series: Series, names: Sequence[str], ever_valid: np.ndarray) -> Tensor:
    """Static fields by name, in the order named.

    Args:
        series: For its grid.
        names: Keys of `STATIC_CHANNELS`.
        ever_valid: Cells where the first target had a value in training, bool, (lat, lon).

    Returns:
        float32, (channel, lat, lon), of order 1.

    Raises:
        ConfigError: A field is unknown, or needs a geographic grid.
    """
    count_channels(0, static_fields=names)
    n_lat, n_lon = ever_valid.shape
    rows, columns = np.meshgrid(np.linspace(-1, 1, n_lat), np.linspace(-1, 1, n_lon), indexing="ij")
    lat, lon = np.meshgrid(np.deg2rad(series.lat), np.deg2rad(series.lon), indexing="ij")
    known = {
        "latitude": [np.sin(lat)],
        "longitude": [np.cos(lon), np.sin(lon)],
        "position": [rows, columns],
        "valid": [ever_valid],
    }
    for name in names:
        if name in ("latitude", "longitude") and not series.geographic:
            raise ConfigError(
                f"static field '{name}' needs a geographic grid; this one has y and x. Use 'position'."
            )
    fields = [field for name in names for field in known[name]]
    return torch.from_numpy(np.array(fields, dtype=np.float32).reshape(-1, n_lat, n_lon))


def time_channels(cycles: Tensor) -> Tensor:
    """Sine of day and year, then cosine of day and year: (batch, time, 2) to (batch, 4, time)."""
    angles = 2 * math.pi * cycles
    return torch.cat([angles.sin(), angles.cos()], dim=-1).transpose(1, 2)


def area_weight(series: Series) -> Tensor:
    """cos(latitude) on a geographic grid, else 1: float32, (lat, lon)."""
    n_lat, n_lon = series.values.shape[2:]
    weight = np.cos(np.deg2rad(series.lat)).clip(0) if series.geographic else np.ones(n_lat)
    return torch.from_numpy(np.repeat(weight[:, None], n_lon, axis=1)).float()
