"""Arrays without coordinates, from memory or files of NumPy, as a Dataset with times and names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from stconv.datasets.source.counted_times import counted_times
from stconv.datasets.source.grid_spec import GridSpec
from stconv.dims import LAT, LON, TIME, X, Y
from stconv.errors import FileError, GridError, VariableError

FORMS = {3: (TIME, Y, X), 4: (TIME, "channel", Y, X)}
"""Dimensions of an array, by their number, unless the specification names them."""


def open_numpy(path: Path, spec: GridSpec) -> xr.Dataset:
    """Open a `.npy` or `.npz` file as a series; a `.npy` file stays on disk until it is read.

    In a `.npz` file every array of three or four dimensions is a variable, or several, and one-dimensional
    arrays with the name of a dimension, such as `time`, `lat` and `lon`, are its coordinates.

    Raises:
        FileError: The file is damaged, or holds Python objects instead of numbers.
        TimeAxisError, GridError, VariableError: See `dataset_of`.
    """
    try:
        content = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(content, np.ndarray):
            arrays = {path.stem: content}
        else:
            with content:
                arrays = {name: content[name] for name in content.files}
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise FileError(
            f"'{path}' cannot be read as arrays of numbers: {error}. Write it again with `np.save` or "
            "`np.savez`."
        ) from error
    return dataset_of(arrays, spec, str(path))


def dataset_of(arrays: Mapping[str, np.ndarray], spec: GridSpec, source: str) -> xr.Dataset:
    """Make a series of arrays.

    Args:
        arrays: By name. Arrays with the dimensions of `spec.dims`, by default (time, y, x) or (time, channel,
            y, x), become variables; one-dimensional ones named like a dimension become coordinates.
        spec: `dims`, `names`, `start` and `step` describe the arrays.
        source: File or "the array", for messages.

    Raises:
        GridError: The number of dimensions fits neither the default nor `dims`.
        VariableError: `names` fits the channels badly, or the values are not numbers.
        TimeAxisError: There are no times, and `step` is not stated.
    """
    fields = {name: values for name, values in arrays.items() if np.ndim(values) > 1}
    if not fields:
        shapes = ", ".join(f"{name} {np.shape(values)}" for name, values in arrays.items()) or "nothing"
        raise GridError(f"{source}: expected an array (time, y, x) or (time, channel, y, x), found {shapes}.")
    lines = {name: np.asarray(values) for name, values in arrays.items() if np.ndim(values) == 1}
    found: dict[str, xr.Variable] = {}
    for name, values in fields.items():
        clear = f"{name}_field" if name in {TIME, LAT, LON, Y, X, "channel"} else name
        found |= _variables(clear, values, _dims(name, values, lines, spec, source), lines, spec, source)
    if spec.names:
        if len(spec.names) != len(found):
            raise VariableError(
                f"{source}: `names` gives {len(spec.names)} name(s), {', '.join(spec.names)}, and there are "
                f"{len(found)} variables. Name each once, in the order of the array."
            )
        found = dict(zip(spec.names, found.values(), strict=True))
    ds = xr.Dataset(found)
    coords = {name: (name, values) for name, values in lines.items() if name in ds.dims and name != TIME}
    return ds.assign_coords(coords).assign_coords({TIME: (TIME, _times(ds, lines, spec, source))})


def _dims(
    name: str, values: np.ndarray, lines: Mapping[str, np.ndarray], spec: GridSpec, source: str
) -> Sequence[str]:
    if spec.dims:
        if len(spec.dims) != values.ndim or TIME not in spec.dims:
            raise GridError(
                f"{source}: '{name}' has {values.ndim} dimensions, {values.shape}, and `dims` names "
                f"{', '.join(spec.dims)}. Name each dimension once, `time` among them."
            )
        return spec.dims
    if values.ndim not in FORMS:
        raise GridError(
            f"{source}: '{name}' has {values.ndim} dimensions, {values.shape}; expected (time, y, x) or "
            "(time, channel, y, x). Name its dimensions with `dims`, `time` among them."
        )
    dims = FORMS[values.ndim]
    if len(lines.get(LAT, ())) == values.shape[-2] and len(lines.get(LON, ())) == values.shape[-1]:
        return (*dims[:-2], LAT, LON)
    return dims


def _variables(
    name: str,
    values: np.ndarray,
    dims: Sequence[str],
    lines: Mapping[str, np.ndarray],
    spec: GridSpec,
    source: str,
) -> dict[str, xr.Variable]:
    """One variable, or one for each channel."""
    if values.dtype.kind not in "iufb":
        raise VariableError(f"{source}: '{name}' holds {values.dtype}; expected numbers.")
    bare = {LAT: Y, LON: X}  # degrees without a coordinate are rows and columns
    dims = [dim if dim in lines else bare.get(dim, dim) for dim in dims]
    whole = xr.Variable(tuple(dims), values, {"units": spec.units.get(name, "1")})
    horizontal = {LAT, LON, Y, X, spec.lat, spec.lon, spec.y, spec.x}
    others = [dim for dim in dims if dim not in {TIME, *horizontal}]
    if len(others) > 1 and len(dims) - len(others) == 1:  # rows and columns with names of their own
        others = others[:-2]
    if len(others) > 1:
        raise GridError(
            f"{source}: '{name}' has the dimensions {', '.join(dims)}; expected time, rows, columns and at "
            f"most one other. Reshape it so that {' and '.join(others)} are one."
        )
    if not others:
        return {name: whole}
    n = whole.sizes[others[0]]
    names = list(spec.names) if len(spec.names) == n else [f"{name}{k}" for k in range(n)]
    return {
        each: xr.Variable(part.dims, part.data, {"units": spec.units.get(each, "1")})
        for each, part in ((names[k], whole.isel({others[0]: k})) for k in range(n))
    }


def _times(ds: xr.Dataset, lines: Mapping[str, np.ndarray], spec: GridSpec, source: str) -> np.ndarray:
    n, given = ds.sizes[TIME], lines.get(TIME)
    if given is not None and given.dtype.kind == "M" and len(given) == n:
        return given.astype("datetime64[ns]")
    return counted_times(n, spec, source, "an array")
