"""Input channels besides the variables: static fields, day and year, sun, climatology at the leads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from stconv.errors import ConfigError

if TYPE_CHECKING:
    from stconv.datasets.preparation.harmonics import Term
    from stconv.datasets.series.store import Series


def static_channels(
    series: Series,
    names: Sequence[str],
    ever_valid: np.ndarray,
    files: Sequence[str] = (),
    climate: Sequence[np.ndarray] = (),
) -> Tensor:
    """Compute static fields in the given order, then those from files, standardized, 0 where missing.

    Args:
        series: Series with the grid.
        names: Static fields to compute, see `settings.StaticField`.
        ever_valid: Cells where the first target had a value in training, bool, (lat, lon).
        files: Names of static fields in `series.static`.
        climate: Fields of `climate_fields`, for the static field "climate".

    Returns:
        float32, (channel, lat, lon), of order 1.

    Raises:
        ConfigError: A field needs a geographic grid.
    """
    n_lat, n_lon = ever_valid.shape
    rows, columns = np.meshgrid(np.linspace(-1, 1, n_lat), np.linspace(-1, 1, n_lon), indexing="ij")
    lat, lon = np.meshgrid(np.deg2rad(series.lat), np.deg2rad(series.lon), indexing="ij")
    known = {
        "latitude": [np.sin(lat)],
        "longitude": [np.cos(lon), np.sin(lon)],
        "position": [rows, columns],
        "valid": [ever_valid],
        "climate": [_standardized(field) for field in climate],
    }
    for name in names:
        if name in ("latitude", "longitude") and not series.geographic:
            raise ConfigError(
                f"static field '{name}' needs a geographic grid; this one has y and x. Use 'position'."
            )
    fields = [field for name in names for field in known[name]]
    fields += [_standardized(series.static[name].astype(np.float64)) for name in files]
    return torch.from_numpy(np.array(fields, dtype=np.float32).reshape(-1, n_lat, n_lon))


def climate_fields(terms: Sequence[Term], coefficients: np.ndarray, spread: np.ndarray) -> list[np.ndarray]:
    """Statistics of each cell in the training period: mean, amplitudes of year and day, spread.

    An amplitude is the square root of half the sum of squared coefficients of this cycle alone, which is the
    standard deviation of that part of the climatology.

    Args:
        terms: Terms of the climatology, see `harmonics.Term`.
        coefficients: Their coefficients, (term, channel, lat, lon); NaN in cells without a value.
        spread: Standard deviation of the scaled quantity about its center, (channel, lat, lon).

    Returns:
        Four fields for each channel, (lat, lon) each.
    """
    cycles = [[bool(k) for k in term[:-1]] for term in terms]

    def amplitude(cycle: int) -> np.ndarray:
        alone = [i for i, has in enumerate(cycles) if has[cycle] and sum(has) == 1]
        return np.sqrt(0.5 * np.square(coefficients[alone]).sum(0)) + 0 * coefficients[0]  # NaN stays

    parts = (coefficients[0], amplitude(1), amplitude(0), spread)
    return [part[channel] for channel in range(coefficients.shape[1]) for part in parts]


def _standardized(field: np.ndarray) -> np.ndarray:
    """Standardize over the cells with a value; 0 elsewhere and in a constant field."""
    valid = np.isfinite(field)
    if not valid.any():
        return np.zeros_like(field)
    spread = float(field[valid].std())
    return np.nan_to_num((field - field[valid].mean()) / (spread if spread > 0 else 1.0))


def time_channels(cycles: Tensor, weekly_cycle: bool = False, whole_year: bool = True) -> Tensor:
    """Sine of day, year (and week), then cosine: (batch, time, 3) to (batch, 4 or 6, time).

    Without a whole year of training the year is constant, since a network could not interpret the unseen
    season of the test period.
    """
    angles = 2 * math.pi * cycles[..., : 3 if weekly_cycle else 2]
    if not whole_year:
        angles = angles * angles.new_tensor([1, 0, 1][: angles.shape[-1]])
    return torch.cat([angles.sin(), angles.cos()], dim=-1).transpose(1, 2)


def climatology_channels(climatology: Tensor, t_in: int) -> Tensor:
    """Climatology at the leads, (batch, channel, leads, lat, lon), as channels of t_in frames.

    The newest frame holds the last lead, earlier frames hold earlier leads. With more leads than frames only
    the last leads are used; remaining frames are 0.
    """
    shown = climatology[:, :, -t_in:]
    return F.pad(shown, (0, 0, 0, 0, t_in - shown.shape[2], 0))


def sun_axes(series: Series, wanted: bool) -> Tensor:
    """Latitudes, then longitudes, in radians, float32, (lat + lon,); empty if not requested.

    Raises:
        ConfigError: The grid is not geographic.
    """
    if not wanted:
        return torch.zeros(0)
    if not series.geographic:
        raise ConfigError("solar_zenith needs a geographic grid; this one has y and x. Leave it out.")
    return torch.from_numpy(np.deg2rad(np.concatenate([series.lat, series.lon]))).float()


def cos_zenith(cycles: Tensor, lat: Tensor, lon: Tensor) -> Tensor:
    """Cosine of the solar zenith angle, negative at night.

    cos(zenith) = sin(lat) sin(d) + cos(lat) cos(d) cos(h), with the declination d and the equation of time
    in the hour angle h from the Fourier series of Spencer (1971), Search 2, 172, in the fraction of the year
    (0.0006 rad and 0.0025 rad at most from the exact ones). Times are UTC.

    Args:
        cycles: Fractions of day, year and week, (batch, time, 3).
        lat: Radians north, (lat,).
        lon: Radians east, (lon,).

    Returns:
        float32, (batch, time, lat, lon).
    """
    day, year = (2 * math.pi * cycles[..., k, None, None] for k in (0, 1))
    declination = (
        0.006918
        - 0.399912 * torch.cos(year)
        + 0.070257 * torch.sin(year)
        - 0.006758 * torch.cos(2 * year)
        + 0.000907 * torch.sin(2 * year)
        - 0.002697 * torch.cos(3 * year)
        + 0.001480 * torch.sin(3 * year)
    )
    equation_of_time = (
        0.000075
        + 0.001868 * torch.cos(year)
        - 0.032077 * torch.sin(year)
        - 0.014615 * torch.cos(2 * year)
        - 0.040849 * torch.sin(2 * year)
    )
    hour_angle = day - math.pi + lon + equation_of_time
    upright = torch.sin(lat)[:, None] * torch.sin(declination)
    return upright + torch.cos(lat)[:, None] * torch.cos(declination) * torch.cos(hour_angle)
