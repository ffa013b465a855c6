"""Opening of any source in canonical form; `restore` is the inverse."""

from __future__ import annotations

from collections.abc import Sequence

import xarray as xr

from stconv.datasets.remote.address import Place
from stconv.datasets.source.accumulation import deaccumulate
from stconv.datasets.source.canonical import canonical_part
from stconv.datasets.source.decoding import mask_declared
from stconv.datasets.source.directions import directions_in, split_directions
from stconv.datasets.source.finding import find_files
from stconv.datasets.source.further import FurtherSource
from stconv.datasets.source.further_fields import joined
from stconv.datasets.source.gaps import fill_gaps
from stconv.datasets.source.grid_spec import GridSpec
from stconv.datasets.source.joining import Part, join
from stconv.datasets.source.layouts import unfold
from stconv.datasets.source.origin import Origin, restore
from stconv.datasets.source.own_axes import Apart, taken_apart
from stconv.datasets.source.reading import check_whole, decode_stored, load, name_of, open_file, readable
from stconv.datasets.source.selection import split_values
from stconv.datasets.source.time_axis import time_step
from stconv.dims import TIME
from stconv.errors import DataError, FileError, StconvError, VariableError

__all__ = ["GridSpec", "Origin", "canonicalize", "open_series", "open_stored", "restore"]

MEMORY_BYTES = 256 * 2**20
"""Sources above this size are opened as dask arrays, smaller ones are read at once."""
STREAMED_CHUNK_BYTES = 2**20
"""Approximate size of the chunks of a source that is read window by window; at least a chunk of the file."""
DataSource = str | Place | Sequence[str | Place] | xr.Dataset
"""Paths or addresses of files, or a Dataset in memory, eager or lazy."""


def open_series(
    paths: DataSource,
    spec: GridSpec | None = None,
    variables: Sequence[str] | None = None,
    stay: bool = False,
    strict: bool = False,
) -> tuple[xr.Dataset, Origin]:
    """Open one or several files, or a Dataset, as one canonical series.

    Files may hold successive times, different variables, or both. Small sources are read into memory, large
    ones stay on disk (dask).

    Args:
        paths: NetCDF 3 or 4, Zarr 2 or 3, GRIB; a file, a list, a pattern, or a folder, on disk or on the
            network. Or a decoded Dataset, which is left as it is.
        spec: Options for a source that does not describe itself.
        variables: Names to read, in order; None for every field.
        stay: Whether small sources stay on disk as well, in small chunks, to be read window by window.
        strict: Whether to refuse options for variables that the source does not hold. The options of a
            trained model may name more variables than new data hold.

    Returns:
        The canonical dataset, see `canonicalize`, and its origin for `restore`.

    Raises:
        FileError: A file is missing, damaged, or not a data file. GridError, TimeAxisError, VariableError,
            UnitsError: The content cannot be used as it is.
    """
    spec = spec or GridSpec()
    apart: list[Apart] = []
    own = None if variables is None else list(variables)
    if isinstance(paths, xr.Dataset):
        paths, own, apart = taken_apart(paths, spec.sources, variables)
    within = {part.source.variables[0] for part in apart}
    elsewhere = [s for s in spec.sources if s.variables[0] not in within and not _holds(paths, s.variables)]
    if own is not None:
        own = [name for name in own if not any(name in source.variables for source in elsewhere)]
        _check_own(own, variables)
    ds, origin = join_parts(open_parts(paths, spec, own, stay, strict), spec, own)
    ds = fill_gaps(ds, spec.fill_gaps)
    for source in elsewhere:
        wanted = [name for name in source.variables if variables is None or name in variables]
        if wanted:
            try:
                found, theirs = open_series(source.paths, _reading(source), wanted, stay)
            except FileError as error:
                raise type(error)(
                    f"{error} It is the further source of {', '.join(wanted)}; for a trained model, "
                    f"`--further {wanted[0]}=PATH` says where it lies now."
                ) from error
            ds, origin = joined(ds, origin, found, theirs, source)
    for part in apart:
        if part.names:
            found, theirs = open_series(part.ds, _reading(part.source), part.names, stay)
            ds, origin = joined(ds, origin, found, theirs, part.source)
    return (ds if variables is None else ds[list(variables)]), origin


def _reading(source: FurtherSource) -> GridSpec:
    return GridSpec(select=source.select, units=source.units)


def _check_own(own: Sequence[str], variables: Sequence[str] | None) -> None:
    if not own:
        raise VariableError(
            f"All of {', '.join(variables or ())} come from further sources; expected at least one variable "
            "of the source that defines grid and steps."
        )


