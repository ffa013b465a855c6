"""The template of a hindcast: every variable, coordinate and attribute, without a forecast yet."""

from __future__ import annotations

from datetime import timedelta

import dask.array as da
import numpy as np
import xarray as xr

import stconv
from stconv.datasets.source.time_axis import TimeStep, advance, text
from stconv.errors import VariableError
from stconv.forecast import Forecaster
from stconv.forecast.output import lead_of, reference_of, valid_time_of
from stconv.hindcasts.journal import ATTRIBUTE, OPEN, STATUS, STATUS_ATTRIBUTES, Origin


def template(
    forecaster: Forecaster,
    sample: xr.Dataset,
    times: np.ndarray,
    per_chunk: int,
    leads: int,
    origin: Origin,
) -> xr.Dataset:
    """Lay out a hindcast.

    Args:
        forecaster: Forecaster of the model.
        sample: One forecast in the form of the user, see `Forecaster.describe`.
        times: Reference times, (n,).
        per_chunk: Number of reference times in a chunk.
        leads: Number of leads in a chunk.
        origin: Origin of the forecasts, for the journal.

    Returns:
        Lazy variables (forecast_reference_time, ...), the dimensions of a forecast following; the valid times
        as (forecast_reference_time, lead).

    Raises:
        VariableError: A variable has the name of the journal.
    """
    reference, lead, valid = reference_of(sample), lead_of(sample), valid_time_of(sample)
    if STATUS in sample.variables:
        raise VariableError(f"A variable is called '{STATUS}', as the journal of a hindcast is. Rename it.")
    n = len(times)
    fields = {
        name: (
            (reference, *array.dims),
            da.full(
                (n, *array.shape),
                np.nan,
                dtype=array.dtype,
                chunks=(per_chunk, *(leads if dim == lead else -1 for dim in array.dims)),
            ),
            array.attrs,
        )
        for name, array in sample.data_vars.items()
        if lead in array.dims
    }
    status = da.full(n, OPEN, dtype=np.int8, chunks=per_chunk)
    kept = sample.drop_vars([*fields, reference, valid])
    found = kept.assign(fields).assign({STATUS: (reference, status, dict(STATUS_ATTRIBUTES))})
    found = found.assign_coords(
        {
            reference: (reference, times, sample[reference].attrs),
            valid: (
                (reference, lead),
                _valid_times(times, forecaster.step, sample.sizes[lead]),
                sample[valid].attrs,
            ),
        }
    )
    span = f"{text(times[0])} to {text(times[-1])}"
    names = ", ".join(output.name for output in forecaster.outputs)
    found.attrs |= {
        "title": f"Hindcast of {names} by {forecaster.bundle.name}, {n} reference times from {span}",
        "history": f"stconv {stconv.__version__}: {forecaster.bundle.name}, hindcast from {span}",
        ATTRIBUTE: origin.to_text(),
    }
    for variable in found.variables.values():
        variable.encoding = {}
    for name, field in fields.items():
        chunks = tuple(part[0] for part in field[1].chunks)
        found[name].encoding = {"_FillValue": np.array(np.nan, field[1].dtype), "chunks": chunks}
    found[STATUS].encoding = {"_FillValue": None, "chunks": (per_chunk,), "compressor": None}
    return found


def _valid_times(times: np.ndarray, step: TimeStep, n_leads: int) -> np.ndarray:
    """Valid time of each lead after each reference time, (reference, lead)."""
    if step.kind == "fixed":
        second = np.timedelta64(1, "s") if times.dtype.kind == "M" else timedelta(seconds=1)
        return np.stack([times + second * (step.seconds * (lead + 1)) for lead in range(n_leads)], axis=1)
    ahead = [[advance(time, step, lead + 1) for lead in range(n_leads)] for time in times]
    return np.array(ahead, dtype=times.dtype)


def stacked(found: xr.Dataset, n: int) -> dict[str, np.ndarray]:
    """Divide the leads of a Dataset into those of n forecasts.

    Args:
        found: Variables whose leads are those of the first forecast, then those of the second, and so on.
        n: Number of forecasts.

    Returns:
        Values by variable, the forecasts first and the lead where it was.
    """
    lead, result = lead_of(found), {}
    for name, array in found.data_vars.items():
        if lead not in array.dims:
            continue  # a grid mapping, or bounds of the axes
        axis = array.dims.index(lead)
        values = np.moveaxis(array.values, axis, 0)
        values = values.reshape(n, len(values) // n, *values.shape[1:])
        result[str(name)] = np.moveaxis(values, 1, axis + 1)
    return result
