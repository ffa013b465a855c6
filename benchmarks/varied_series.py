"""Series of different kinds to try a recipe on: `python -m benchmarks.varied_series` lists them.

Real ones are read from the folder STCONV_SHARED_DATA. Made ones are drawn from a fixed seed: fields with
known structure (waves, showers, counts, drifting and shifting levels, gaps), none of which the recipe was
tuned to.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr

DAY = np.timedelta64(1, "D")


def shared(*parts: str) -> Path:
    """A file of the folder of real data."""
    return Path(os.environ["STCONV_SHARED_DATA"], *parts)


def air() -> xr.Dataset:
    """Six-hourly air temperature over North America, two years."""
    return xr.open_dataset(shared("benchmark", "ncep_air_temperature.zarr"), engine="zarr")[["air"]]


def clouded_air() -> xr.Dataset:
    """The same under made clouds: more than half of the values missing, and a seventh of the cells always."""
    ds, rng = air(), np.random.default_rng(10)
    n, rows, columns = ds["air"].shape
    sky = advected(rng, n, rows, columns, memory=0.8, wind=(0.2, 0.8), length=4)
    return ds.where((sky > 0) & (rng.random((rows, columns)) > 1 / 7))


def trips() -> xr.Dataset:
    """Hourly trips in New York, started and ended, six months."""
    return xr.open_dataset(shared("benchmark", "bikenyc.nc"))


def sea_surface() -> xr.Dataset:
    """Monthly sea surface temperature of the tropical Pacific, ten years."""
    whole = xr.open_dataset(shared("benchmark", "ersst_v5_2010_2020.nc"))[["sst"]]
    return whole.sel(lat=slice(30, -30), lon=slice(120, 290))


def one_month() -> xr.Dataset:
    """Hourly temperature over the United Kingdom, one month, every third cell."""
    ds = xr.open_dataset(shared("benchmark", "era5_t2m_uk_2019_03.grib"), engine="cfgrib", indexpath="")
    return ds[["t2m"]].isel(latitude=slice(None, None, 2), longitude=slice(None, None, 2))


def radar() -> xr.Dataset:
    """Radar rain every ten minutes, one day, means of 16 x 16 cells."""
    files = sorted(shared("benchmark", "bom_rain_2020_10_31").glob("*.nc"))
    ds = xr.concat([_rain_of(file) for file in files], "time")
    return ds.coarsen(y=16, x=16).mean()


def _rain_of(file: Path) -> xr.Dataset:
    with xr.open_dataset(file, engine="h5netcdf") as ds:
        rain = ds["precipitation"].load().clip(min=0)
        return rain.to_dataset(name="rain").expand_dims(time=[ds["valid_time"].values])


def warming() -> xr.Dataset:
    """Yearly temperature of a climate model over North America, 1860 to 2099."""
    return xr.open_dataset(shared("formats", "A1B_north_america.nc"))[["air_temperature"]]


def daily_highest() -> xr.Dataset:
    """Daily highest temperature of a climate model, one year."""
    return xr.open_dataset(shared("formats", "tasmax_day_CanESM2_noleap.nc"))[["tasmax"]]


def daily_highest_360() -> xr.Dataset:
    """Daily highest temperature of another climate model, one year of 360 days."""
    return xr.open_dataset(shared("formats", "tasmax_day_HadGEM2-CC_360_day.nc"))[["tasmax"]]


def waves() -> xr.Dataset:
    """Pressure: two travelling waves, a tide and noise; 3-hourly, ten months."""
    rng, (t, y, x) = np.random.default_rng(1), np.ogrid[:2400, :18, :24]
    phase = np.cumsum(rng.normal(0, 0.05, (2, 2400, 1, 1)), 1)
    low = 300 * np.sin(0.13 * t - 0.5 * x + 0.1 * y + phase[0])
    fast = 120 * np.sin(0.31 * t - 0.8 * x - 0.4 * y + phase[1])
    values = 101_000 + low + fast + 60 * np.cos(2 * np.pi * t / 4) + rng.normal(0, 50, (2400, 18, 24))
    return _dataset({"pressure": (values, "Pa")}, regular_times("2021-01-01", 2400, 3 / 24))


def drifting_eddies() -> xr.Dataset:
    """Sea temperature: eddies that drift west, a season; daily, land, an eighth of the days missing."""
    n, rng = 1500, np.random.default_rng(2)
    season = 4 * np.cos(2 * np.pi * np.arange(n) / 365.25)[:, None, None]
    values = 15 + season + advected(rng, n, 18, 26, memory=0.97, wind=(0.0, -0.4), noise=0.1)
    values[:, 4:9, 3:10] = np.nan
    ds = _dataset({"sst": (values, "degC")}, regular_times("2018-01-01", n, 1))
    return ds.isel(time=np.sort(rng.permutation(n)[: n * 7 // 8]))


def counts() -> xr.Dataset:
    """Pickups: Poisson counts around a demand with hours and weeks; hourly, most of them zero."""
    n, rng = 2600, np.random.default_rng(3)
    hour = np.arange(n)
    weekend = 1 - 0.4 * ((hour // 24) % 7 >= 5)
    demand = 0.4 * (1 + np.sin(2 * np.pi * (hour - 8) / 24)) * weekend
    place = np.exp(rng.normal(-0.5, 0.8, (14, 12)))
    drift = np.exp(0.3 * advected(rng, n, 14, 12, memory=0.98, wind=(0.0, 0.0)))
    return _dataset(
        {"pickups": (rng.poisson(demand[:, None, None] * place * drift), "1")},
        regular_times("2022-01-03", n, 1 / 24), geographic=False,
    )  # fmt: skip


def showers() -> xr.Dataset:
    """Rain: moving showers; half-hourly, a month, most values zero, frames missing."""
    n, rng = 1440, np.random.default_rng(4)
    latent = advected(rng, n, 20, 24, memory=0.93, wind=(0.3, 0.8))
    values = 2.5 * np.maximum(0, latent - 1.1) ** 1.3
    ds = _dataset({"rain": (values, "mm h-1")}, regular_times("2022-06-01", n, 1 / 48))
    return ds.isel(time=np.sort(rng.permutation(n)[: n - 60]))


def rain_beside_temperature() -> xr.Dataset:
    """Daily rain and temperature: winters only, much of the rain missing; fifteen winters."""
    rng, winters = np.random.default_rng(5), []
    never = rng.random((16, 22)) < 0.25
    for winter in range(15):
        n = 151
        wet, mild = rng.normal(0, 0.35), rng.normal(0, 1.0)
        latent = advected(rng, n, 16, 22, memory=0.55, wind=(0.1, 0.9), length=5) + wet
        rain = 6 * np.maximum(0, latent - 0.5) ** 1.6
        rain[rng.random(rain.shape) < 0.2] = np.nan
        rain[:, never] = np.nan
        day = np.arange(n)[:, None, None]
        cold = advected(rng, n, 16, 22, memory=0.8, wind=(0.1, 0.6), length=5)
        temperature = 281 + mild - 4 * np.sin(np.pi * day / n) + 2.5 * cold + 0.8 * latent
        winters.append(
            _dataset(
                {"rain": (rain, "mm day-1"), "temperature": (temperature, "K")},
                regular_times(f"{2000 + winter}-11-01", n, 1),
            )
        )
    return xr.concat(winters, "time")


def rising_sea() -> xr.Dataset:
    """Sea level: eddies, a season and a rising trend; monthly, land."""
    n, rng = 420, np.random.default_rng(6)
    month = np.arange(n)[:, None, None]
    values = 0.1 * advected(rng, n, 18, 26, memory=0.8, wind=(0.0, -0.5))
    values += 0.06 * np.cos(2 * np.pi * month / 12) + 0.0028 * month + 0.01 * rng.normal(size=values.shape)
    values[:, 10:14, 12:20] = np.nan
    months = np.datetime64("1990-01", "M") + np.arange(n)
    return _dataset({"sla": (values, "m")}, months.astype("datetime64[ns]"))


def noise_around_a_year() -> xr.Dataset:
    """Temperature without memory around a yearly cycle: nothing beats the climatology."""
    n, rng = 2000, np.random.default_rng(7)
    season = 9 * np.cos(2 * np.pi * np.arange(n) / 365.25)[:, None, None]
    return _dataset(
        {"t": (285 + season + 3 * rng.normal(size=(n, 14, 18)), "K")}, regular_times("2015-01-01", n, 1)
    )


def random_walk() -> xr.Dataset:
    """A level that wanders, with independent steps in each cell: nothing beats persistence."""
    n, rng = 2000, np.random.default_rng(8)
    values = np.cumsum(rng.normal(size=(n, 14, 18)), 0)
    return _dataset({"level": (values, "m")}, regular_times("2015-01-01", n, 1))


def shifted_level() -> xr.Dataset:
    """Air quality: daily cycle and plumes whose level jumps several times, the last time after validation."""
    n, rng = 2400, np.random.default_rng(9)
    hour = np.arange(n)
    jumps = np.repeat([0.0, 4.0, -3.0, 2.0, 6.0], [700, 500, 500, 300, 400])
    values = 30 + jumps[:, None, None] + 3 * np.cos(2 * np.pi * hour / 24)[:, None, None]
    values = values + 3 * advected(rng, n, 14, 18, memory=0.9, wind=(0.5, 0.3), noise=0.3)
    return _dataset({"no2": (values, "ug m-3")}, regular_times("2022-01-01", n, 1 / 24))


def advected(
    rng: np.random.Generator,
    n: int,
    rows: int,
    columns: int,
    *,
    memory: float,
    wind: tuple[float, float],
    length: float = 3.0,
    noise: float = 0.0,
) -> np.ndarray:
    """Fields of variance 1 that move with the wind and lose memory: (time, row, column)."""
    ky, kx = np.meshgrid(
        2 * np.pi * np.fft.fftfreq(rows), 2 * np.pi * np.fft.rfftfreq(columns), indexing="ij"
    )
    amplitude = np.exp(-((ky**2 + kx**2) * length**2) / 4)
    shift = memory * np.exp(-1j * (ky * wind[0] + kx * wind[1]))
    state = amplitude * np.fft.rfft2(rng.normal(size=(rows, columns)))
    fields = np.empty((n, rows, columns))
    for i in range(n):
        fields[i] = np.fft.irfft2(state, (rows, columns))
        fresh = amplitude * np.fft.rfft2(rng.normal(size=(rows, columns)))
        state = shift * state + np.sqrt(1 - memory**2) * fresh
    return fields / fields.std() + noise * rng.normal(size=fields.shape)


def regular_times(start: str, n: int, step_days: float) -> np.ndarray:
    """Times from a start in equal steps of some days."""
    seconds = (np.arange(n) * round(step_days * 86_400)).astype("timedelta64[s]")
    return np.datetime64(start, "ns") + seconds


def _dataset(
    fields: dict[str, tuple[np.ndarray, str]], times: np.ndarray, *, geographic: bool = True
) -> xr.Dataset:
    rows, columns = next(iter(fields.values()))[0].shape[1:]
    dims = ("time", "lat", "lon") if geographic else ("time", "y", "x")
    coords = {"time": times}
    if geographic:
        coords |= {
            "lat": ("lat", 30.0 + np.arange(rows), {"units": "degrees_north"}),
            "lon": ("lon", 10.0 + np.arange(columns), {"units": "degrees_east"}),
        }
    return xr.Dataset(
        {name: (dims, values.astype("f4"), {"units": units}) for name, (values, units) in fields.items()},
        coords,
    )


SERIES: dict[str, Callable[[], xr.Dataset]] = {
    make.__name__: make
    for make in (
        air, clouded_air, trips, sea_surface, one_month, radar, warming, daily_highest, daily_highest_360,
        waves, drifting_eddies, counts, showers, rain_beside_temperature, rising_sea,
        noise_around_a_year, random_walk, shifted_level,
    )
}  # fmt: skip


def part(ds: xr.Dataset, share: int) -> xr.Dataset:
    """The newest third or ninth of a series, or all of it: what a shorter record of the same thing would
    hold."""
    return ds.isel(time=slice(ds.sizes["time"] - ds.sizes["time"] // share, None)).drop_encoding()


if __name__ == "__main__":
    for name, make in SERIES.items():
        print(f"{name}: {make.__doc__}")
