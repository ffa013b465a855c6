"""The search for the variable with the times, and its decoding, also with misspelled attributes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from stconv.datasets.source.axes import TIME_NAMES
from stconv.datasets.source.counted_times import counted_times
from stconv.datasets.source.grid_spec import GridSpec
from stconv.datasets.source.time_axis import whole_seconds
from stconv.datasets.source.time_decoding import decode_times
from stconv.datasets.source.time_units import COUNTED, is_time_units, read_time_units
from stconv.errors import TimeAxisError

_CODING = ("unit", "units", "calendar")
"""Attributes that encode times as numbers; decoded times no longer have them."""


@dataclass(frozen=True)
class TimeCoordinate:
    """Variable and dimension of the times.

    Attributes:
        name: Variable with the times.
        dim: Its dimension; None for a file of one step with a scalar time.
    """

    name: str
    dim: str | None


def find_time(ds: xr.Dataset, spec: GridSpec, source: str) -> tuple[xr.Dataset, TimeCoordinate]:
    """Find the times.

    Args:
        ds: Any dataset.
        spec: Names and units that override the search.
        source: File or dataset, for messages.

    Returns:
        The dataset with its times decoded, and their variable and dimension.

    Raises:
        TimeAxisError: There are no times, or they cannot be decoded; the message says what to do.
    """
    if spec.time is not None and spec.time not in ds.variables and spec.time not in ds.dims:
        raise TimeAxisError(
            f"{source}: no variable '{spec.time}' for the time; available: "
            f"{', '.join(map(str, ds.variables))}. Correct `time` of the grid specification."
        )
    ds = _decode_numbers(ds, spec, source)
    variables = {name: ds.variables[name] for name in _eligible(ds, spec)}
    candidates = [n for n, v in variables.items() if v.ndim <= 1 and v.size and is_time(v)]
    if not candidates:
        bare = _without_values(ds, spec)
        if bare is None:
            raise TimeAxisError(_no_time(ds, spec, source))
        times = counted_times(ds.sizes[bare], spec, source, f"the dimension '{bare}'")
        return ds.assign_coords({bare: times}), TimeCoordinate(bare, bare)
    name = max(candidates, key=lambda n: _score(ds, n))
    if ds[name].ndim == 0:
        return ds, TimeCoordinate(name, None)
    dim = str(ds[name].dims[0])
    if dim in candidates and name != dim and bool(np.all(ds[dim].values == ds[name].values)):
        name = dim
    if ds[name].isnull().any():
        absent = np.flatnonzero(ds[name].isnull().values)
        raise TimeAxisError(
            f"{source}: time '{name}' is missing at index {absent[0]}, and at {absent.size} of "
            f"{ds.sizes[dim]} steps in all: never written, or a fill value. Drop the steps without a "
            f"time: `ds.isel({dim}=ds['{name}'].notnull().values)`."
        )
    times = ds[name].values
    whole = whole_seconds(times)
    if name not in ds.coords or not np.array_equal(whole, times):
        ds = ds.assign_coords({name: ds[name].copy(data=whole)})
    return ds, TimeCoordinate(name, dim)


def _eligible(ds: xr.Dataset, spec: GridSpec) -> list[str]:
    """Return the names of the variables that may hold the times: all, or the one that is stated."""
    return [str(name) for name in ds.variables if spec.time in (None, name)]


def _without_values(ds: xr.Dataset, spec: GridSpec) -> str | None:
    """Return the dimension with the name of a time that has no variable."""
    names = TIME_NAMES if spec.time is None else (spec.time,)
    return next((name for name in names if name in ds.dims and name not in ds.variables), None)


def is_time(variable: xr.DataArray | xr.Variable) -> bool:
    """Whether the values are decoded times, of NumPy or cftime."""
    if np.issubdtype(variable.dtype, np.datetime64):
        return True
    return variable.dtype == object and hasattr(variable.values.flat[0], "calendar")


def _score(ds: xr.Dataset, name: str) -> float:
    """Rank a variable as the time: an axis, the CF standard name, a common name."""
    attrs = ds[name].attrs
    score = 8.0 * (ds[name].ndim == 1)
    score += 3.0 * (attrs.get("standard_name") == "time") + 1.5 * (attrs.get("axis") == "T")
    score += 2.0 * (name in ds.dims)
    score += (1.0 - 0.05 * TIME_NAMES.index(name)) if name in TIME_NAMES else 0.0
    return score - 4.0 * (attrs.get("standard_name") == "forecast_reference_time")


def _decode_numbers(ds: xr.Dataset, spec: GridSpec, source: str) -> xr.Dataset:
    """Decode numeric times with units in another attribute (``Unit``) or in the specification."""
    for name in _eligible(ds, spec):
        variable = ds.variables[name]
        if variable.ndim > 1 or not variable.size or is_time(variable):
            continue
        named = _is_named_time(ds, name, spec)
        calendar = str((spec.calendar if named else None) or variable.attrs.get("calendar", "standard"))
        units, order = _stated_units(variable, spec if named else GridSpec())
        try:
            times = _decoded(variable.values, units, order, calendar.lower(), named)
        except (ValueError, OverflowError, TimeAxisError) as error:
            if not named:
                continue
            reason = "the reference is no date" if "unable to decode" in str(error) else str(error)
            raise TimeAxisError(
                f"{source}: time '{name}' cannot be decoded with units '{units}': {reason}. Expected 'UNIT "
                "since DATE', for example 'hours since 1900-01-01 00:00 -5:00'; state it as `time_units` "
                "(`--time-units`), or state the form of the date: 'hours since %d-%m-%Y'."
            ) from error
        if times is None:
            continue
        attrs = {k: v for k, v in variable.attrs.items() if k.lower() not in _CODING}
        ds = ds.assign({name: (variable.dims, times.reshape(variable.shape), attrs)})
        if named or name in ds.dims or name in ds.coords:
            ds = ds.set_coords(name)
    return ds


def _stated_units(variable: xr.Variable, spec: GridSpec) -> tuple[str | None, str | None]:
    """Units of a time from the specification or the file, and the form of their date."""
    attrs = {str(key).lower().rstrip("s"): value for key, value in variable.attrs.items()}
    stated = attrs.get("unit")
    stated = stated if isinstance(stated, str) else None
    if spec.time_units is None:
        return stated, None
    order = spec.time_units.partition(" since ")[2]
    return (stated, order) if "%" in order else (spec.time_units, None)


def _decoded(
    values: np.ndarray, units: str | None, order: str | None, calendar: str, named: bool
) -> np.ndarray | None:
    """Decode times; None if the values are not times.

    Raises:
        TimeAxisError, ValueError, OverflowError: The values have units of time, and cannot be decoded.
    """
    if order is not None and units is not None:
        units = read_time_units(units, calendar, order).text
    if named:
        times = decode_times(np.atleast_1d(values), units, calendar)
        if times is not None:
            return times
    if values.dtype.kind not in "iuf" or not is_time_units(units):
        return None
    read = read_time_units(str(units), calendar)
    if COUNTED.fullmatch(read.unit):
        raise TimeAxisError(
            f"a fraction of a {read.unit.rstrip('s')} has no fixed length; only whole and half ones are read"
        )
    coded = xr.Dataset({"t": (("t",), np.atleast_1d(values), {"units": read.text, "calendar": calendar})})
    return np.asarray(xr.decode_cf(coded)["t"].values)


def _is_named_time(ds: xr.Dataset, name: str, spec: GridSpec) -> bool:
    return name == spec.time or (
        spec.time is None and (name in TIME_NAMES or ds[name].attrs.get("axis") == "T")
    )


def _no_time(ds: xr.Dataset, spec: GridSpec, source: str) -> str:
    """Explain why no times were found, and what to do."""
    for name in ds.variables:
        if _is_named_time(ds, str(name), spec) and ds[name].dtype.kind in "iuf" and ds[name].ndim == 1:
            values, units = ds[name].values, ds[name].attrs.get("units")
            return (
                f"{source}: time '{name}' cannot be decoded: its values are {values.dtype} "
                f"({_range(values)}) and its units are {units!r}; expected 'UNIT since DATE', for example "
                "'days since 1900-01-01'. State `time_units` (and `calendar`) in the grid specification."
            )
    axes = ", ".join(f"{dim} ({size}{_values(ds, str(dim))})" for dim, size in ds.sizes.items())
    return (
        f"{source}: no time axis found; its dimensions are {axes or 'none'}. Expected a series. Name the "
        "variable that holds the times with `time` of the grid specification; a static field can only be "
        "an additional input."
    )


def _values(ds: xr.Dataset, dim: str) -> str:
    return f": {_range(ds[dim].values)}" if dim in ds.variables else ""


def _range(values: Any) -> str:
    return f"{values[0]} to {values[-1]}" if len(values) > 1 else f"{values[0]}" if len(values) else "empty"
