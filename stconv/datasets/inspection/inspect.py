"""The contents of a source: axes, step, gaps, units, ranges, windows, and advice."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from stconv.datasets.inspection.advice import advise
from stconv.datasets.inspection.description import AxisSummary, Description, Gap, VariableSummary
from stconv.datasets.inspection.statistics import summarize
from stconv.datasets.remote.address import Address, Place
from stconv.datasets.remote.filesystem import total_bytes
from stconv.datasets.series.windows import WindowSpec, reference_indices
from stconv.datasets.source.attributes import SourceWarning
from stconv.datasets.source.axis_match import even
from stconv.datasets.source.blocks import Thinned, blocks, sampled
from stconv.datasets.source.fields import worth_telling
from stconv.datasets.source.finding import find_files
from stconv.datasets.source.gaps import fill_gaps
from stconv.datasets.source.grid import DataSource, join_parts, open_parts
from stconv.datasets.source.grid_spec import GridSpec
from stconv.datasets.source.origin import Origin, decode_coordinate
from stconv.datasets.source.physics import turn_in
from stconv.datasets.source.restarts import UNITS_OF_ACCUMULATIONS, likely_restarts
from stconv.datasets.source.time_axis import TimeStep, breaks, missing_steps, text, time_step
from stconv.dims import LAT, TIME, Y

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PIECE_BYTES = 8 * 2**20
MOST_BYTES = 2 * 2**30
"""Bytes of a variable that are read; a larger one is judged by evenly spaced chunks of steps."""
TRAIN_SHARE = 0.6


def describe(
    source: DataSource,
    spec: GridSpec | None = None,
    variables: Sequence[str] | None = None,
    t_in: int = 5,
    leads: int = 5,
) -> tuple[Description, xr.Dataset]:
    """Open a source and describe it.

    Args:
        source: Files, folders or patterns, or a Dataset, as for `open_series`.
        spec: Settings for reading the files, as for `open_series`.
        variables: Names to describe; None for every field.
        t_in: Input steps of the windows to count.
        leads: Target steps of the windows to count.

    Returns:
        The description, and the canonical dataset.

    Raises:
        DataError: The source cannot be used as it is; the message says why, and what to do.
    """
    spec = spec or GridSpec()
    files: list[Place] = [] if isinstance(source, xr.Dataset) else find_files(source)
    opened = _open(source if isinstance(source, xr.Dataset) else files, spec, variables)
    ds, origin = opened.ds, opened.origin
    times = ds[TIME].values
    step = time_step(times) if times.size > 1 else None
    holes = breaks(times, step) if step else ()
    filled = fill_gaps(ds, spec.fill_gaps)
    n_steps = filled.sizes[TIME]
    longer = breaks(filled[TIME].values, step) if step else ()
    window = WindowSpec.consecutive(t_in, leads)
    description = Description(
        files=[str(file) for file in files] or [opened.name],
        disk_bytes=sum(_disk_bytes(file) for file in files),
        grid="latitude and longitude"
        if LAT in ds.dims
        else "rows and columns (projected, rotated or pixel grid)",
        axes=_axes(ds, origin),
        calendar=origin.calendar,
        first=text(times[0]),
        last=text(times[-1]),
        n_steps=int(times.size),
        step=step.label if step else None,
        gaps=_gaps(times, step, holes) if step else [],
        filled_steps=n_steps - int(times.size),
        repeated_steps=opened.n_steps_in_files - int(times.size),
        variables=[
            replace(_described(ds[name], spec.fill_gaps, window, len(ds)), restarts=_restarts(ds[name], step))
            for name in ds.data_vars
        ],
        left_out=opened.left_out,
        memory_bytes=sum(4 * ds[name].size for name in ds.data_vars),
        t_in=t_in,
        leads=leads,
        n_windows=len(reference_indices(range(n_steps), window, longer)),
        n_training_windows=len(
            reference_indices(range(max(int(TRAIN_SHARE * n_steps) - window.span, 0)), window, longer)
        ),
    )
    description.advice.extend([*opened.remarks, *advise(description)])
    return description, ds


@dataclass(frozen=True)
class _Opened:
    """A source that was opened, and what was noticed.

    Attributes:
        ds: Canonical dataset.
        origin: Names, order and attributes of the files.
        remarks: Warnings of the files.
        n_steps_in_files: Steps of all files together, repeated ones included.
        name: First file, or the name of the Dataset.
        left_out: Fields that are no part of the dataset, with the reason.
    """

    ds: xr.Dataset
    origin: Origin
    remarks: list[str]
    n_steps_in_files: int
    name: str
    left_out: dict[str, str]


def _open(files: DataSource, spec: GridSpec, variables: Sequence[str] | None) -> _Opened:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SourceWarning)
        parts = open_parts(files, spec, variables, strict=True)
        ds, origin = join_parts(parts, spec, variables)
    remarks = dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, SourceWarning))
    first_field = next(iter(ds.data_vars))
    return _Opened(
        ds,
        origin,
        list(remarks),
        sum(part.ds.sizes[TIME] for part in parts if first_field in part.ds),
        parts[0].source,
        {n: why for part in parts for n, why in worth_telling(part.left_out).items() if n not in ds},
    )


def plot(ds: xr.Dataset) -> Figure:
    """Draw the last field and the time series of the grid mean, one row per variable (at most four)."""
    from matplotlib.dates import ConciseDateFormatter
    from matplotlib.figure import Figure

    names = [str(name) for name in ds.data_vars][:4]
    figure = Figure(figsize=(11, 3.2 * len(names)), layout="constrained", dpi=110)
    panels = figure.subplots(len(names), 2, squeeze=False)
    row = LAT if LAT in ds.dims else Y
    every = max(ds.sizes[TIME] // 2000, 1)
    for name, (left, right) in zip(names, panels, strict=True):
        last = ds[name].isel({TIME: -1})
        y, x = ds[row].values, ds[last.dims[1]].values
        left.set_facecolor("lightgray")  # missing cells
        image = left.pcolormesh(x, y, last.values, shading="nearest")
        label = f"{name} [{ds[name].attrs['units']}]"
        figure.colorbar(image, ax=left, label=label)
        left.set_title(text(ds[TIME].values[-1]), fontsize=10)
        left.set(xlabel=str(last.dims[1]), ylabel=row)
        series = ds[name].isel({TIME: slice(None, None, every)})
        times, means = ds[TIME].values, series.mean(series.dims[1:]).values
        right.set_ylabel(f"mean {label}")
        if times.dtype.kind == "M":
            right.plot(times[::every], means, linewidth=0.8)
            locator = right.xaxis.get_major_locator()
            right.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
        else:  # a date of another calendar is no date of matplotlib
            right.plot(np.arange(0, times.size, every), means, linewidth=0.8)
            right.set_xlabel(f"step, from {text(times[0])}")
    return figure


def _axes(ds: xr.Dataset, origin: Origin) -> list[AxisSummary]:
    """The horizontal axes as they are stored in the file."""
    result = []
    for dim in origin.sizes:
        name = origin.names.get(dim, origin.dims[dim])
        values = decode_coordinate(origin, name)
        if values is None or values.dtype.kind not in "iuf":
            result.append(AxisSummary(name, origin.sizes[dim], None, None, None))
            continue
        spacing = float(f"{np.abs(np.diff(values.astype(float))).mean():.6g}") if even(values) else None
        result.append(AxisSummary(name, int(values.size), float(values[0]), float(values[-1]), spacing))
    return result


def _gaps(times: np.ndarray, step: TimeStep, holes: Sequence[int]) -> list[Gap]:
    missing = missing_steps(times, step)
    return [Gap(text(times[i - 1]), text(times[i]), int(missing[i - 1])) for i in holes]


def _pieces(variable: xr.DataArray, passing: Thinned | None) -> Iterator[np.ndarray]:
    """The values in pieces that fit a cache, read in blocks that suit the disk; some blocks are kept."""
    n = max(PIECE_BYTES // (4 * max(variable.size // variable.sizes[TIME], 1)), 1)
    for block in blocks(variable):
        if passing is not None:
            passing.take(block)
        for start in range(0, len(block), n):
            yield block[start : start + n]


def _described(variable: xr.DataArray, longest: int, window: WindowSpec, n_variables: int) -> VariableSummary:
    """Compute statistics and reference errors with filled gaps; each frame is read once.

    Of a very large variable a sample is read, and there are no reference errors.
    """
    sample = sampled(variable, MOST_BYTES)
    if sample is not variable:
        found = summarize(sample, _pieces(sample, None))
        return replace(found, memory_bytes=4 * variable.size, sampled_steps=int(sample.sizes[TIME]))
    times = fill_gaps(xr.Dataset(coords={TIME: variable[TIME]}), longest)[TIME].values
    if times.size < 3 * window.span:
        return summarize(variable, _pieces(variable, None))
    from stconv.datasets.inspection.baselines import baseline_errors, persistence_gain, strides
    from stconv.datasets.inspection.weekly import weekly_cycle_pays

    every = strides(variable, times.size)
    passing = None if every is None else Thinned(variable, every)
    summary = summarize(variable, _pieces(variable, passing))
    if passing is None or summary.mean is None:
        return summary
    name = str(variable.name)
    for_errors, for_weeks = (
        fill_gaps(part.to_dataset(name=name), longest)[name] for part in passing.arrays()
    )
    holes = breaks(times, time_step(times))
    turn = turn_in(summary.units) if summary.direction else None
    persistence, climatology = baseline_errors(for_errors, window, holes, turn)
    return replace(
        summary,
        persistence_rmse=persistence,
        climatology_rmse=climatology,
        persistence_gain=None if summary.direction else persistence_gain(for_errors, window, holes),
        weekly_gain=None if summary.direction else weekly_cycle_pays(for_weeks, n_variables),
    )


def _restarts(variable: xr.DataArray, step: TimeStep | None) -> str:
    """How an accumulation restarts, as `GridSpec.accumulated` states it; empty for other variables."""
    if step is None or variable.attrs["units"] not in UNITS_OF_ACCUMULATIONS:
        return ""
    found = likely_restarts(variable, variable[TIME].values, step)
    return "" if found is None else found.text


def _disk_bytes(path: Place) -> int:
    """Bytes of a file or a folder; 0 on the network if the server does not say."""
    if isinstance(path, Address):
        return total_bytes(path) or 0
    return (
        sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
        if path.is_dir()
        else path.stat().st_size
    )
