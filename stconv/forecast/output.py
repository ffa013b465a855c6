"""A forecast as a CF Dataset, and as a file."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from stconv.clock import largest_unit
from stconv.datasets.remote.address import address_of
from stconv.datasets.source.time_axis import TimeStep
from stconv.dims import LEAD, TIME
from stconv.errors import FileError, VariableError

CONVENTIONS = "CF-1.11"
LEADS = (LEAD, "lead_time", "forecast_period", "stconv_lead")
REFERENCE_TIMES = ("forecast_reference_time", "reference_time", "stconv_reference_time")
"""Names of lead and reference time: the first that no variable of the user has."""


def forecast_dataset(
    fields: Mapping[str, np.ndarray],
    attributes: Mapping[str, Mapping[str, Any]],
    inputs: xr.Dataset,
    dims: Sequence[str],
    reference_time: Any,
    valid_times: Sequence[Any],
    step: TimeStep,
    first_lead: int = 1,
    taken: Iterable[str] = (),
) -> xr.Dataset:
    """Lay out a forecast on canonical dimensions.

    Args:
        fields: Forecast by variable, float32, (lead, lat, lon) or (lead, y, x), physical units, NaN is
            missing.
        attributes: Attributes of each variable.
        inputs: Canonical input; its spatial coordinates are copied.
        dims: The two spatial dimensions.
        reference_time: Time of the newest input.
        valid_times: Valid time of each lead.
        step: Time step between two leads.
        first_lead: Number of the first lead, from 1.
        taken: Names of axes in the user's file, which lead and reference time cannot have.

    Returns:
        Variables (lead, lat, lon); coordinates lead (with units), time (lead), forecast_reference_time
        (scalar); see `coordinate_names` for other names if a variable has one of these.
    """
    n_leads = len(valid_times)
    lead, reference = coordinate_names({*fields, *taken})
    period, units = lead_periods(step, range(first_lead, first_lead + n_leads))
    spatial = [name for name, coordinate in inputs.coords.items() if set(coordinate.dims) <= set(dims)]
    coordinates = {
        **{name: inputs.coords[name] for name in spatial if name not in (TIME, lead, reference)},
        lead: (
            lead,
            period,
            {
                "standard_name": "forecast_period",
                "long_name": "time since the reference time",
                "units": units,
            },
        ),
        TIME: (lead, _times(valid_times), {"standard_name": "time", "long_name": "valid time"}),
        reference: ((), _times([reference_time])[0], {"standard_name": "forecast_reference_time"}),
    }
    variables = {name: ((lead, *dims), field, dict(attributes[name])) for name, field in fields.items()}
    return xr.Dataset(variables, coordinates)


def coordinate_names(taken: Iterable[Hashable]) -> tuple[str, str]:
    """Return the names of lead and reference time, which avoid those of the user's variables and axes.

    Raises:
        VariableError: Variables have all the names that the lead or the reference time may have.
    """
    names = {str(name) for name in taken}
    return _free(LEADS, names, "lead"), _free(REFERENCE_TIMES, names, "reference time")


def _free(candidates: Sequence[str], taken: set[str], what: str) -> str:
    for name in candidates:
        if name not in taken:
            return name
    raise VariableError(
        f"No name is left for the {what} of a forecast: variables are called {', '.join(candidates)}. Rename "
        "one of them in the training data."
    )


def lead_of(forecast: xr.Dataset) -> str:
    """Return the name of the dimension of leads: that of the forecast period, else the usual one."""
    return next(
        (name for name in _named(forecast, "forecast_period") if forecast[name].dims == (name,)), LEAD
    )


def reference_of(forecast: xr.Dataset) -> str:
    """Return the name of the scalar coordinate of the reference time, else the usual one."""
    found = _named(forecast, "forecast_reference_time")
    return next((name for name in found if not forecast[name].dims), REFERENCE_TIMES[0])


def _named(forecast: xr.Dataset, standard_name: str) -> list[str]:
    return [str(n) for n, c in forecast.coords.items() if c.attrs.get("standard_name") == standard_name]


def valid_time_of(forecast: xr.Dataset) -> str:
    """Return the name of the coordinate of the valid times, which is that of the times in the user's file."""
    lead = lead_of(forecast)
    return next(
        str(name)
        for name, coordinate in forecast.coords.items()
        if coordinate.dims == (lead,) and name != lead
    )


