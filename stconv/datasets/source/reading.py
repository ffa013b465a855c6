"""Opening of files on disk or on the network: the engine by the first bytes, and errors with a remedy."""

from __future__ import annotations

import importlib.util
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import xarray as xr

from stconv.cache import DOWNLOADS, cache_dir
from stconv.datasets.remote.address import Address, Place
from stconv.datasets.remote.download import downloaded
from stconv.datasets.remote.filesystem import content, size
from stconv.datasets.remote.kinds import store_kind
from stconv.datasets.remote.ranged_file import lost, opened
from stconv.datasets.source import arrays
from stconv.datasets.source.absent import hdf5_chunks, mark_absent
from stconv.datasets.source.completeness import HDF5, check_complete, check_end
from stconv.datasets.source.decoding import decode
from stconv.datasets.source.grib_skipped import tell_of_skipped
from stconv.datasets.source.grid_spec import GridSpec
from stconv.datasets.source.groups import tell_of_groups, with_ancestors
from stconv.datasets.source.zarr_store import open_zarr
from stconv.errors import FileError, StconvError

MOST_TRIES = 100
"""Number of parts of a damaged variable that are read to locate the damage."""
GRIB_KEYS = ("typeOfLevel", "stepType", "shortName", "paramId", "edition", "dataType")
"""Keys of ``GridSpec.select`` that select messages of a GRIB file instead of coordinates."""
LATEST_SUPERBLOCK = 8
"""Number of places where HDF5 may start after a user block: bytes 512, 1024, ... (HDF5 file format, II.A)."""
_ENGINES = {"netcdf3": "netcdf4", "hdf5": "netcdf4", "grib": "cfgrib"}
"""Engine of xarray by kind; the other kinds are stores of Zarr."""
_WHOLE = ("netcdf3", "grib", "numpy")
"""Kinds whose files on the network are copied before they are read."""
_STORES = ("zarr", "references", "icechunk")
_NOT_DATA = (
    (b"PK\x03\x04", "is a zip archive", "Unpack it and give the files inside."),
    (b"\x1f\x8b", "is gzip-compressed", "Unpack it first: `gunzip FILE`."),
    (b"BZh", "is bzip2-compressed", "Unpack it first: `bunzip2 FILE`."),
    (b"\xfd7zXZ", "is xz-compressed", "Unpack it first: `unxz FILE`."),
    (b"\x28\xb5\x2f\xfd", "is zstd-compressed", "Unpack it first: `unzstd FILE`."),
    (b"\x0e\x03\x13\x01", "is HDF 4", "Convert it first: `h4toh5convert FILE`, or GDAL's `gdal_translate`."),
    (b"II*\0", "is a TIFF", "Convert it first: `gdal_translate -of netCDF FILE FILE.nc`, with times."),
    (b"MM\0*", "is a TIFF", "Convert it first: `gdal_translate -of netCDF FILE FILE.nc`, with times."),
    (b"{", "is JSON, and holds no references of kerchunk", "Give NetCDF, Zarr or GRIB."),
    (b"version https://git-lfs", "is a Git LFS pointer, not the data", "Download the data: `git lfs pull`."),
    (bytes(8), "begins with zeros, as an interrupted download leaves it", "Download it again."),
    (b"<", "is a web page or XML, not data", "Download it again; the server returned a page."),
)


def open_file(path: Place, spec: GridSpec) -> xr.Dataset:
    """Open one source lazily and decode it: packed integers, fill values, times where possible.

    Of HDF5 files on the network only the needed bytes are read; files of other formats are copied into the
    cache first. Zarr stores, references and repositories are read chunk by chunk.

    Raises:
        FileError: The file is missing, empty, truncated or of another format, or its engine is not installed.
        ConnectionLostError: It is on the network, and the connection failed repeatedly.
    """
    kind = _kind(path)
    if isinstance(path, Address) and kind in _WHOLE:
        path = downloaded(path, cache_dir() / DOWNLOADS)
    if kind == "grib" and spec.engine is None and importlib.util.find_spec("cfgrib") is None:
        raise FileError(f"'{path}' is a GRIB file; reading it needs an extra: pip install 'stconv[grib]'.")
    if isinstance(path, Path):
        if kind == "numpy":
            return arrays.open_numpy(path, spec)
        check_complete(path, kind)
    try:
        ds = decode_stored(_open_stored(path, kind, spec), spec, str(path))
    except StconvError:
        raise
    except Exception as error:
        raise lost(str(path)) or FileError(_why_not(path, kind, spec, error)) from error
    if spec.engine is None:
        tell_of_groups(path, kind, ds, spec.group)
    return ds


