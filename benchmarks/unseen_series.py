"""Made series of the kinds that users bring, to try the starter on.

`python -m benchmarks.unseen_series FOLDER` writes them. For each series NAME the folder gets NAME.nc, the
first four fifths, from which an experiment is made, and NAME_whole.nc with what came later, for a refit to be
compared. No choice of the recipe was made with them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr
from scipy.stats import gamma, norm

from benchmarks.varied_series import advected, regular_times

KNOWN = 0.8
"""Share of the steps in NAME.nc."""


def moving(
    rng: np.random.Generator, n: int, rows: int, columns: int, memory: float, wind: tuple[float, float],
    length: float,
) -> np.ndarray:  # fmt: skip
    """A part of fields twice as long and wide, so that what leaves it does not enter on the other side."""
    fields = advected(rng, n, 2 * rows, 2 * columns, memory=memory, wind=wind, length=length)
    return fields[:, :rows, :columns]


def pressure_lows() -> xr.Dataset:
    """Hourly surface pressure, five months: lows that travel east, a tide that follows the sun, a hill."""
    rng, n = np.random.default_rng(101), 4400
    lat, lon = 60 - 1.5 * np.arange(24), -30 + 1.5 * np.arange(36)
    lows = moving(rng, n, 24, 36, 0.993, (0.03, 0.35), 5)
    small = moving(rng, n, 24, 36, 0.97, (-0.05, 0.6), 2.5)
    t = np.arange(n)[:, None, None]
    tide = np.cos(2 * np.pi * t / 12 + 2 * np.deg2rad(lon)[None, None] - 0.6)
    tide = 110 * np.cos(np.deg2rad(lat))[None, :, None] ** 3 * tide
    hill = -4000 * np.exp(-((lat[:, None] - 45) ** 2 + (lon[None] - 10) ** 2) / 30)
    values = 101_900 + hill - 900 * np.log1p(np.exp(1.2 * lows)) - 120 * small + tide
    values += 300 * np.cos(2 * np.pi * t / 8766) + 15 * rng.normal(size=lows.shape)
    return _dataset(
        {"sp": (values, "Pa", "surface pressure")}, regular_times("2019-10-01", n, 1 / 24), lat, lon
    )


def city_pickups() -> xr.Dataset:
    """Half-hourly pickups on 15 x 15 cells, 100 days: a hot center, commuters, weekends, night life."""
    rng, n = np.random.default_rng(102), 4800
    t = np.arange(n)
    hour, day = t % 48 / 2, t // 48 % 7
    y, x = np.mgrid[:15, :15]
    center = np.exp(-((y - 7) ** 2 + (x - 6) ** 2) / 12)
    bars = np.exp(-((y - 9) ** 2 + (x - 9) ** 2) / 5)
    outside = 0.06 * np.exp(-((y - 7) ** 2 + (x - 7) ** 2) / 60)

    def around(peak: float, width: float) -> np.ndarray:
        return np.exp(-(((hour - peak + 12) % 24 - 12) ** 2) / (2 * width**2))

    work = around(8.5, 1.3) + 0.5 * around(13, 3) + 1.1 * around(18, 2)
    commute = np.where(day >= 5, 0.4 * around(13, 4), work) + 0.03
    party = np.where((day == 4) | (day == 5), 1.6, 0.5) * around(23.5, 2)
    level = np.exp(np.cumsum(rng.normal(0, 0.004, n)))
    level /= level.mean()
    local = np.exp(0.25 * advected(rng, n, 15, 15, memory=0.95, wind=(0, 0), length=2))
    places = ((commute, 60 * center), (party, 40 * bars), (commute + 0.3 * party, 20 * outside))
    demand = sum(share[:, None, None] * place for share, place in places)
    demand = demand * level[:, None, None] * local
    values = rng.poisson(demand * rng.gamma(20, 1 / 20, demand.shape))
    return _dataset({"pickups": (values, "1", "taxi pickups")}, regular_times("2023-01-02", n, 1 / 48))


def rain_gamma() -> xr.Dataset:
    """Daily rain, gamma-distributed, wetter in winter, 40 % missing, beside temperature; eleven years."""
    rng, n = np.random.default_rng(103), 4015
    lat, lon = 36 + 0.5 * np.arange(16), -9 + 0.5 * np.arange(22)
    season = np.cos(2 * np.pi * (np.arange(n)[:, None, None] - 15) / 365.25)
    weather = moving(rng, n, 16, 22, 0.6, (0.2, 1.2), 4)
    wet = 0.35 * season + 0.2 * moving(rng, n, 16, 22, 0.99, (0, 0), 8)
    rank = norm.cdf((weather + 0.4 * rng.normal(size=weather.shape)) / np.sqrt(1.16))
    chance = np.clip(0.3 + 0.18 * season + 0.05 * wet, 0.03, 0.9)
    amount = np.clip((rank - (1 - chance)) / chance, 0, 1 - 1e-6)
    rain = gamma.ppf(amount, 0.7, scale=7) * (amount > 0)
    missing = (rng.random(rain.shape) < 0.25) | (rng.random((16, 22)) < 0.2)
    rain = np.where(missing, np.nan, rain)
    temperature = 288 - 8 * season + 3 * moving(rng, n, 16, 22, 0.8, (0.1, 0.8), 5) - 1.2 * (rain > 0)
    fields = {
        "pr": (rain, "mm day-1", "precipitation"),
        "tas": (temperature, "K", "air temperature"),
    }
    return _dataset(fields, regular_times("2008-01-01", n, 1), lat, lon)


def enso_sst() -> xr.Dataset:
    """Monthly sea surface temperature, 47 years: an oscillation of four years, eddies, warming, land."""
    rng, n = np.random.default_rng(104), 560
    lat, lon = -28 + 2.0 * np.arange(28), 140 + 3.0 * np.arange(46)
    month, index = np.arange(n), np.zeros(n)
    for i in range(2, n):
        before = 2 * 0.975 * np.cos(2 * np.pi / 46) * index[i - 1] - 0.975**2 * index[i - 2]
        index[i] = before + rng.normal(0, 0.1)
    index = (index / index.std())[:, None, None] * (1 + 0.2 * np.cos(2 * np.pi * month / 12))[:, None, None]
    y, x = np.meshgrid(lat, lon, indexing="ij")
    pattern = 1.2 * np.exp(-((y / 8) ** 2) - ((x - 235) / 40) ** 2)
    pattern -= 0.35 * np.exp(-(((y - 15) / 10) ** 2) - ((x - 160) / 20) ** 2)
    mean = 28 - 0.012 * y**2 - 1.5 * (x > 220) * np.exp(-((y / 6) ** 2))
    season = 4.4 * np.sin(np.deg2rad(y)) * np.sin(2 * np.pi * (month[:, None, None] - 4) / 12)
    eddies = 0.35 * moving(rng, n, 28, 46, 0.85, (0, -0.4), 4)
    values = mean + season + index * pattern + eddies + 0.0015 * month[:, None, None]
    values += 0.05 * rng.normal(size=values.shape)
    values[:, 8:18, :5] = values[:, 20:, 38:] = np.nan
    months = (np.datetime64("1975-01", "M") + month).astype("datetime64[ns]")
    return _dataset({"sst": (values, "degC", "sea surface temperature")}, months, lat, lon)


def pm25() -> xr.Dataset:
    """Hourly fine particles, eleven months: plumes around a level that wanders, gaps in places and times."""
    rng, n = np.random.default_rng(105), 7920
    lat, lon = 30 + 0.25 * np.arange(16), 110 + 0.25 * np.arange(20)
    t, level = np.arange(n)[:, None, None], np.zeros(n)
    plumes = moving(rng, n, 16, 20, 0.985, (0.1, 0.25), 4)
    for i in range(1, n):
        level[i] = 0.992 * level[i - 1] + rng.normal(0, np.sqrt(1 - 0.992**2))
    logarithm = 3.5 + 0.35 * np.cos(2 * np.pi * t / 8766) + 0.2 * np.cos(2 * np.pi * (t - 7) / 24)
    logarithm = logarithm + 0.1 * np.cos(2 * np.pi * (t - 20) / 12) + 0.45 * plumes
    logarithm += 0.5 * level[:, None, None] + 0.12 * rng.normal(size=plumes.shape)
    values = np.exp(logarithm)
    values[rng.random(values.shape) < 0.06] = np.nan
    for _ in range(14):
        first = rng.integers(n - 80)
        values[first : first + rng.integers(3, 60), rng.integers(16) :, : rng.integers(1, 20)] = np.nan
    lost = np.zeros(n, bool)
    for _ in range(12):
        first = rng.integers(n - 60)
        lost[first : first + rng.integers(1, 30)] = True
    ds = _dataset({"pm25": (values, "ug m-3", "PM2.5")}, regular_times("2021-01-01", n, 1 / 24), lat, lon)
    return ds.isel(time=~lost)


def hourly_temperature() -> xr.Dataset:
    """Hourly temperature, eight months: fronts, clouds that dim the day, mountains."""
    rng, n = np.random.default_rng(106), 5760
    lat, lon = 44 + 0.5 * np.arange(20), 2 + 0.5 * np.arange(26)
    t = np.arange(n)[:, None, None]
    cloud = 1 / (1 + np.exp(-1.5 * moving(rng, n, 20, 26, 0.95, (0.05, 0.5), 3)))
    front = moving(rng, n, 20, 26, 0.992, (-0.03, 0.3), 5)
    year = np.sin(2 * np.pi * (t - 480) / 8766)
    sun = np.maximum(0, np.cos(2 * np.pi * ((t + lon[None, None] / 15) % 24 - 13) / 24))
    warm = np.zeros(front.shape)
    for i in range(1, n):
        warm[i] = 0.85 * warm[i - 1] + 0.15 * (3 + 3 * year[i]) * 4 * sun[i] * (1.2 - cloud[i])
    mountains = -4 * np.exp(-((lat[:, None] - 46) ** 2 + (lon[None] - 9) ** 2) / 4)
    values = 280 + 9 * year + warm + 3.5 * front + mountains + 0.2 * rng.normal(size=front.shape)
    return _dataset(
        {"t2m": (values, "K", "2 metre temperature")}, regular_times("2020-02-01", n, 1 / 24), lat, lon
    )


def _dataset(
    fields: dict[str, tuple[np.ndarray, str, str]],
    time: np.ndarray,
    lat: np.ndarray | None = None,
    lon: np.ndarray | None = None,
) -> xr.Dataset:
    dims = ("time", "y", "x") if lat is None else ("time", "lat", "lon")
    coords: dict[str, object] = {"time": time}
    if lat is not None:
        coords |= {
            "lat": ("lat", lat, {"units": "degrees_north"}),
            "lon": ("lon", lon, {"units": "degrees_east"}),
        }
    return xr.Dataset(
        {
            name: (dims, values.astype("f4"), {"units": units, "long_name": meaning})
            for name, (values, units, meaning) in fields.items()
        },
        coords,
    )


SERIES: dict[str, Callable[[], xr.Dataset]] = {
    make.__name__: make
    for make in (pressure_lows, city_pickups, rain_gamma, enso_sst, pm25, hourly_temperature)
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.unseen_series", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the files are written")
    parser.add_argument("--only", nargs="*", choices=list(SERIES), default=list(SERIES), help="some of them")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.only:
        whole = SERIES[name]()
        whole.to_netcdf(arguments.folder / f"{name}_whole.nc")
        whole.isel(time=slice(round(KNOWN * whole.sizes["time"]))).to_netcdf(arguments.folder / f"{name}.nc")
        print(f"{name}: {SERIES[name].__doc__}")


if __name__ == "__main__":
    main()
