"""Small files in the form of each recipe's data: same names, grid, units, step and container, made values."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr
import yaml

from stconv.datasets.recipes.recipe import PIN
from stconv.resources import recipes_dir


def waves(n: int, rows: int, columns: int, mean: float, height: float) -> np.ndarray:
    """A wave that travels east, with noise: (time, row, column), float64."""
    t, y, x = np.ogrid[:n, :rows, :columns]
    field = np.sin(0.4 * t - 0.7 * x + 0.3 * y) + np.random.default_rng(0).normal(0, 0.3, (n, rows, columns))
    return mean + height * field


def _ncep(path: Path) -> None:
    n, lat, lon = 400, np.arange(75, 14, -2.5, "f4"), np.arange(200, 331, 2.5, "f4")
    values = waves(n, len(lat), len(lon), 295, 8)
    time = 1_867_128 + 6 * np.arange(n, dtype="f4")
    xr.Dataset(
        {"air": (("time", "lat", "lon"), values, {"units": "degK", "long_name": "4xDaily Air temperature"})},
        {
            "time": ("time", time, {"units": "hours since 1800-01-01", "calendar": "standard"}),
            "lat": ("lat", lat, {"units": "degrees_north", "axis": "Y"}),
            "lon": ("lon", lon, {"units": "degrees_east", "axis": "X"}),
        },
        {"Conventions": "COARDS"},
    ).to_zarr(path, zarr_format=2)


def _ersst(path: Path) -> None:
    n, lat, lon = 128, np.arange(88, -89, -2, "f4"), np.arange(0, 360, 2, "f4")
    values = waves(n, len(lat), len(lon), 15, 5)
    values = (values + 12.5 * np.cos(np.radians(lat))[:, None]).astype("f4")  # warm at the equator
    values[:, 20:36, 12:80] = np.nan  # land
    month = np.datetime64("2010-01", "M") + np.arange(n)
    time = (month.astype("datetime64[D]") - np.datetime64("1800-01-01")).astype(float)
    ds = xr.Dataset(
        {"sst": (("time", "lat", "lon"), values, {"units": "degC", "valid_range": np.float32([-1.8, 45])})},
        {
            "time": ("time", time, {"units": "days since 1800-01-01", "calendar": "proleptic_gregorian"}),
            "lat": ("lat", lat, {"units": "degrees_north", "standard_name": "latitude"}),
            "lon": ("lon", lon, {"units": "degrees_east", "standard_name": "longitude"}),
        },
    )
    ds.to_netcdf(path, encoding={"sst": {"_FillValue": np.float32(-9.96921e36)}})


def _era5(path: Path) -> None:
    """The fields as cfgrib gives them, in NetCDF: GRIB itself is held by test_real_files.py."""
    n, lat, lon = 300, np.arange(58, 49.9, -0.25), np.arange(-10, 2.1, 0.25)
    ds = xr.Dataset(
        {"t2m": (("time", "latitude", "longitude"), waves(n, len(lat), len(lon), 280, 6).astype("f4"))},
        {
            "time": np.datetime64("2019-03-01", "ns") + np.arange(n) * np.timedelta64(1, "h"),
            "latitude": ("latitude", lat, {"units": "degrees_north"}),
            "longitude": ("longitude", lon, {"units": "degrees_east"}),
            "number": 0,
            "surface": 0.0,
        },
    )
    ds["t2m"].attrs = {"units": "K", "long_name": "2 metre temperature"}
    ds.to_netcdf(path)


def _bikenyc(path: Path) -> None:
    n = 2112  # 88 days: the published test and validation periods, and four weeks for a weekly cycle
    flow = np.maximum(waves(2 * n, 16, 8, 20, 15), 0).round().reshape(n, 2, 16, 8)
    flow[:, :, 0, 0] = 0  # a cell that is never used
    days = np.datetime_as_string(np.datetime64("2014-04-01") + np.arange(n // 24), unit="D")
    date = [f"{day.replace('-', '')}{hour:02d}" for day in days for hour in range(1, 25)]
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["data"], file["date"] = flow, np.array(date, "S10")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("BikeNYC/NYC14_M16x8_T60_NewEnd.h5", buffer.getvalue())


def _bom(path: Path) -> None:
    """144 files of one step; no rain is sometimes -0.1, which nothing declares."""
    path.mkdir()
    n, side = 144, np.arange(24) - 11.5
    rain = np.maximum(waves(n, 24, 24, 0, 4), 0)
    rain[:, 0, 0] = -0.1
    start = np.datetime64("2020-10-30T14:00", "s").astype(int)
    for i in range(n):
        end = start + 600 * (i + 1)
        time = {"units": "seconds since 1970-01-01 00:00:00 UTC"}
        km = {"units": "km"}
        ds = xr.Dataset(
            {
                "valid_time": ((), end, time | {"standard_name": "time"}),
                "start_time": ((), end - 600, time),
                "precipitation": (("y", "x"), rain[i], {"units": "kg m-2", "grid_mapping": "proj"}),
                "proj": ((), np.int8(0), {"grid_mapping_name": "albers_conical_equal_area"}),
            },
            {
                "y": ("y", -side, km | {"standard_name": "projection_y_coordinate"}),
                "x": ("x", side, km | {"standard_name": "projection_x_coordinate"}),
            },
        )
        packed = {"dtype": "i2", "scale_factor": 0.05, "_FillValue": np.int16(-1000)}
        ds.to_netcdf(path / f"{i:03d}.nc", encoding={"precipitation": packed})


@dataclass(frozen=True)
class Made:
    """How one recipe's data is made, and where it lies below the mirror."""

    path: str
    write: Callable[[Path], None]


FORMS = {
    "ncep_air_temperature": Made("ncep_air_temperature.zarr", _ncep),
    "ersst_v5": Made("ersst.nc", _ersst),
    "era5_t2m_uk": Made("era5.nc", _era5),
    "bikenyc": Made("BikeNYC.zip", _bikenyc),
    "bom_rain": Made("bom_rain", _bom),
}


def made_recipe(name: str, folder: Path) -> Path:
    """The shipped recipe with made files: they lie below `folder`, which is to be the mirror.

    Args:
        name: Name of the shipped recipe.
        folder: Gets the files and the recipe, unless they are there.

    Returns:
        The recipe, a YAML file.
    """
    recipe = folder / f"{name}.yaml"
    if recipe.exists():
        return recipe
    made = FORMS[name]
    made.write(folder / made.path)
    content: dict[str, Any] = yaml.safe_load((recipes_dir() / f"{name}.yaml").read_text())
    [entry] = content["files"]
    entry |= {"url": f"https://made.invalid/{made.path}", "path": made.path}
    if "tree" in entry:
        below = folder / made.path
        names = sorted(str(file.relative_to(below)) for file in below.rglob("*") if file.is_file())
        entry["tree"] = dict.fromkeys(names, PIN)
    else:
        entry["sha256"] = PIN
    recipe.write_text(yaml.safe_dump(content))
    return recipe
