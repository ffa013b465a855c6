"""Joining of canonical datasets to one: successive times, different variables, or both."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from stconv.clock import GREGORIAN_CALENDARS
from stconv.datasets.source.attributes import SourceWarning, ncatted
from stconv.datasets.source.axis_match import difference, same_axis, tolerance
from stconv.datasets.source.axis_units import length_in, units_of
from stconv.datasets.source.calendars import Dated, one_calendar
from stconv.datasets.source.origin import Origin
from stconv.datasets.source.snapping import snapped
from stconv.datasets.source.time_axis import calendar_of, has_calendar_step, text
from stconv.datasets.source.units import same_units
from stconv.dims import LAT, LON, TIME, X, Y
from stconv.errors import GridError, TimeAxisError, UnitsError


@dataclass(frozen=True)
class Part:
    """One of several canonical datasets, its file, and the reasons why variables are not fields."""

    source: str
    ds: xr.Dataset
    origin: Origin
    left_out: dict[str, str]


def join(parts: Sequence[Part], snap_times: bool = False) -> tuple[xr.Dataset, Origin]:
    """Join canonical datasets on one grid.

    Files may be in any order. A step that two files share is kept once if the values are equal.

    Args:
        parts: One canonical dataset or more.
        snap_times: Whether to move nearly regular times to their step, with a warning by how much.

    Returns:
        One dataset with increasing times, and the origin of the first file, with the variables of all files.

    Raises:
        GridError: The grids differ.
        UnitsError: A variable has different units.
        TimeAxisError: Calendars differ, two files hold different values for one time, variables cover
            different times, or times to snap are not nearly regular.
    """
    for part in parts[1:]:
        _check_same_grid(parts[0], part)
    parts = _of_one_calendar(parts)
    groups: dict[tuple[int, ...], list[str]] = {}
    for name in dict.fromkeys(str(name) for part in parts for name in part.ds.data_vars):
        holders = tuple(i for i, part in enumerate(parts) if name in part.ds)
        groups.setdefault(holders, []).append(name)
    joined = [_join_times([parts[i] for i in holders], names) for holders, names in groups.items()]
    if snap_times:
        source = parts[0].source if len(parts) == 1 else f"the {len(parts)} files together"
        joined = [_at_one_step(ds, source) for ds in joined]
    first = joined[0]
    for other in joined[1:]:
        if not np.array_equal(first[TIME].values, other[TIME].values):
            raise TimeAxisError(
                f"Variables {list(first.data_vars)} cover {_period(first)}, {list(other.data_vars)} cover "
                f"{_period(other)}; expected the same times. Give the missing files, or shorten the "
                "longer ones."
            )
    ds = first
    if len(joined) > 1:
        ds = xr.merge(joined, join="override", compat="override", combine_attrs="override")
    fields = {name: part.origin.fields[name] for part in reversed(parts) for name in part.origin.fields}
    return ds, replace(parts[0].origin, fields=fields, calendar=calendar_of(ds[TIME].values))


def _of_one_calendar(parts: Sequence[Part]) -> list[Part]:
    """Convert the times of the parts to one type and calendar; warns if a calendar is replaced."""
    before = [part.ds[TIME].values for part in parts]
    times = one_calendar([Dated(part.source, here) for part, here in zip(parts, before, strict=True)])
    calendars = {calendar_of(here) for here in before}
    if len(calendars) > 1 and not calendars <= set(GREGORIAN_CALENDARS):
        warnings.warn(
            f"The files have calendars {', '.join(sorted(calendars))}; all dates are read as dates of "
            f"'{calendar_of(times[0])}'.",
            SourceWarning,
            stacklevel=2,
        )
    return [
        part if here is old else replace(part, ds=_with_times(part.ds, here))
        for part, old, here in zip(parts, before, times, strict=True)
    ]


def _at_one_step(ds: xr.Dataset, source: str) -> xr.Dataset:
    """Move the times of a dataset to their step; warns by how much."""
    times = ds[TIME].values
    if times.size < 2 or has_calendar_step(times):
        return ds
    found = snapped(times, source)
    if found.moved_seconds > 0:
        warnings.warn(f"{source}: times snapped to {found.told}.", SourceWarning, stacklevel=2)
    return _with_times(ds, found.times)


def _with_times(ds: xr.Dataset, times: np.ndarray) -> xr.Dataset:
    return ds.assign_coords({TIME: xr.Variable((TIME,), times, ds[TIME].attrs, ds[TIME].encoding)})


def _join_times(parts: list[Part], names: list[str]) -> xr.Dataset:
    """Concatenate successive files."""
    _check_same_units(parts, names)
    common = set.intersection(*(set(part.ds.coords) for part in parts))
    stripped = [part.ds[names].drop_vars([n for n in part.ds.coords if n not in common]) for part in parts]
    if len(parts) == 1:
        return stripped[0]
    ds = xr.concat(
        stripped, TIME, data_vars="minimal", coords="minimal", compat="override", join="override",
        combine_attrs="override",
    )  # fmt: skip
    times = ds[TIME].values
    file_of = np.repeat(np.arange(len(parts)), [part.ds.sizes[TIME] for part in parts])
    order = np.argsort(times, kind="stable")
    repeated = np.flatnonzero(times[order][1:] == times[order][:-1]) + 1
    for i in repeated:
        before, here = int(order[i - 1]), int(order[i])
        unequal = [n for n in names if not _equal(ds[n].isel({TIME: before}), ds[n].isel({TIME: here}))]
        if unequal:
            raise TimeAxisError(
                f"'{parts[file_of[before]].source}' and '{parts[file_of[here]].source}' hold different "
                f"values of {', '.join(unequal)} for one time, {text(times[here])} ({repeated.size} times "
                "occur more than once). Expected equal values where files overlap. Check their time "
                "axes, or leave one file out."
            )
    kept = np.delete(order, repeated)
    return ds if np.array_equal(kept, np.arange(times.size)) else ds.isel({TIME: kept})


def _equal(first: xr.DataArray, second: xr.DataArray) -> bool:
    return bool(np.array_equal(first.values, second.values, equal_nan=True))


def _check_same_grid(first: Part, part: Part) -> None:
    for dim in (LAT, LON, Y, X):
        if (dim in first.ds.dims) != (dim in part.ds.dims):
            raise GridError(
                f"'{part.source}' has dimensions {dict(part.ds.sizes)}, '{first.source}' has "
                f"{dict(first.ds.sizes)}; expected one grid. Give files of one grid only."
            )
        if dim not in first.ds.dims:
            continue
        expected = first.ds[dim].values
        found = length_in(part.ds[dim].values, units_of(part.ds[dim]), units_of(first.ds[dim]))
        if not same_axis(expected, found, turn=dim == LON):
            raise GridError(
                f"'{part.source}' has a different grid than '{first.source}': along '{dim}' {found.size} "
                f"points from {found[0]:.9g} to {found[-1]:.9g}, expected {expected.size} from "
                f"{expected[0]:.9g} to {expected[-1]:.9g}{_farthest(expected, found, dim == LON)}. Give "
                "files of one grid, or regrid them first."
            )


def _farthest(expected: np.ndarray, found: np.ndarray, turn: bool) -> str:
    """Describe the difference between two axes of equal length."""
    if expected.size != found.size:
        return ""
    apart, allowed = difference(expected, found, turn), tolerance(expected, found, turn)
    return f"; they differ by up to {apart:.3g}, rounding explains up to {allowed:.3g}"


def _check_same_units(parts: list[Part], names: list[str]) -> None:
    first = parts[0]
    for part in parts[1:]:
        for name in names:
            expected, found = first.ds[name].attrs["units"], part.ds[name].attrs["units"]
            if same_units(expected, found):
                continue
            if not (expected and found):
                lacking, other = (part, first) if expected else (first, part)
                raise UnitsError(
                    f"'{lacking.source}' has '{name}' without units, '{other.source}' in "
                    f"'{expected or found}'; expected the same units. Set the attribute of the file, for "
                    f"example with `{ncatted('units', name, 'c,c,UNITS')}`."
                )
            raise UnitsError(
                f"'{part.source}' has '{name}' in '{found}', '{first.source}' in '{expected}'. State "
                f"the target units with `units: {{{name}: {expected}}}` of the grid specification."
            )


def _period(ds: xr.Dataset) -> str:
    times = ds[TIME].values
    return f"{text(times[0])} to {text(times[-1])} ({times.size} steps)"