def _holds(source: DataSource, names: Sequence[str]) -> bool:
    """Whether a Dataset holds variables that would come from a further source."""
    return isinstance(source, xr.Dataset) and all(name in source.data_vars for name in names)


def open_parts(
    paths: DataSource,
    spec: GridSpec | None = None,
    variables: Sequence[str] | None = None,
    stay: bool = False,
    strict: bool = False,
) -> list[Part]:
    """Open each file separately; `join_parts` joins them to one series. `open_series` does both."""
    spec = spec or GridSpec()
    if isinstance(paths, xr.Dataset):
        name = name_of(paths)
        check_whole(paths)
        with readable(paths):
            opened = [(name, _series(_masked(paths, spec, name), spec, name))]
    else:
        files = find_files(paths)
        opened = [(str(file), _series(open_file(file, spec), spec, str(file))) for file in files]
    _check_present(opened, variables)
    if variables is None or strict:
        _check_components(opened, spec)
    if strict:
        _check_options(opened, spec)
    lazy = stay or sum(_bytes(ds, variables) for _, ds in opened) > MEMORY_BYTES
    chunk_bytes = STREAMED_CHUNK_BYTES if stay else None
    parts = []
    while opened:  # release each file once it is canonical: it may hold float64, twice as large
        source, ds = opened.pop(0)
        here = None if variables is None else [name for name in variables if name in ds.data_vars]
        wanted = variables if here == [] else here
        ds = ds if lazy else load(_only(ds, wanted), source, close=not isinstance(paths, xr.Dataset))
        parts.append(canonical_part(ds, spec, wanted, source, lazy, chunk_bytes))
    return parts


def join_parts(
    parts: Sequence[Part], spec: GridSpec | None = None, variables: Sequence[str] | None = None
) -> tuple[xr.Dataset, Origin]:
    """Join the parts of `open_parts`, with one step along the whole time axis."""
    spec = spec or GridSpec()
    ds, origin = join(parts, spec.snap_times)
    if variables is not None:
        ds = ds[list(variables)]
    source = parts[0].source if len(parts) == 1 else f"the {len(parts)} files together"
    if ds.sizes[TIME] > 1:
        time_step(ds[TIME].values, source)
    wanted = {n: p for n, p in spec.accumulated.items() if variables is None or n in variables}
    return deaccumulate(ds, wanted, source), origin


def canonicalize(
    ds: xr.Dataset,
    spec: GridSpec | None = None,
    variables: Sequence[str] | None = None,
    source: str = "dataset",
) -> tuple[xr.Dataset, Origin]:
    """Convert a dataset to canonical form.

    Canonical: every variable float32 with NaN for missing, (time, lat, lon) on a geographic grid, else
    (time, y, x); latitude ascending; longitude ascending from [-180, 180); times strictly increasing with one
    step, whole missing steps allowed (or, in short gaps, filled: `GridSpec.fill_gaps`); `units` among the
    attributes of each variable.

    Args:
        ds: Any decoded dataset.
        spec: Options for a source that does not describe itself.
        variables: Names to keep, in order; None for every field.
        source: Name of the dataset, for messages.

    Returns:
        The canonical dataset and its origin for `restore`.

    Raises:
        GridError, TimeAxisError, VariableError, UnitsError: The dataset cannot be used as it is.
    """
    spec = spec or GridSpec()
    series, own, apart = taken_apart(ds, spec.sources, variables)
    series = split_values(_masked(series, spec, source), spec.select, source)
    series = split_directions(series, spec, source)
    found, origin = _canonical(series, spec, own, source)
    for part in apart:
        fields, theirs = canonicalize(
            part.ds, _reading(part.source), part.names, f"{source} ({', '.join(part.names)})"
        )
        found, origin = joined(found, origin, fields, theirs, part.source)
    return (found if not apart or variables is None else found[list(variables)]), origin


def open_stored(
    stored: xr.Dataset, spec: GridSpec, variables: Sequence[str], source: str
) -> tuple[xr.Dataset, Origin]:
    """Open the variables of a request as `open_series` opens a file of the same content.

    Args:
        stored: Variables in memory with stored values and all attributes: packed, times as numbers.
        spec: Options for a source that does not describe itself.
        variables: Names to read, in order.
        source: Name of the dataset, for messages.

    Returns:
        The canonical dataset, see `canonicalize`, and its origin for `restore`.

    Raises:
        DataError: The attributes cannot be decoded.
        GridError, TimeAxisError, VariableError, UnitsError: The content cannot be used as it is.
    """
    series, own, apart = taken_apart(stored, spec.sources, variables)
    ds, origin = _open_stored(series, spec, own or [], source)
    for part in apart:
        title = f"{source} ({', '.join(part.names)})"
        found, theirs = _open_stored(part.ds, _reading(part.source), part.names, title)
        ds, origin = joined(ds, origin, found, theirs, part.source)
    return (ds[list(variables)] if apart else ds), origin


