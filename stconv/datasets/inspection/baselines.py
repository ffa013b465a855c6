"""Errors of persistence and climatology, which a network has to beat."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import xarray as xr

from stconv.datasets.preparation.harmonics import fit_harmonics, harmonic_values
from stconv.datasets.series.filling import newest_known
from stconv.datasets.series.splits import SplitSpec, periods_after_origins
from stconv.datasets.series.windows import WindowSpec, reference_indices
from stconv.datasets.source.cycles import cycles
from stconv.datasets.source.precision import center_of
from stconv.dims import LAT, TIME
from stconv.errors import SplitError
from stconv.sphere import TURN, area_weights, wrapped

WORTH_PERSISTING = 0.005
"""The climatology is left out if the error of persistence is lower without it by this fraction."""
LARGEST_BYTES = 2**29
"""Variables with more values get no errors, so that `stconv inspect` takes seconds."""
TRAIN_SHARE = 0.6
"""Fraction of the steps that belongs to the training period by default."""
KNOWN_SHARE = 0.8
"""Fraction of the steps that does not belong to the test period by default."""
ENOUGH_VALUES = 4_000_000
"""A variable with more values is thinned to every second, third, ... row and column."""


def strides(variable: xr.DataArray, n_steps: int) -> tuple[int, int] | None:
    """Steps between the rows and columns that the errors are computed on.

    Args:
        variable: Canonical variable, (time, lat, lon) or (time, y, x).
        n_steps: Number of steps after gaps are filled.

    Returns:
        One step for `baseline_errors` and `persistence_gain`, one for `weekly_cycle_pays`; None if the
        variable is too large.
    """
    frame = variable[0].size
    if 4 * n_steps * frame > LARGEST_BYTES:
        return None
    n_train = max(int(TRAIN_SHARE * n_steps), 1)
    every = [max(math.ceil(math.sqrt(n * frame / ENOUGH_VALUES)), 1) for n in (n_steps, n_train)]
    return every[0], every[1]


def baseline_errors(
    variable: xr.DataArray, spec: WindowSpec, breaks: Sequence[int] = (), turn: float | None = None
) -> tuple[list[float], list[float]]:
    """RMSE per lead over the windows of the default test period (the last 20 %), area-weighted.

    Args:
        variable: Canonical variable, (time, lat, lon) or (time, y, x), thinned if it is large.
        spec: Form of the windows.
        breaks: Gaps of the time axis.
        turn: A full turn in the units of a direction, such as 360 degrees; errors are then smallest angles,
            and the climatology is computed from sine and cosine. None for other variables.

    Returns:
        Errors of persistence and of the climatology of the training period (the first 60 %), in the units of
        the variable; both empty if the series is too short or holds no value to compare.
    """
    phases = cycles(variable[TIME].values)
    try:
        split = SplitSpec()
        periods = split.apply(variable[TIME].values, spec.span)
    except SplitError:
        return [], []
    references = np.array(
        reference_indices(periods.test, spec, breaks, 1, split.first_input("test", periods.test)), dtype=int
    )
    if not references.size:
        return [], []
    values = departures(variable)
    degrees = TURN / turn if turn else 1.0
    values = values * np.float32(degrees)
    values = np.where(np.isinf(values), np.nan, values)  # `inspect` names them; they are no errors to beat
    training = slice(periods.train.start, periods.train.stop)
    test = slice(periods.test.start, periods.test.stop)
    parts = [np.sin(np.deg2rad(values)), np.cos(np.deg2rad(values))] if turn else [values]
    expectations = []
    for part in parts:
        terms, coefficients = fit_harmonics(part[training, None], phases[training])
        expectations.append(harmonic_values(phases[test], terms, coefficients)[:, 0])
    climatology = np.rad2deg(np.arctan2(*expectations)) if turn else expectations[0]
    rows = variable.dims[1]
    weight = area_weights(variable[rows].values, variable.shape[2], geographic=rows == LAT)
    newest = newest_known(values[references + offset] for offset in reversed(spec.input_offsets))
    persistence_rmse: list[float] = []
    climatology_rmse: list[float] = []
    for lead in range(1, spec.leads + 1):
        truth = values[references + lead]
        expected = climatology[references + lead - periods.test.start]
        weights = weight * (np.isfinite(truth) & np.isfinite(newest) & np.isfinite(expected))
        if not weights.any():
            return [], []
        for errors, forecast in ((persistence_rmse, newest), (climatology_rmse, expected)):
            difference = np.nan_to_num(truth - forecast).astype(np.float64)
            squares = (wrapped(difference) if turn else difference) ** 2
            errors.append(float(np.sqrt((weights * squares).sum() / weights.sum())) / degrees)
    return persistence_rmse, climatology_rmse


def persistence_gain(variable: xr.DataArray, spec: WindowSpec, breaks: Sequence[int] = ()) -> float | None:
    """Fraction by which the error of persistence falls if the value persists, not its departure from a cycle.

    Both are compared over all leads behind several rolling origins in the first 80 % of the steps, with a
    climatology of what comes before; the test period is not used.

    Args:
        variable: Canonical variable, (time, lat, lon) or (time, y, x), thinned if it is large.
        spec: Form of the windows.
        breaks: Gaps of the time axis.

    Returns:
        The fraction; None if it is too small to matter, or the departure persists better behind any origin.
    """
    n_known = round(KNOWN_SHARE * variable[TIME].size)
    values = departures(variable)[:n_known].copy()
    values[np.isinf(values)] = np.nan
    phases, squares = cycles(variable[TIME].values[:n_known]), []
    for period in periods_after_origins(n_known):
        origin = period.start
        references = np.array(reference_indices(period, spec, breaks, 1, 0), dtype=int)
        if not references.size or not np.isfinite(values[:origin]).any():
            continue
        terms, coefficients = fit_harmonics(values[:origin, None], phases[:origin])
        expected = harmonic_values(phases, terms, coefficients)[:, 0]
        sums = np.zeros(2)
        for lead in range(1, spec.leads + 1):
            change = (values[references + lead] - values[references]).astype(np.float64)
            of_cycle = expected[references + lead] - expected[references]
            sums += [np.nansum(change**2), np.nansum((change - of_cycle) ** 2)]
        squares.append(sums)
    differ = [(value, departure) for value, departure in squares if value != departure]
    if not differ or any(value > departure for value, departure in differ):
        return None
    value, departure = np.sum(squares, axis=0)
    gain = float(1 - np.sqrt(value / departure))
    return gain if gain > WORTH_PERSISTING else None


def departures(variable: xr.DataArray) -> np.ndarray:
    """Values in float32, minus an offset that would cost precision (see `center_of`)."""
    return np.asarray(variable.values - center_of(variable), dtype=np.float32)
