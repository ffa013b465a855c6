"""A series as one NumPy array, in memory or mapped, and its hash."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from stconv.cache import SERIES, cache_dir
from stconv.datasets.remote.address import Place
from stconv.datasets.series.cache import available_bytes, cached, fingerprint, forget, has_room
from stconv.datasets.series.streamed import StreamedValues, common_edges, stream
from stconv.datasets.source import time_axis
from stconv.datasets.source.attributes import SourceWarning
from stconv.datasets.source.blocks import block_edges
from stconv.datasets.source.cycles import cycles
from stconv.datasets.source.directions import holds_directions
from stconv.datasets.source.precision import center_of
from stconv.datasets.source.sentinels import refuse_unusable
from stconv.datasets.source.time_axis import iso
from stconv.dims import LAT, LON, TIME, X, Y
from stconv.errors import FileError, VariableError

if TYPE_CHECKING:
    from stconv.datasets.source.grid import Origin
    from stconv.datasets.source.time_axis import TimeStep

Cache = Literal["never", "auto", "always"]
"""Whether a series is copied to the disk."""
LEAST_STREAM_BYTES = 64 * 2**20
"""Memory for blocks of a streamed series, however small its share of the memory is."""
MEMORY_SHARE = 0.5
"""A series that takes more than this fraction of the available memory is cached on disk."""
_BYTES_AT_ONCE = 64 * 2**20


@dataclass
class Series:
    """A gridded time series, held in memory, mapped from a cache file, or read from its source.

    Attributes:
        values: float32, (time, channel, lat, lon), C-contiguous, physical units, NaN missing; targets first.
            Of a streamed series, an array that reads blocks when it is indexed (`StreamedValues`).
        times: datetime64 or cftime, (time,), increasing.
        variables: Name of each channel.
        n_targets: Leading channels that are targets.
        units: Units by variable name.
        lat: Latitude in degrees north, or the y coordinate of a grid that is not geographic.
        lon: Longitude in degrees east, or the x coordinate.
        geographic: Whether the axes are latitude and longitude.
        step: Time step.
        breaks: Indices i where step i does not directly follow step i - 1.
        calendar: CF name of the calendar.
        origin: Form of the source, for `grid.restore`.
        values_hash: sha256 over the values alone.
        centers: Numbers subtracted in float64, by variable: `values` are departures from them where float32
            cannot resolve physical values (6.371e6 m that vary by centimeters).
        static: Static fields from files by name, float32, (lat, lon).
        content_hash: sha256 over values, axes, names and units.
    """

    values: np.ndarray
    times: np.ndarray
    variables: tuple[str, ...]
    n_targets: int
    units: dict[str, str]
    lat: np.ndarray
    lon: np.ndarray
    geographic: bool
    step: TimeStep
    breaks: tuple[int, ...] = ()
    calendar: str = "standard"
    origin: Origin | None = None
    centers: dict[str, float] = field(default_factory=dict)
    static: dict[str, np.ndarray] = field(default_factory=dict)
    values_hash: str = field(default="")
    content_hash: str = field(default="")

    def __post_init__(self) -> None:
        if not self.values_hash:
            self.values_hash = hashlib.sha256(np.ascontiguousarray(self.values).data).hexdigest()
        if not self.content_hash:
            self.content_hash = hash_content(self)

    @property
    def on_disk(self) -> bool:
        """Whether the values are mapped from a cache file."""
        return isinstance(self.values, np.memmap)

    @property
    def streamed(self) -> bool:
        """Whether the values stay in their source."""
        return isinstance(self.values, StreamedValues)

    @cached_property
    def cycles(self) -> np.ndarray:
        """Fractions of day, year and week of each step, float64, (time, 3)."""
        return cycles(self.times)

    def __len__(self) -> int:
        return len(self.values)


def load_series(
    ds: xr.Dataset,
    origin: Origin | None,
    inputs: Sequence[str],
    targets: Sequence[str] | None = None,
    files: Sequence[Place] = (),
    settings: Any = None,
    memory_share: float = MEMORY_SHARE,
    cache: Cache = "auto",
) -> Series:
    """Read variables of a canonical Dataset block by block, into memory or, if too large, into a cache file.

    Values on disk or on the network may stay there: then windows are read when they are needed.

    Args:
        ds: Canonical Dataset, from `grid.open_series`.
        origin: Its origin.
        inputs: Input variables.
        targets: Forecast variables; default: the inputs.
        files: Files of the dataset; without them the series is always held in memory.
        settings: Read options; with the files, they form the key of the cache.
        memory_share: Fraction of the available memory that the series may take.
        cache: "always" copies the series into a cache file, "never" leaves lazy values where they are, "auto"
            does the first if it does not fit in memory, and the second if it does not fit on the disk either.

    Returns:
        The series; its channels are the targets, then the other inputs.

    Raises:
        VariableError: A variable is absent, or named twice.
        FileError: There is no space for the cache, or a file changed while it was built.
        DataError: A variable holds infinite values, or an apparent undeclared missing value.
    """
    variables = channel_order(inputs, targets)
    _check_present(ds, variables, {"input": inputs, "target": targets or []})
    dims = (TIME, LAT, LON) if LAT in ds.dims else (TIME, Y, X)
    n_time, n_lat, n_lon = (ds.sizes[dim] for dim in dims)
    shape = (n_time, len(variables), n_lat, n_lon)
    arrays = [ds[name].transpose(*dims) for name in variables]
    times = ds[TIME].values
    settled = getattr(settings, "valid_range", {})
    found = {name: center_of(array) for name, array in zip(variables, arrays, strict=True)}
    centers = {name: center for name, center in found.items() if center}

    stored = all(array.chunks is not None for array in arrays)

    def read(start: int, stop: int, in_threads: bool = True) -> np.ndarray:
        parts = [array[start:stop] for array in arrays]
        steps = [np.asarray(part.values if in_threads else _alone(part)) for part in parts]
        for name, raw in zip(variables, steps, strict=True):
            refuse_unusable(raw[:, None], [name], times[start:stop], settled)
        centered = [f - centers[n] if n in centers else f for n, f in zip(variables, steps, strict=True)]
        return np.stack(centered, axis=1, dtype=np.float32, casting="same_kind")

    n_bytes, memory_bytes = 4 * math.prod(shape), int(memory_share * available_bytes())
    needs_key = cache == "always" or (cache == "auto" and n_bytes > memory_bytes)
    key = fingerprint(files, (variables, settings)) if needs_key else ""  # it looks at every file
    values: Any
    where = _place(cache, n_bytes, memory_bytes, bool(files), stored, cache_dir() / SERIES, key)
    if where == "source":
        values, values_hash = stream(
            lambda start, stop: read(start, stop, in_threads=False),
            common_edges(arrays),
            shape,
            max(memory_bytes // 2, LEAST_STREAM_BYTES),
        )
    elif where == "disk":
        edges = block_edges(arrays[0], max(1, _BYTES_AT_ONCE // (4 * math.prod(shape[1:]))))
        values, values_hash = cached(cache_dir() / SERIES, key, shape, read, edges)
        if fingerprint(files, (variables, settings)) != key:
            forget(cache_dir() / SERIES, key)
            raise _changed_meanwhile(files)
    else:
        edges = block_edges(arrays[0], max(1, _BYTES_AT_ONCE // (4 * math.prod(shape[1:]))))
        values = np.empty(shape, dtype=np.float32)
        for start, stop in pairwise(edges):
            values[start:stop] = read(start, stop)
        values_hash = hashlib.sha256(values.data).hexdigest()
    _warn_of_directions(ds, targets or inputs)
    step = time_axis.time_step(times)
    return Series(
        values=values,
        times=times,
        variables=variables,
        n_targets=len(targets or inputs),
        units={name: str(ds[name].attrs.get("units", "")) for name in variables},
        lat=_axis(ds, dims[1]),
        lon=_axis(ds, dims[2]),
        geographic=dims[1] == LAT,
        step=step,
        breaks=tuple(time_axis.breaks(times, step)),
        calendar=time_axis.calendar_of(times),
        origin=origin,
        centers=centers,
        values_hash=values_hash,
    )


def _place(
    cache: Cache, n_bytes: int, memory_bytes: int, has_files: bool, stored: bool, folder: Path, key: str
) -> Literal["memory", "disk", "source"]:
    """Choose where the values are read from during training; see `load_series`."""
    if cache == "never":
        return "source" if stored else "memory"
    if not has_files or (cache == "auto" and n_bytes <= memory_bytes):
        return "memory"
    if cache == "auto" and stored and not has_room(folder, key, n_bytes):
        warnings.warn(
            f"The series ({n_bytes / 1e9:.3g} GB) fits neither in memory nor into '{folder}': its windows "
            "are read from the source in every epoch. `data.cache: always` would stop instead.",
            SourceWarning,
            stacklevel=3,
        )
        return "source"
    return "disk"


def _alone(part: xr.DataArray) -> np.ndarray:
    """Compute a lazy part in this thread: several parts are read at once by threads of their own."""
    return np.asarray(part.data.compute(scheduler="synchronous"))


def _check_present(ds: xr.Dataset, variables: Sequence[str], roles: Mapping[str, Sequence[str]]) -> None:
    absent = next((name for name in variables if name not in ds.data_vars), None)
    if absent is not None:
        named_as = " and ".join(role for role, names in roles.items() if absent in names)
        present = ", ".join(sorted(str(name) for name in ds.data_vars))
        raise VariableError(f"variable '{absent}', named as {named_as}, is absent; the data have: {present}.")


def _changed_meanwhile(files: Sequence[Place]) -> FileError:
    return FileError(
        f"{', '.join(file.name for file in files[:3])}: changed while the series was cached, so that old and "
        "new values may be mixed. The cache was discarded; start again when the file is complete."
    )


def _warn_of_directions(ds: xr.Dataset, targets: Sequence[str]) -> None:
    """Warn that directions are trained on and scored as plain numbers."""
    for name in targets:
        if holds_directions(ds[name]):
            warnings.warn(
                f"The target '{name}' is a direction, but is trained on and scored as a plain number: from "
                f"359 to 1 degrees is an error of 358. Use `grid: {{components: [{name}]}}` and the "
                f"targets {name}_sin and {name}_cos.",
                SourceWarning,
                stacklevel=3,
            )


def channel_order(inputs: Sequence[str], targets: Sequence[str] | None = None) -> tuple[str, ...]:
    """Channels of a series: the targets, then the other inputs.

    Raises:
        VariableError: A list is empty or names a variable twice.
    """
    targets = inputs if targets is None else targets
    for role, names in (("inputs", inputs), ("targets", targets)):
        if not names:
            raise VariableError(f"{role} is empty; name at least one variable.")
        if len(set(names)) < len(names):
            raise VariableError(f"{role} {list(names)} names a variable twice.")
    return (*targets, *(name for name in inputs if name not in targets))


def hash_content(series: Series) -> str:
    """sha256 over values, times, coordinates, names and units."""
    digest = hashlib.sha256()
    parts: Iterable[Any] = (
        repr(
            (
                series.variables,
                series.n_targets,
                series.values.shape,
                sorted(series.units.items()),
                series.calendar,
            )
        ),
        " ".join(iso(time) for time in series.times),
    )
    for part in parts:
        digest.update(part.encode())
    for array in (series.lat, series.lon):
        digest.update(np.ascontiguousarray(array, dtype=np.float64).tobytes())
    if series.centers:
        digest.update(repr(sorted(series.centers.items())).encode())
    digest.update(series.values_hash.encode())
    return digest.hexdigest()


def _axis(ds: xr.Dataset, dim: str) -> np.ndarray:
    return (
        np.asarray(ds[dim].values, dtype=np.float64) if dim in ds.coords else np.arange(float(ds.sizes[dim]))
    )