def without_older_forecast(restored: xr.Dataset, canonical: xr.Dataset) -> xr.Dataset:
    """Replace the reference time and lead of the input by those of the forecast."""
    names = ("forecast_period", "forecast_reference_time")
    lead, reference = lead_of(canonical), reference_of(canonical)
    ours = {name: canonical.coords[name].variable for name in (lead, reference)}
    older = [
        name
        for name, c in restored.coords.items()
        if c.attrs.get("standard_name") in names and (lead not in c.dims or name == lead)
    ]
    return restored.drop_vars(older).assign_coords(ours)


def lead_periods(step: TimeStep, leads: Sequence[int]) -> tuple[np.ndarray, str]:
    """Return the time from reference to each lead, int64, in the largest units that divide the step."""
    numbers = np.asarray(list(leads), dtype=np.int64)
    if step.kind != "fixed":
        return numbers * step.n, f"{step.kind}s"
    unit = largest_unit(step.seconds)
    return numbers * (step.seconds // unit.seconds), f"{unit.name}s"


def check_destination(path: str | Path) -> Path:
    """Check, before anything is computed, that a forecast can be written to a path.

    Raises:
        FileError: The name ends in neither .nc nor .zarr, the folder does not exist, or the path exists and
            is not a forecast.
    """
    if address_of(path) is not None:
        raise FileError(
            f"'{path}' is an address; a forecast is written to a path. Name one, and copy the file from "
            "there; `stconv hindcast` writes to object stores."
        )
    path = Path(path)
    if path.suffix not in {".nc", ".zarr"}:
        raise FileError(
            f"'{path}' ends in '{path.suffix}'; a forecast is written as .nc (NetCDF 4) or .zarr."
        )
    if not path.absolute().parent.is_dir():
        raise FileError(f"There is no folder '{path.parent}' to write '{path.name}' to. Create it.")
    if path.suffix == ".nc" and path.is_dir():
        raise FileError(f"'{path}' is a folder. Name another file.")
    is_store = any((path / name).exists() for name in ("zarr.json", ".zgroup"))
    if path.suffix == ".zarr" and path.exists() and not is_store:
        raise FileError(f"'{path}' exists and is not a Zarr store. Name another one, or remove it.")
    return path


def write_forecast(ds: xr.Dataset, path: str | Path) -> Path:
    """Write a NetCDF 4 file or, if the name ends in .zarr, a Zarr store; complete or not at all.

    An existing forecast is replaced.

    Raises:
        FileError: See `check_destination`.
    """
    path = check_destination(path)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.stem}.", dir=path.absolute().parent))
    try:
        fresh = scratch / path.name
        clean = ds.copy()
        for name, variable in clean.variables.items():
            # The units that the times of the input were coded with may be too coarse for the leads.
            if name not in clean.data_vars:
                variable.encoding = {"_FillValue": None} if variable.dtype.kind == "f" else {}
        if path.suffix == ".nc":
            packed = {"zlib": True, "complevel": 4}
            fields = [name for name in clean.data_vars if lead_of(clean) in clean[name].dims]
            encoding = {
                name: {"_FillValue": np.float32(np.nan), **clean[name].encoding, **packed} for name in fields
            }
            clean.to_netcdf(fresh, engine="netcdf4", encoding=encoding)
        else:
            # every reader of Zarr knows version 2 with metadata in one file
            clean.to_zarr(fresh, zarr_format=2, consolidated=True)
            if path.exists():
                os.replace(path, scratch / "old")
        os.replace(fresh, path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return path


def _times(times: Sequence[Any]) -> np.ndarray:
    if isinstance(times[0], np.datetime64):
        return np.array(times, dtype="datetime64[ns]")
    return np.array(times, dtype=object)