def _open_stored(
    stored: xr.Dataset, spec: GridSpec, variables: Sequence[str], source: str
) -> tuple[xr.Dataset, Origin]:
    try:
        decoded = decode_stored(stored, spec, source)
    except StconvError:
        raise
    except Exception as error:  # foreign attributes can break decoding in many ways
        raise DataError(f"The attributes of {source} cannot be decoded: {error}") from error
    ds = _series(decoded, spec, source)
    _check_present([(source, ds)], variables)
    return _canonical(_only(ds, variables), spec, variables, source)


def _series(ds: xr.Dataset, spec: GridSpec, source: str) -> xr.Dataset:
    """Convert a decoded dataset to a series; each of several selected values becomes a variable."""
    series = split_values(unfold(ds, spec, source), spec.select, source)
    return split_directions(series, spec, source)


def _canonical(
    ds: xr.Dataset, spec: GridSpec, variables: Sequence[str] | None, source: str
) -> tuple[xr.Dataset, Origin]:
    ds, origin = join_parts([canonical_part(ds, spec, variables, source, lazy=False)], spec, variables)
    return fill_gaps(ds, spec.fill_gaps), origin


def _masked(ds: xr.Dataset, spec: GridSpec, source: str) -> xr.Dataset:
    """Mark declared missing values in the fields of a dataset that was decoded elsewhere."""
    masked = {
        name: mask_declared(variable.variable, str(name), source, name in spec.valid_range)
        for name, variable in ds.data_vars.items()
        if variable.ndim > 1
    }
    return ds.assign({name: v for name, v in masked.items() if v is not ds.variables[name]})


def _check_present(opened: Sequence[tuple[str, xr.Dataset]], variables: Sequence[str] | None) -> None:
    """Refuse a name that no file holds; the message lists the available names."""
    present = dict.fromkeys(str(name) for _, ds in opened for name in ds.data_vars)
    absent = [name for name in variables or () if name not in present]
    if absent:
        source = opened[0][0] if len(opened) == 1 else f"the {len(opened)} files, '{opened[0][0]}' ..."
        raise VariableError(
            f"{source}: no variable '{absent[0]}'; available: {', '.join(present) or 'none'}. Correct the "
            "name, or give the file that holds it."
        )


def _check_components(opened: Sequence[tuple[str, xr.Dataset]], spec: GridSpec) -> None:
    """Refuse a direction to split that no file holds; the message lists the available names."""
    present = dict.fromkeys(str(name) for _, ds in opened for name in ds.data_vars)
    absent = [name for name in spec.components if not directions_in([name], list(present))]
    if absent:
        raise VariableError(
            f"{opened[0][0]}: no direction '{absent[0]}' to split into components; available: "
            f"{', '.join(present) or 'none'}. Correct `components`, with a space between several names."
        )


def _check_options(opened: Sequence[tuple[str, xr.Dataset]], spec: GridSpec) -> None:
    """Refuse an option for a variable that no file holds, unless a further source may hold it."""
    if spec.sources:
        return
    present = dict.fromkeys(str(name) for _, ds in opened for name in ds.data_vars)
    for option in ("valid_range", "units", "accumulated"):
        for name in getattr(spec, option):
            split = any(known.startswith(f"{name}_") for known in present)  # by level, or into components
            if name not in present and not split:
                raise VariableError(
                    f"{opened[0][0]}: `{option}` names '{name}', which is no variable; available: "
                    f"{', '.join(present) or 'none'}. Correct the name, or take it out."
                )


def _only(ds: xr.Dataset, variables: Sequence[str] | None) -> xr.Dataset:
    """Drop large variables that are not wanted, before reading."""
    if variables is None:
        return ds
    return ds.drop_vars([n for n in ds.data_vars if ds[n].ndim > 2 and n not in variables])


def _bytes(ds: xr.Dataset, variables: Sequence[str] | None) -> int:
    names = [n for n in ds.data_vars if variables is None or n in variables]
    return sum(4 * ds[name].size for name in names)
