"""A synthetic temperature field of known predictability: advection, diffusion, noise, day and year.

    T(t, y, x) = mean(y) + year(t, y) + day(t, x) + a(t, y, x) + observation noise

The anomaly a is a linear Markov process on a doubly periodic domain, exact in Fourier space: with wave
number k,

    a[t + 1](k) = g(k) a[t](k) + e(k),    g(k) = DAMPING * exp(-i k . WIND - DIFFUSIVITY k^2),

e being white noise in time of the spectrum that keeps the anomaly stationary with ANOMALY_STD. The best
possible forecast knows a[t] and the cycles; its mean squared error at lead l is

    OBSERVATION_STD^2 + sum over k of variance(k) * (1 - |g(k)|^(2 l)),

which `best_rmse` returns. No forecast from noisy frames, and none that pads the edges, reaches it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from stconv.errors import ConfigError

VARIABLE = "t2m"
START = "2021-01-01"
ANOMALY_STD = 4.0
"""Standard deviation of the anomaly, K."""
OBSERVATION_STD = 0.3
"""Standard deviation of the noise of an observation, K."""
WIND = (0.25, 0.9)
"""Northward and eastward displacement, cells per 6 hours."""
DIFFUSIVITY = 0.12
"""Cells squared per 6 hours."""
DAMPING = 0.97
"""Factor per 6 hours."""
CORRELATION_LENGTH = 3.5
"""Length of the Gaussian-like spectrum of the anomaly, cells."""
YEAR_AMPLITUDE = (5.0, 13.0)
"""Amplitude of the yearly cycle at the southern and at the northern edge, K."""
DAY_AMPLITUDE = 4.0
"""Amplitude of the daily cycle, K; its maximum is at 15 h local solar time."""
_REFERENCE_HOURS = 6


@dataclass(frozen=True)
class _Spectrum:
    """Propagator g and stationary variance per wave number of a real transform, each (lat, lon)."""

    propagator: np.ndarray
    variance: np.ndarray


def generate(
    path: str | Path,
    n_steps: int = 2000,
    n_lat: int = 32,
    n_lon: int = 32,
    step_hours: int = 6,
    seed: int = 0,
    unseen: str | Path | None = None,
    n_unseen: int = 40,
) -> Path:
    """Write a synthetic 2 m temperature, K, as a CF NetCDF 4 file.

    Args:
        path: File to write.
        n_steps: Number of steps, from 2021-01-01 00:00 on.
        n_lat: Rows, 1 degree apart, from 30 degrees north.
        n_lon: Columns, 1 degree apart, from 0 degrees east.
        step_hours: Hours between steps.
        seed: Seed of the anomaly and the noise.
        unseen: File for later steps of the same run, which are not in `path`.
        n_unseen: Number of those steps.

    Returns:
        `path`.

    Raises:
        ConfigError: A size is below 1.
    """
    sizes = {
        "n_steps": n_steps,
        "n_lat": n_lat,
        "n_lon": n_lon,
        "step_hours": step_hours,
        "n_unseen": n_unseen,
    }
    for name, size in sizes.items():
        if size < 1:
            raise ConfigError(f"{name} is {size}; expected 1 or more.")
    n_later = 0 if unseen is None else n_unseen
    ds = _dataset(n_steps + n_later, n_lat, n_lon, step_hours, seed)
    _write(ds.isel(time=slice(0, n_steps)), Path(path))
    if unseen is not None:
        _write(ds.isel(time=slice(n_steps, None)), Path(unseen))
    return Path(path)


def best_rmse(leads: int, n_lat: int = 32, n_lon: int = 32, step_hours: int = 6) -> np.ndarray:
    """Root mean squared error of the best possible forecast, which knows the true state, K, (leads,)."""
    spectrum = _spectrum(n_lat, n_lon, step_hours)
    weight = _multiplicity(n_lat, n_lon) * spectrum.variance
    memory = np.abs(spectrum.propagator) ** 2
    lost = np.array([np.sum(weight * (1 - memory**lead)) for lead in range(1, leads + 1)])
    return np.sqrt(OBSERVATION_STD**2 + lost)


def climatology_rmse() -> float:
    """Root mean squared error of the true climatology as a forecast, K."""
    return float(np.hypot(ANOMALY_STD, OBSERVATION_STD))


def _dataset(n_steps: int, n_lat: int, n_lon: int, step_hours: int, seed: int) -> xr.Dataset:
    lat, lon = 30.0 + np.arange(n_lat), np.arange(float(n_lon))
    hours = np.arange(n_steps) * step_hours
    time = np.datetime64(START, "ns") + hours.astype("timedelta64[h]")
    generator = np.random.default_rng(seed)
    field = _anomaly(n_steps, n_lat, n_lon, step_hours, generator)
    field += OBSERVATION_STD * generator.standard_normal(field.shape, dtype=np.float32)
    north = np.linspace(0.0, 1.0, n_lat)
    mean = 293.0 - 12.0 * north
    amplitude = YEAR_AMPLITUDE[0] + (YEAR_AMPLITUDE[1] - YEAR_AMPLITUDE[0]) * north
    day_of_year = hours / 24.0
    year = -np.cos(2 * np.pi * (day_of_year - 20.0) / 365.2425)
    local_hour = (hours[:, None] + lon / 15.0) % 24.0
    day = DAY_AMPLITUDE * np.cos(2 * np.pi * (local_hour - 15.0) / 24.0)
    field += (mean + year[:, None] * amplitude).astype(np.float32)[:, :, None]
    field += day.astype(np.float32)[:, None, :]
    temperature = {
        "standard_name": "air_temperature",
        "long_name": "2 metre temperature",
        "units": "K",
    }
    return xr.Dataset(
        {VARIABLE: (("time", "lat", "lon"), field, temperature)},
        coords={
            "time": ("time", time, {"standard_name": "time", "axis": "T"}),
            "lat": ("lat", lat, {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"}),
            "lon": ("lon", lon, {"standard_name": "longitude", "units": "degrees_east", "axis": "X"}),
        },
        attrs={
            "Conventions": "CF-1.11",
            "title": "Made 2 m temperature: advected and diffused anomalies, daily and yearly cycle, noise",
            "source": f"stconv.datasets.recipes.synthetic, seed {seed}",
            "best_possible_rmse_k": best_rmse(5, n_lat, n_lon, step_hours),
        },
    )


def _anomaly(
    n_steps: int, n_lat: int, n_lon: int, step_hours: int, generator: np.random.Generator
) -> np.ndarray:
    """Simulate the stationary anomaly: float32, (time, lat, lon)."""
    spectrum = _spectrum(n_lat, n_lon, step_hours)
    spread = np.sqrt(spectrum.variance)
    forcing = spread * np.sqrt(1 - np.abs(spectrum.propagator) ** 2)
    field = np.empty((n_steps, n_lat, n_lon), dtype=np.float32)
    state = spread * _white(n_lat, n_lon, generator)
    for step in range(n_steps):
        field[step] = np.fft.irfft2(state, s=(n_lat, n_lon))
        state = spectrum.propagator * state + forcing * _white(n_lat, n_lon, generator)
    return field


def _white(n_lat: int, n_lon: int, generator: np.random.Generator) -> np.ndarray:
    """Transform of white noise, scaled so that each wave number adds `variance` to the field."""
    return np.asarray(np.fft.rfft2(generator.standard_normal((n_lat, n_lon))) * np.sqrt(n_lat * n_lon))


def _spectrum(n_lat: int, n_lon: int, step_hours: int) -> _Spectrum:
    k_lat = 2 * np.pi * np.fft.fftfreq(n_lat)[:, None]
    k_lon = 2 * np.pi * np.fft.rfftfreq(n_lon)[None, :]
    square = k_lat**2 + k_lon**2
    steps = step_hours / _REFERENCE_HOURS
    phase = (k_lat * WIND[0] + k_lon * WIND[1]) * steps
    # A displacement by a fraction of a cell has no real form at the highest wave number of an even size.
    edge = (np.isclose(np.abs(k_lat), np.pi)) | (np.isclose(k_lon, np.pi))
    phase = np.where(edge, 0.0, phase)
    propagator = DAMPING**steps * np.exp(-1j * phase - DIFFUSIVITY * steps * square)
    shape = np.exp(-0.5 * square * CORRELATION_LENGTH**2)
    variance = ANOMALY_STD**2 * shape / np.sum(_multiplicity(n_lat, n_lon) * shape)
    return _Spectrum(propagator, variance)


def _multiplicity(n_lat: int, n_lon: int) -> np.ndarray:
    """Multiplicity of the wave numbers of a real transform: 2, and 1 in the first and highest column."""
    count = np.full(n_lon // 2 + 1, 2.0)
    count[0] = 1.0
    if n_lon % 2 == 0:
        count[-1] = 1.0
    return np.broadcast_to(count, (n_lat, n_lon // 2 + 1))


def _write(ds: xr.Dataset, path: Path) -> None:
    encoding: dict[str, dict[str, Any]] = {
        VARIABLE: {"zlib": False, "_FillValue": np.float32(np.nan)},
        "time": {"units": f"hours since {START} 00:00:00", "calendar": "standard", "dtype": "int32"},
        "lat": {"_FillValue": None},
        "lon": {"_FillValue": None},
    }
    ds.to_netcdf(path, engine="netcdf4", format="NETCDF4", encoding=encoding)