def name_of(ds: xr.Dataset) -> str:
    """Name of a Dataset in messages: the file that it was opened from, if xarray knows it."""
    return str(ds.encoding.get("source") or "the Dataset")


def check_whole(ds: xr.Dataset) -> None:
    """Refuse a lazy Dataset whose file has become shorter: its library returns zeros for what is gone.

    Raises:
        FileError: A file is truncated.
    """
    lazy = [variable for variable in ds.variables.values() if not isinstance(variable._data, np.ndarray)]
    for source in dict.fromkeys(variable.encoding.get("source") for variable in lazy):
        path = Path(str(source))
        if not path.is_file():
            continue
        try:
            kind = _kind(path)
            check_end(path) if kind == "hdf5" else check_complete(path, kind)
        except FileError as error:
            raise FileError(f"{error} Then open the Dataset again.") from error


@contextmanager
def readable(ds: xr.Dataset) -> Iterator[None]:
    """Explain why the values of a lazy Dataset cannot be read: its file has changed, or is gone."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise _unreadable(name_of(ds), error, ds, held=True) from error


def load(ds: xr.Dataset, source: str, close: bool = True) -> xr.Dataset:
    """Read a dataset into memory and close its file.

    Args:
        ds: Dataset to read; with `close` it is read in place.
        source: File or dataset, for messages.
        close: Whether the file is ours to close; if not, the caller's Dataset stays as it is.

    Raises:
        FileError: The values cannot be read: a damaged or truncated file, or one that has changed or closed.
    """
    if not close:
        ds = ds.copy()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", xr.SerializationWarning)
            return ds.load()
    except (StconvError, MemoryError):
        raise
    except Exception as error:  # each format and compression raises its own errors
        raise lost(source) or _unreadable(source, error, ds, held=not close) from error
    finally:
        if close:
            ds.close()


def chunked(variable: xr.Variable, along: str, chunk_bytes: int, source: str) -> xr.Variable:
    """Wrap a variable on disk in a dask array whose read errors name the file.

    Chunks are whole along every dimension but one, and there a multiple of the chunks of the file, so that no
    compressed chunk is decoded twice.

    Args:
        variable: Variable that is read when indexed.
        along: Dimension to split into chunks, if the variable has it.
        chunk_bytes: Approximate size of a chunk as float32.
        source: File, for messages.
    """
    import dask.array

    chunks = list(variable.shape)
    if along in variable.dims:
        axis = variable.dims.index(along)
        n = max(chunk_bytes // (4 * max(variable.size // max(variable.shape[axis], 1), 1)), 1)
        stored = variable.encoding.get("chunksizes") or variable.encoding.get("chunks")
        if stored is not None and len(stored) == variable.ndim:
            n = -(-n // stored[axis]) * stored[axis]
        chunks[axis] = n
    data = dask.array.from_array(_OnDisk(variable, source), chunks, name=False, asarray=False)
    return xr.Variable(variable.dims, data, variable.attrs, variable.encoding)


_ONE_AT_A_TIME = threading.RLock()
"""Held by a thread that reads a file other than Zarr.

