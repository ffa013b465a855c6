"""Writers of CoverageJSON (OGC 21-069r2): Grid and PointSeries."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from covjson_pydantic.coverage import Coverage
from covjson_pydantic.domain import Axes, Domain, DomainType, ValuesAxis
from covjson_pydantic.ndarray import NdArrayFloat
from covjson_pydantic.observed_property import ObservedProperty
from covjson_pydantic.parameter import Parameter, Parameters
from covjson_pydantic.reference_system import ReferenceSystem, ReferenceSystemConnectionObject
from covjson_pydantic.unit import Symbol, Unit

from service.formats.answers import nested
from service.formats.layout import Layout, field_names, find_layout
from service.formats.statement import statement
from stconv.clock import GREGORIAN_CALENDARS
from stconv.errors import TimeAxisError
from stconv.forecast.output import reference_of, valid_time_of

CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
UCUM = "http://www.opengis.net/def/uom/UCUM/"


def to_coverage(forecast: xr.Dataset) -> bytes:
    """Write a Grid over t, y and x, with null for missing values.

    Raises:
        TimeAxisError: The calendar is not Gregorian.
    """
    layout = find_layout(forecast)
    return grid_coverage(forecast, layout).model_dump_json(exclude_none=True).encode()


def grid_coverage(forecast: xr.Dataset, layout: Layout) -> Coverage:
    """Build the Grid of a forecast with known axes."""
    times = utc_times(forecast)
    axes = Axes(
        x=ValuesAxis[float](values=layout.columns.tolist()),
        y=ValuesAxis[float](values=layout.rows.tolist()),
        t=ValuesAxis[Any](values=times),
    )
    shape = [len(times), layout.rows.size, layout.columns.size]
    ranges = {
        name: _range(layout.fields(forecast[name]), ["t", "y", "x"], shape) for name in field_names(forecast)
    }
    return _coverage(forecast, DomainType.grid, axes, ranges, layout.geographic)


def point_coverage(forecast: xr.Dataset, layout: Layout, row: int, column: int) -> Coverage:
    """Build the PointSeries of one cell; x and y are the center of the cell."""
    times = utc_times(forecast)
    axes = Axes(
        x=ValuesAxis[float](values=[float(layout.columns[column])]),
        y=ValuesAxis[float](values=[float(layout.rows[row])]),
        t=ValuesAxis[Any](values=times),
    )
    ranges = {
        name: _range(layout.fields(forecast[name])[:, row, column], ["t"], [len(times)])
        for name in field_names(forecast)
    }
    return _coverage(forecast, DomainType.point_series, axes, ranges, layout.geographic)


def _coverage(
    forecast: xr.Dataset, kind: DomainType, axes: Axes, ranges: dict[str, Any], geographic: bool
) -> Coverage:
    members = {f"stconv:{name}": value for name, value in statement(forecast).items()}
    return Coverage(
        domain=Domain(domainType=kind, axes=axes, referencing=_referencing(geographic)),
        parameters=Parameters({name: _parameter(forecast[name]) for name in field_names(forecast)}),
        ranges=ranges,
        **members,
        **{"stconv:reference_time": nested(forecast[reference_of(forecast)]) + "Z"},
    )


def utc_times(forecast: xr.Dataset) -> list[str]:
    """Valid times as ISO 8601 text, UTC.

    Raises:
        TimeAxisError: The calendar is not Gregorian.
    """
    times = forecast[valid_time_of(forecast)]
    calendar = str(times.dt.calendar)
    if calendar not in GREGORIAN_CALENDARS:
        raise TimeAxisError(
            f"The calendar of the forecast is '{calendar}'; CoverageJSON supports the Gregorian one only. "
            "Request application/x-netcdf or application/json."
        )
    return [f"{text}Z" for text in nested(times)]


def _range(values: np.ndarray, axes: list[str], shape: list[int]) -> NdArrayFloat:
    flat = values.astype(object).ravel()
    flat[~np.isfinite(values).ravel()] = None
    # Not validated: the service made them, and there may be millions.
    return NdArrayFloat.model_construct(axisNames=axes, shape=shape, values=flat.tolist())


def _parameter(array: xr.DataArray) -> Parameter:
    label = str(array.attrs.get("long_name") or array.name)
    units = str(array.attrs.get("units", ""))
    unit = Unit(symbol=Symbol(value=units, type=UCUM)) if units else None
    return Parameter(observedProperty=ObservedProperty(label={"en": label}), unit=unit)


def _referencing(geographic: bool) -> list[ReferenceSystemConnectionObject]:
    horizontal = (
        ReferenceSystem(type="GeographicCRS", id=CRS84)
        if geographic
        else ReferenceSystem(type="ProjectedCRS")
    )
    return [
        ReferenceSystemConnectionObject(coordinates=["x", "y"], system=horizontal),
        ReferenceSystemConnectionObject(
            coordinates=["t"], system=ReferenceSystem(type="TemporalRS", calendar="Gregorian")
        ),
    ]
