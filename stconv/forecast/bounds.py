"""Uncertainty bands as variables of a forecast, linked to the variable that they belong to."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import xarray as xr

from stconv.bundle import Bundle
from stconv.datasets.source.grid import Origin
from stconv.uncertainty.bands import BOUNDS

_BOUND = re.compile(rf"({'|'.join(BOUNDS)})$")


def band_names(bundle: Bundle) -> list[str]:
    """Return the suffix of each bound, in the order of `Bands.physical`; none for a bundle without bands."""
    return [] if bundle.bands is None else list(BOUNDS)


def with_bands(origin: Origin, names: Sequence[str], bounds: Sequence[str]) -> Origin:
    """Return the origin extended by the bounds, so that each is restored like the variable it belongs to."""
    fields = {
        f"{name}{bound}": origin.fields[name] for name in names if name in origin.fields for bound in bounds
    }
    return dataclasses.replace(origin, fields={**origin.fields, **fields})


def describe_bands(forecast: xr.Dataset, names: Sequence[str], bounds: Sequence[str]) -> None:
    """Describe the bounds in the attributes, and link them to the variable that they belong to."""
    for name in names if bounds else ():
        forecast[name].attrs["ancillary_variables"] = " ".join(f"{name}{bound}" for bound in bounds)
        what = forecast[name].attrs.get("long_name", name)
        for bound in bounds:
            _, side, level = bound.split("_")
            attributes = forecast[f"{name}{bound}"].attrs
            attributes.pop("standard_name", None)
            attributes["long_name"] = f"{what}, {side} bound of the {level} % band"
            attributes["comment"] = "Calibrated on the validation period; missing beyond the trained leads."


def without_bands(forecast: xr.Dataset) -> xr.Dataset:
    """Return the forecast without its bounds."""
    bounds = [name for name in forecast.data_vars if is_bound(str(name), forecast)]
    kept = forecast.drop_vars(bounds)
    for array in kept.data_vars.values():
        if bounds:
            array.attrs = {key: value for key, value in array.attrs.items() if key != "ancillary_variables"}
    return kept


def is_bound(name: str, forecast: xr.Dataset) -> bool:
    """Return whether a variable is a bound of another variable of the forecast."""
    found = _BOUND.search(name)
    return found is not None and name[: found.start()] in forecast.data_vars