HDF5 has such a lock anyway. With this one, no thread of dask still reads a damaged file after another thread
has raised its error, when the file may be closed.
"""


class _OnDisk:
    """Array for dask that returns values of a variable, or raises a FileError, and reads no more after it."""

    def __init__(self, variable: xr.Variable, source: str) -> None:
        self.variable, self.source = variable, source
        self.shape, self.ndim, self.dtype = variable.shape, variable.ndim, variable.dtype
        self.n_bytes = _file_bytes(source)
        self.is_zarr = "chunks" in variable.encoding and "chunksizes" not in variable.encoding
        self.failed: StconvError | None = None

    def __getitem__(self, key: Any) -> np.ndarray:
        with nullcontext() if self.is_zarr else _ONE_AT_A_TIME:
            if self.failed is not None:
                raise self.failed
            return self._read(key)

    def _read(self, key: Any) -> np.ndarray:
        try:
            values = np.asarray(self.variable[key].values)
            if _file_bytes(self.source) < self.n_bytes:  # HDF5 returns zeros past the end of an open file
                raise OSError("it has become shorter since it was opened")
            return values
        except (StconvError, MemoryError):
            raise
        except Exception as error:  # each format and compression raises its own errors
            broken = xr.Dataset({"values": self.variable})
            self.failed = lost(self.source) or _unreadable(self.source, error, broken)
            raise self.failed from error


def _file_bytes(source: str) -> int:
    path = Path(source)
    return path.stat().st_size if path.is_file() else 0


def _unreadable(source: str, error: Exception, ds: xr.Dataset, held: bool = False) -> FileError:
    """Explain values that cannot be read; `held`: below a Dataset that the caller has opened."""
    return FileError(
        f"{source} opens but its values cannot be read{_broken(ds)} ({error}). It is damaged or "
        "truncated, or has changed since: download or write it again."
        + (" Then open the Dataset again, or load it while the file is whole: `ds.load()`." if held else "")
    )


def _broken(ds: xr.Dataset) -> str:
    """Locate the damage: the steps of a variable that cannot be read, by some trial reads."""
    for name, variable in ds.variables.items():
        if isinstance(variable._data, np.ndarray) or not variable.ndim:
            continue
        stored = variable.encoding.get("chunks") or variable.encoding.get("chunksizes") or variable.shape
        n, size = variable.shape[0], max(stored[0], -(-variable.shape[0] // MOST_TRIES), 1)
        broken = [start for start in range(0, n, size) if not _readable(variable[start : start + size])]
        if broken:
            last = min(broken[-1] + size, n) - 1
            return f": '{name}' at step {broken[0]} to {last} along '{variable.dims[0]}'"
    return ""


def _readable(variable: xr.Variable) -> bool:
    try:
        variable.values  # noqa: B018 - reads
    except Exception:
        return False
    return True


def _open_stored(path: Place, kind: str, spec: GridSpec) -> xr.Dataset:
    remote = isinstance(path, Address)
    options: dict[str, Any] = {"engine": spec.engine or ("h5netcdf" if remote else _ENGINES.get(kind))}
    if kind == "grib":
        keys = {key: value for key, value in spec.select.items() if key in GRIB_KEYS}
        options["backend_kwargs"] = {"indexpath": "", "filter_by_keys": keys}
    if options["engine"] == "h5netcdf":
        options["phony_dims"] = "access"  # as netCDF4 names the dimensions of plain HDF5
    file: Any = opened(path) if isinstance(path, Address) and kind == "hdf5" else path

    def open_group(group: str | None) -> xr.Dataset:
        if kind in _STORES:
            return open_zarr(path, kind, group)
        inside = {} if group is None else {"group": group}
        with tell_of_skipped(str(path)):
            ds = xr.open_dataset(file, decode_cf=False, **(options | inside))
        if remote or options["engine"] == "netcdf4":
            _mark_absent_hdf5(file, group, ds)
        return ds

    with _quiet():
        if spec.group is None or options["engine"] == "cfgrib":
            return open_group(None)
        return with_ancestors(open_group(spec.group), spec.group, open_group)


def _mark_absent_hdf5(path: Any, group: str | None, ds: xr.Dataset) -> None:
    """Mark values that were never written to a NetCDF 4 or HDF5 file, or open file, see `mark_absent`."""
    import h5py

    if isinstance(path, Path) and not h5py.is_hdf5(path):
        return
    with h5py.File(path, "r") as file:
        inside = file[group or "/"]

        for name, variable in ds.variables.items():
            item = inside.get(str(name))
            stored = hdf5_chunks(item) if isinstance(item, h5py.Dataset) and item.shape else None
            if stored is not None:
                mark_absent(str(name), variable.dims, variable.dtype, variable.attrs, stored, str(path))


def decode_stored(stored: xr.Dataset, spec: GridSpec, source: str) -> xr.Dataset:
    """Decode a stored dataset, from a file or a request.

    Raises:
        VariableError: A scale or an offset is not a number.
    """
    with _quiet():
        return decode(stored, source, _with_own_range(stored, spec))


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress warnings of xarray about dates out of range, and of NumPy about overflow."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xr.SerializationWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def _with_own_range(ds: xr.Dataset, spec: GridSpec) -> list[str]:
    """Variables whose valid range the user states; `t` for `t_500`, which `select` derives from it."""
    stated = spec.valid_range
    return [
        str(name)
        for name in ds.variables
        if name in stated or any(key.startswith(f"{name}_") and key not in ds for key in stated)
    ]


def _kind(path: Place) -> str:
    """Tell the format from the first bytes: "netcdf3", "hdf5", "grib", "numpy", or the kind of a store."""
    if found := store_kind(path):
        return found
    head, signatures = _beginning(path)
    if not head:
        raise FileError(f"'{path}' is empty (0 bytes). Download or write it again.")
    if head[:4] in (b"CDF\x01", b"CDF\x02", b"CDF\x05"):
        return "netcdf3"
    if HDF5 in signatures:
        return "hdf5"
    if b"GRIB" in head:
        return "grib"
    if head.startswith(b"\x93NUMPY") or (path.suffix.lower() == ".npz" and head.startswith(b"PK\x03\x04")):
        return "numpy"
    for start, what, remedy in _NOT_DATA:
        if head.lstrip().startswith(start):
            raise FileError(f"'{path}' {what}; expected NetCDF, Zarr or GRIB. {remedy}")
    raise FileError(
        f"'{path}' is not a data file: expected NetCDF, Zarr or GRIB, found the first bytes {head[:8]!r}. "
        "Convert it, for example with `xarray.Dataset.to_netcdf`."
    )


def _beginning(path: Place) -> tuple[bytes, list[bytes]]:
    """The first bytes of a file, and those wherever HDF5 may begin."""
    places = [512 * 2**power for power in range(LATEST_SUPERBLOCK)]
    if isinstance(path, Address):
        n_bytes = min(size(path) or 0, places[-1] + 8)
        start = content(path, 0, n_bytes) if n_bytes else b""
        return start[:512], [start[:8], *(start[at : at + 8] for at in places)]
    try:
        with path.open("rb") as file:
            head = file.read(512)
            return head, [head[:8], *(_at(file, at) for at in places)]
    except OSError as error:
        raise FileError(f"'{path}' cannot be read: {error.strerror}.") from error


def _at(file: BinaryIO, position: int) -> bytes:
    file.seek(position)
    return file.read(8)


def _why_not(path: Place, kind: str, spec: GridSpec, error: Exception) -> str:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if kind == "grib" and ("filter_by_keys" in str(error) or "multiple values for key" in str(error)):
        return (
            f"'{path}' holds GRIB messages that do not form one grid: {reason}. Select some with "
            f"`select`, for example {{typeOfLevel: surface}} or {{shortName: 2t}}."
        )
    if kind == "zarr" and "array already exists" in reason:
        return (
            f"'{path}' is a single Zarr array; expected a group of arrays, with the coordinates of the "
            "field. Write the field with xarray: `Dataset.to_zarr`."
        )
    if spec.group is not None and isinstance(error, (KeyError, OSError, FileNotFoundError)):
        return f"'{path}' cannot be opened at group '{spec.group}': {reason}. Check `group`."
    if kind == "hdf5" and isinstance(error, OSError):
        return f"'{path}' is damaged or truncated ({reason}). Download or write it again."
    return f"'{path}' ({kind}) cannot be opened: {reason}. Check that it is complete, or state `engine`."
