"""Published layouts that are not series of fields, recognized by their contents and converted to series."""

from __future__ import annotations

import re

import numpy as np
import xarray as xr

from stconv.datasets.source.counted_times import counted_times
from stconv.datasets.source.forecast_steps import at_valid_times
from stconv.datasets.source.grid_spec import GridSpec
from stconv.datasets.source.step_text import step_length
from stconv.errors import FileError, TimeAxisError

WINDOW_DIMS = ("sample", "time", "lat", "lon", "channel")
_STAMP = re.compile(rb"\d{10}")


def unfold(ds: xr.Dataset, spec: GridSpec, source: str) -> xr.Dataset:
    """Convert a known layout to a series; anything else is unchanged.

    The known layouts are ready-made windows (STConvS2S: `x` and `y` with dimensions sample, time, lat, lon,
    channel), flows per slot of a day (ST-ResNet: `data`, (slot, flow, row, column), and `date`, slots 01 to
    24), and successive forecasts (ERA5-Land in GRIB: reference time by step).

    Raises:
        FileError: The source resembles a known layout, but its parts contradict each other.
        TimeAxisError: The layout has no times, and the specification gives none.
    """
    if "x" in ds.data_vars and ds["x"].dims == WINDOW_DIMS:
        return _from_windows(ds, spec, source)
    if {"data", "date"} <= set(ds.data_vars) and ds["data"].ndim == 4 and ds["date"].dtype.kind in "SUO":
        return _from_flows(ds, source)
    return at_valid_times(ds, spec, source)


def _from_windows(ds: xr.Dataset, spec: GridSpec, source: str) -> xr.Dataset:
    """The first step of each input window, then the remaining steps of the last windows, lazily."""
    x, y = ds["x"], ds.get("y")
    if y is not None and (y.dims != WINDOW_DIMS or y.shape[0] != x.shape[0] or y.shape[2:4] != x.shape[2:4]):
        raise FileError(f"{source}: windows `x` {x.shape} and `y` {y.shape} do not fit each other.")
    if x.shape[0] > 1:
        overlap = x[0, 1:].values, x[1, :-1].values
        if not np.array_equal(*overlap, equal_nan=True):
            raise FileError(
                f"{source}: expected windows one step apart, but steps 2 to {x.shape[1]} of the first "
                f"window are not steps 1 to {x.shape[1] - 1} of the second. The windows cannot be put in "
                "order."
            )
    parts = [x.isel(time=0).rename(sample="time"), x.isel(sample=-1, time=slice(1, None))]
    if y is not None:
        n_channels = y.sizes["channel"]
        if n_channels == x.sizes["channel"]:
            parts.append(y.isel(sample=-1))
    bare = [part.drop_vars(["time", "sample"], errors="ignore") for part in parts]
    series = xr.concat(bare, "time", coords="minimal", compat="override", join="override")
    times = _times(series.sizes["time"], spec, source)
    channels = series.sizes["channel"]
    names = ["x"] if channels == 1 else [f"x{k}" for k in range(channels)]
    fields = {name: series.isel(channel=k, drop=True) for k, name in enumerate(names)}
    return xr.Dataset(fields, attrs=ds.attrs).assign_coords(time=("time", times)).assign_coords(_axes(ds))


def _axes(ds: xr.Dataset) -> dict[str, xr.Variable]:
    return {dim: ds[dim].variable for dim in ("lat", "lon") if dim in ds.variables}


def _times(n: int, spec: GridSpec, source: str) -> np.ndarray:
    if spec.start is None or step_length(spec.step) is None:
        raise TimeAxisError(
            f"{source}: ready-made windows have no times. State `start`, such as 1979-01-01, and `step`, "
            f"such as 6h, 1d or 10min, in the grid specification; found start {spec.start!r}, step "
            f"{spec.step!r}."
        )
    return counted_times(n, spec, source, "the series of ready-made windows")


def _from_flows(ds: xr.Dataset, source: str) -> xr.Dataset:
    """Slots are YYYYMMDDHH with hours 01 to 24, 01 being midnight; flows of bikes: new, end."""
    stamps = [
        bytes(value) if isinstance(value, bytes) else str(value).encode() for value in ds["date"].values
    ]
    wrong = next(
        (i for i, s in enumerate(stamps) if not _STAMP.fullmatch(s) or not 1 <= int(s[8:]) <= 24), None
    )
    if wrong is not None:
        raise FileError(
            f"{source}: expected slots of a day as YYYYMMDDHH with hours 01 to 24, found "
            f"{stamps[wrong]!r} at index {wrong}."
        )
    days = np.array(
        [f"{s[:4].decode()}-{s[4:6].decode()}-{s[6:8].decode()}" for s in stamps], "datetime64[ns]"
    )
    hours = np.array([int(s[8:]) - 1 for s in stamps])
    n_flows = ds["data"].shape[1]
    names = ["new_flow", "end_flow"] if n_flows == 2 else [f"flow{k}" for k in range(n_flows)]
    data = xr.Variable(("time", "flow", "y", "x"), ds["data"].variable._data)
    fields = {name: data.isel(flow=k) for k, name in enumerate(names)}
    for field in fields.values():
        field.attrs["units"] = "1"
    return xr.Dataset(fields, {"time": ("time", days + hours.astype("timedelta64[h]"))})
