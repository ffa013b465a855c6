"""Checks of an input against a bundle: variables, units, grid, time step, missing values and range."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from stconv.bundle import ModelGrid, ModelVariable
from stconv.clock import GREGORIAN_CALENDARS
from stconv.datasets.source.axis_match import difference, even, positions, same_axis, spacing
from stconv.datasets.source.axis_units import length_in, units_of
from stconv.datasets.source.time_axis import TimeStep, follows, time_step
from stconv.datasets.source.units import linear_conversion
from stconv.digits import both_ends
from stconv.dims import LON, TIME
from stconv.errors import DataError, GridError, MissingValuesError, TimeAxisError, UnitsError, VariableError
from stconv.forecast.units import Conversion

EVEN_SHARE = 1e-3
"""Largest difference of spacings in an axis that is called even, relative to the spacing."""


class TrainingRangeWarning(UserWarning):
    """Warning that inputs lie outside the range of the training period."""


def check_variables(ds: xr.Dataset, variables: Sequence[ModelVariable]) -> None:
    """Raise VariableError if a variable is missing; other variables are ignored."""
    missing = [variable.name for variable in variables if variable.name not in ds.data_vars]
    if missing:
        found = ", ".join(map(str, ds.data_vars)) or "none"
        raise VariableError(
            f"The input lacks {', '.join(repr(name) for name in missing)}: expected the variables "
            f"{', '.join(variable.name for variable in variables)}, found {found}. If one only has "
            f"another name, rename it: ds.rename({{'FOUND': '{missing[0]}'}})."
        )


def check_grid(ds: xr.Dataset, grid: ModelGrid) -> None:
    """Raise GridError, with size, spacing and extent, if the coordinates differ from those of training."""
    for dim in grid.dims:
        if dim not in ds.dims:
            kind = "latitude and longitude" if grid.geographic else "a projected or pixel grid"
            raise GridError(
                f"The input has dimensions {', '.join(map(str, ds.dims))}; expected '{dim}': the model "
                f"was trained on {kind}. Bring the data to that grid."
            )
        expected = np.asarray(grid.axes[dim], dtype=np.float64)
        found = (
            np.asarray(ds[dim].values, dtype=np.float64)
            if dim in ds.coords
            else np.arange(ds.sizes[dim], dtype=np.float64)
        )
        turn = dim == LON
        if dim in ds.coords:
            found = length_in(found, units_of(ds[dim]), grid.units.get(dim, ""))
        if same_axis(expected, found, turn):
            continue
        covered = found.size > expected.size and positions(expected, found, turn)[1] is None
        remedy = (
            f"The input holds those points among others: cut it to {dim} {expected[0]:g} to {expected[-1]:g}."
            if covered
            else "Interpolate the input to the grid of the model, for example with ds.interp."
        )
        apart = difference(expected, found, turn) if found.size == expected.size else 0.0
        shift = f", up to {apart:.3g} apart" if 0 < apart < spacing(expected) else ""
        raise GridError(
            f"{dim} of the input differs: expected {axis_text(expected)}; found "
            f"{axis_text(found)}{shift}. {remedy}"
        )


def axis_text(axis: np.ndarray) -> str:
    """Describe size, extent and spacing of a coordinate in a few words."""
    if axis.size == 0:
        return "no points"
    if axis.size == 1:
        return f"1 point at {axis[0]:g}"
    steps = np.diff(axis)
    width = (
        f"spacing {steps.mean():.6g}"
        if even(axis, EVEN_SHARE)
        else f"uneven spacing {steps.min():.6g} to {steps.max():.6g}"
    )
    return f"{axis.size} points from {axis[0]:.6g} to {axis[-1]:.6g}, {width}"


def check_time_axis(ds: xr.Dataset, calendar: str, step: TimeStep) -> None:
    """Raise TimeAxisError if the calendar or the step differs; a single frame has no step and passes."""
    found = str(ds[TIME].dt.calendar)
    if found != calendar and not {found, calendar} <= {*GREGORIAN_CALENDARS}:
        raise TimeAxisError(
            f"The calendar of the input is '{found}'; the model was trained on '{calendar}'. Convert it: "
            f"ds.convert_calendar('{calendar}')."
        )
    if ds.sizes[TIME] > 1:
        times = ds[TIME].values
        found_step = step if step.kind != "fixed" and follows(times, step) else time_step(times)
        if dataclasses.replace(found_step, anchor=step.anchor) != step:
            raise TimeAxisError(
                f"The time step of the input is {found_step.label}; the model was trained on steps of "
                f"{step.label}. Select or average the input to {step.label}, for example with "
                "ds.resample."
            )


def unit_conversions(
    ds: xr.Dataset, variables: Sequence[ModelVariable], convert: bool
) -> dict[str, Conversion]:
    """Return the conversion from the units of the input to those of the model, per variable.

    Raises:
        UnitsError: Units differ and cannot be converted, or `convert` is not set.
    """
    conversions = {}
    for variable in variables:
        name, expected, center = variable.name, variable.units, variable.center
        found = str(ds[name].attrs.get("units", ""))
        if not expected:
            conversions[name] = Conversion(center=center)
            continue
        if not found:
            raise UnitsError(
                f"'{name}' has no units; the model was trained on '{expected}'. If that is what the "
                f"values are in, say so: ds['{name}'].attrs['units'] = '{expected}'."
            )
        try:
            conversions[name] = Conversion(*linear_conversion(found, expected, name, "the input"))
        except UnitsError as error:
            raise UnitsError(
                f"'{name}' is in '{found}'; the model was trained on '{expected}', and there is no "
                "conversion. Bring it to that unit, or correct its attribute `units`."
            ) from error
        if not (conversions[name].identity or convert):
            raise UnitsError(
                f"'{name}' is in '{found}'; the model was trained on '{expected}'. Convert it, or let "
                "stconv convert the input and the forecast: forecast(..., convert_units=True), on the "
                "command line --convert-units."
            )
        conversions[name] = dataclasses.replace(conversions[name], center=center)
    return conversions


def check_missing(
    values: np.ndarray, always_valid: np.ndarray | None, names: Sequence[str], allowed_share: float
) -> None:
    """Refuse infinite values, and too many missing ones in cells that had none in training.

    Args:
        values: Inputs, float32, (input, time, lat, lon), NaN is missing.
        always_valid: Cells that always had a value in training, bool, (input, lat, lon); None if unknown.
        names: Variable of each input.
        allowed_share: Share of missing values allowed in these cells, in [0, 1].

    Raises:
        DataError: A value is infinite.
        MissingValuesError: A variable misses more values, or has none at all.
    """
    for channel, name in enumerate(names):
        if np.isinf(values[channel]).any():
            raise DataError(
                f"'{name}' has {int(np.isinf(values[channel]).sum())} infinite values in the input; "
                "expected finite ones, or NaN for missing. Replace them by NaN."
            )
        if allowed_share < 1 and np.isnan(values[channel]).all():
            raise MissingValuesError(
                f"'{name}' has no value at all in the {values.shape[1]} frames of the input. Choose "
                "another reference time, or allow that (allowed_missing_share=1)."
            )
    if always_valid is None:
        return
    for channel, name in enumerate(names):
        frames = np.isnan(values[channel][:, always_valid[channel]])
        if frames.size and frames.mean() > allowed_share:
            raise MissingValuesError(
                f"'{name}' lacks {int(frames.sum())} of {frames.size} values ({_percent(frames.mean())}) "
                "in cells that had (nearly) always one in training; allowed are "
                f"{_percent(allowed_share)}. They are in {int(frames.any(axis=1).sum())} of "
                f"{frames.shape[0]} frames. Fill them, choose another reference time, or allow a larger "
                "share (allowed_missing_share)."
            )


def range_remarks(
    values: np.ndarray, variables: Sequence[ModelVariable], ranges: Mapping[str, tuple[float, float]]
) -> list[str]:
    """Describe, per variable, how many inputs lie outside the training range, and how far.

    Args:
        values: Inputs in the units of the model, float32, (input, time, lat, lon).
        variables: Input variables of the model.
        ranges: Smallest and largest value by name.
    """
    remarks = []
    for channel, variable in enumerate(variables):
        if (limits := ranges.get(variable.name)) is None:
            continue
        present = values[channel][np.isfinite(values[channel])]
        outside = (present < np.float32(limits[0])) | (present > np.float32(limits[1]))
        if outside.any():
            remarks.append(
                f"{variable.name}: {int(outside.sum())} of {present.size} inputs "
                f"({_percent(outside.mean())}) lie outside the training range {_range(limits, variable)} "
                f"{variable.units}; they reach from "
                f"{_range((present.min(), present.max()), variable)}".rstrip()
            )
    return remarks


def _range(limits: Sequence[float], variable: ModelVariable) -> str:
    """Format two values of the model in physical units."""
    low, high = (float(limit) + variable.center for limit in limits)
    return " to ".join(both_ends(low, high, digits=6))


def shares(
    values: np.ndarray,
    always_valid: np.ndarray | None,
    variables: Sequence[ModelVariable],
    ranges: Mapping[str, tuple[float, float]],
) -> dict[str, float]:
    """Return the shares of the input that are missing, and that lie outside the training range.

    Args:
        values: Inputs in the units of the model, float32, (input, time, lat, lon), NaN is missing.
        always_valid: Cells that always had a value in training, bool, (input, lat, lon); None: all.
        variables: Variable of each input.
        ranges: Smallest and largest value of the training period by name.

    Returns:
        `input_missing_share`, of the values that should be there, and `input_outside_training_share`, of
        those that are; both in [0, 1], 6 decimals.
    """
    missing = np.isnan(values)
    due = (
        np.ones_like(missing)
        if always_valid is None
        else np.broadcast_to(always_valid[:, None], missing.shape)
    )
    outside = 0
    for channel, variable in enumerate(variables):
        low, high = ranges.get(variable.name, (-np.inf, np.inf))
        with np.errstate(invalid="ignore"):
            outside += int(((values[channel] < np.float32(low)) | (values[channel] > np.float32(high))).sum())
    return {
        "input_missing_share": round(float((missing & due).sum() / max(1, due.sum())), 6),
        "input_outside_training_share": round(outside / max(1, int((~missing).sum())), 6),
    }


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
