"""The former form of a canonical dataset, as plain JSON, and the conversion back to it."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Hashable
from dataclasses import asdict, dataclass, field
from typing import Any

import cftime
import numpy as np
import xarray as xr

from stconv.datasets.source.attributes import jsonable
from stconv.datasets.source.named_variables import without_dangling
from stconv.datasets.source.units import linear_conversion
from stconv.dims import LAT, LON, TIME, X, Y
from stconv.errors import GridError

SPATIAL = (LAT, LON, Y, X)


@dataclass(frozen=True)
class FieldOrigin:
    """A variable as it was in its file.

    Attributes:
        dims: Names and order of its dimensions.
        attrs: Its attributes (JSON, see `encode_attrs`).
        units: Its canonical units, empty if it has none.
        encoding: Encoding for writing: the fill value of floating-point files.
    """

    dims: tuple[str, ...]
    attrs: dict[str, Any]
    units: str
    encoding: dict[str, Any]


@dataclass(frozen=True)
class Origin:
    """The form of a source, as `restore` needs it.

    Attributes:
        dims: Name in the file of each canonical dimension.
        names: Name in the file of each coordinate that was renamed.
        order: Permutation of ``lat`` and ``lon``: canonical = file[order].
        sizes: Length of each horizontal dimension, canonical.
        calendar: CF name of the calendar.
        scalar_time: Whether the file held one step with a scalar time.
        time_attrs: Attributes of the time.
        time_encoding: Units and calendar of the encoded times.
        static: Coordinates and auxiliary variables without time, encoded, by name in the file.
        fields: The variables.
        attrs: Global attributes.
        cyclic: Whether the file repeats its first column at its end; the canonical grid does not.
    """

    dims: dict[str, str]
    names: dict[str, str]
    order: dict[str, list[int]]
    sizes: dict[str, int]
    calendar: str
    scalar_time: bool = False
    time_attrs: dict[str, Any] = field(default_factory=dict)
    time_encoding: dict[str, Any] = field(default_factory=dict)
    static: dict[str, dict[str, Any]] = field(default_factory=dict)
    fields: dict[str, FieldOrigin] = field(default_factory=dict)
    attrs: dict[str, Any] = field(default_factory=dict)
    cyclic: bool = False

    @property
    def axes(self) -> set[str]:
        """Names of all dimensions and renamed coordinates in the file."""
        return {*self.dims.values(), *self.names.values()}

    def to_json(self) -> dict[str, Any]:
        """Return the origin as JSON values."""
        values = asdict(self)
        for entry in values["fields"].values():
            entry["dims"] = list(entry["dims"])
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Origin:
        """Restore an origin from `to_json`, also after a round trip through text."""
        fields = {
            name: FieldOrigin(**{**entry, "dims": tuple(entry["dims"])})
            for name, entry in values["fields"].items()
        }
        return cls(**{**values, "fields": fields})


def restore(ds: xr.Dataset, origin: Origin) -> xr.Dataset:
    """Give a canonical dataset the names, order, longitudes, units and attributes of its source.

    New dimensions such as `lead` come right after the time, or where the time was. Coordinates along the time
    that the dataset lacks stay absent; those without time come from the origin.

    Args:
        ds: Canonical dataset on the grid of the origin, with any times.
        origin: Origin returned by `canonicalize` or `open_series`.

    Returns:
        The dataset in the form of the user's file.

    Raises:
        GridError: The dataset has another grid.
    """
    for dim, size in origin.sizes.items():
        if dim in ds.dims and ds.sizes[dim] != size:
            raise GridError(
                f"The dataset has {ds.sizes[dim]} along '{dim}', its origin {size}. Restore the dataset "
                "on the opened grid, before selecting a part of it."
            )
    ds = ds.isel({dim: _file_order(origin, dim) for dim in origin.order if dim in ds.dims})
    if origin.scalar_time and ds.sizes.get(TIME) == 1 and set(ds.dims) <= {TIME, *SPATIAL}:
        ds = ds.isel({TIME: 0})
    data: dict[str, xr.Variable] = {}
    static = {name: _decode_variable(entry) for name, entry in origin.static.items()}
    coords = {name: variable for name, variable in static.items() if origin.static[name]["coordinate"]}
    for key, variable in ds.variables.items():
        name = origin.names.get(str(key), str(key))
        if key not in ds.data_vars and (name in origin.static or key in SPATIAL):
            continue
        restored = _restore_variable(str(key), variable, origin)
        (coords if key in ds.coords else data)[name] = restored
    result = xr.Dataset(data, attrs={**decode_attrs(origin.attrs), **ds.attrs})
    used = {dim for variable in data.values() for dim in variable.dims}
    fitting = {name: v for name, v in coords.items() if set(v.dims) <= used or name not in origin.static}
    fitting |= {n: v for n, v in static.items() if n not in coords and (not v.dims or v.dims[0] in used)}
    result = result.assign(fitting).set_coords([name for name in fitting if name in coords])
    for variable in result.variables.values():
        variable.attrs = without_dangling(variable.attrs, result.variables)
    return result


def decode_coordinate(origin: Origin, name: str) -> np.ndarray | None:
    """Values of a coordinate without time as in the file; None if there is no such coordinate."""
    return _decode_array(origin.static[name]["values"]) if name in origin.static else None


def _file_order(origin: Origin, dim: str) -> np.ndarray:
    """Canonical indices along one dimension in the order of the file, with a cyclic column repeated."""
    indices = np.argsort(origin.order[dim])
    return np.append(indices, indices[0]) if origin.cyclic and dim == LON else indices


def _restore_variable(key: str, variable: xr.Variable, origin: Origin) -> xr.Variable:
    """Restore dimensions, attributes and units of one variable."""
    dims = [origin.dims.get(str(dim), str(dim)) for dim in variable.dims]
    entry = origin.fields.get(key)
    if entry is None:
        result = xr.Variable(dims, variable.data, variable.attrs, variable.encoding)
        if key == TIME:
            result.attrs = {**variable.attrs, **decode_attrs(origin.time_attrs)}
            result.encoding = dict(origin.time_encoding)
        return result
    attrs = decode_attrs(entry.attrs)
    factor, offset = linear_conversion(attrs.get("units", entry.units), entry.units, key, "the origin")
    values = variable.data if (factor, offset) == (1.0, 0.0) else (variable.data - offset) / factor
    result = xr.Variable(dims, values, {**variable.attrs, **attrs}, entry.encoding)
    if "units" not in attrs:
        result.attrs.pop("units", None)
    single = [dim for dim in entry.dims if dim not in dims and dim not in origin.dims.values()]
    result = result.set_dims([*single, *dims]) if single else result
    return result.transpose(*_order(entry.dims, [*single, *dims], origin.dims[TIME]))


def _order(in_file: tuple[str, ...], present: list[str], time: str) -> list[str]:
    """Dimensions in the order of the file; new ones follow the time or take its place."""
    new = [dim for dim in present if dim not in in_file and dim != time]
    at_time = ([time] if time in present else []) + new
    if time not in in_file:
        return at_time + [dim for dim in in_file if dim in present]
    result: list[str] = []
    for dim in in_file:
        result += at_time if dim == time else [dim] if dim in present else []
    return result


def fill_encoding(variable: xr.Variable) -> dict[str, Any]:
    """Encoding of a floating-point field: its fill value, if any."""
    fill = variable.encoding.get("_FillValue")
    is_float = np.dtype(variable.encoding.get("dtype", variable.dtype)).kind == "f"
    if not (is_float and isinstance(fill, (int, float, np.integer, np.floating))):
        return {}
    return {"_FillValue": float(fill)}


def encode_variable(variable: xr.Variable, coordinate: bool) -> dict[str, Any]:
    """Encode a small variable as JSON: dimensions, values, attributes, and whether it is a coordinate."""
    return {
        "coordinate": coordinate,
        "dims": [str(dim) for dim in variable.dims],
        "values": _encode_array(np.asarray(variable.values)),
        "attrs": encode_attrs(variable.attrs),
    }


def _decode_variable(entry: dict[str, Any]) -> xr.Variable:
    values = _decode_array(entry["values"])
    encoding = {"_FillValue": None} if values.dtype.kind == "f" else {}
    return xr.Variable(entry["dims"], values, decode_attrs(entry["attrs"]), encoding)


def encode_attrs(attrs: dict[Hashable, Any] | dict[str, Any]) -> dict[str, Any]:
    """Encode attributes as JSON; NumPy values keep their types, JSON values are unchanged."""
    return {
        str(key): {"array": _encode_array(np.asarray(value))}
        if isinstance(value, (np.ndarray, np.generic))
        else {"json": jsonable(value)}
        if isinstance(value, dict)
        else jsonable(value)
        for key, value in attrs.items()
    }


def decode_attrs(attrs: dict[str, Any]) -> dict[str, Any]:
    """Decode attributes from `encode_attrs`."""
    return {
        key: value
        if not isinstance(value, dict)
        else _decode_array(value["array"])[()]
        if "array" in value
        else value["json"]
        for key, value in attrs.items()
    }


def _encode_array(values: np.ndarray) -> dict[str, Any]:
    head: dict[str, Any] = {"dtype": values.dtype.str, "shape": list(values.shape)}
    if values.dtype == object:
        calendar = getattr(values.flat[0], "calendar", None) if values.size else None
        texts = [value.isoformat() if calendar else str(value) for value in values.flat]
        return head | {"calendar": calendar, "data": texts}
    packed = zlib.compress(np.ascontiguousarray(values).tobytes(), 6)
    return head | {"data": base64.b64encode(packed).decode("ascii")}


def _decode_array(entry: dict[str, Any]) -> np.ndarray:
    if entry["dtype"] == "|O":
        values = np.empty(len(entry["data"]), dtype=object)
        calendar = entry["calendar"]
        values[:] = [_cftime(text, calendar) if calendar else text for text in entry["data"]]
        return values.reshape(entry["shape"])
    raw = zlib.decompress(base64.b64decode(entry["data"]))
    return np.frombuffer(raw, dtype=entry["dtype"]).reshape(entry["shape"]).copy()


def _cftime(text: str, calendar: str) -> cftime.datetime:
    date, _, clock = text.partition("T")
    year, month, day = (int(part) for part in date.rsplit("-", 2))
    seconds = [float(part) for part in (clock or "0:0:0").split(":")]
    microsecond = round(seconds[2] % 1 * 1e6)
    return cftime.datetime(
        year, month, day, int(seconds[0]), int(seconds[1]), int(seconds[2]), microsecond, calendar=calendar
    )
