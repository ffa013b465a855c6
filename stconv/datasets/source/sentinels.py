"""The refusal of infinite values and of undeclared numbers that stand for missing values."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from stconv.datasets.source.time_axis import iso
from stconv.errors import DataError

SENTINELS = (
    *(-99.0, -99.9, -999.0, -999.9, -9999.0, -9999.9, -99999.0, -32767.0, -32768.0),
    *(-777.0, -888.0, -888.8, -1000.0, -9.99e8, 999.0, 999.9, 9999.0, 99999.0, 1e15, 1e20, -1e20),
    *(1e30, -1e30, 1e34, -1e34, 1e35, 1e36, 9.969209968386869e36),
)
"""Numbers that often stand for missing values."""


def refuse_unusable(
    values: np.ndarray, variables: Sequence[str], times: np.ndarray, settled: Collection[str] = ()
) -> None:
    """Refuse infinite values and undeclared sentinels, which are far from all other values.

    Args:
        values: Some steps of a series, float32, (time, channel, lat, lon), NaN missing.
        variables: Names of the channels.
        times: Times of the steps.
        settled: Variables whose valid range the user has stated.

    Raises:
        DataError: A value is infinite or looks like a sentinel; the message says when, and what to do.
    """
    for channel, name in enumerate(variables):
        field = values[:, channel]
        low, high = float(np.fmin.reduce(field, axis=None)), float(np.fmax.reduce(field, axis=None))
        if np.isinf(low) or np.isinf(high):
            step = int(np.flatnonzero(np.isinf(field).any(axis=(1, 2)))[0])
            raise DataError(
                f"variable '{name}' is infinite at time {iso(times[step])}; expected finite values or "
                "NaN. Declare its valid_range in the grid, so that values outside become missing."
            )
        if name in settled:
            continue
        for value in (low, high):
            if not np.isin(np.float32(value), np.array(SENTINELS, dtype=np.float32)):
                continue
            rest = field[np.isfinite(field) & (field != np.float32(value))]
            spread = float(rest.max() - rest.min()) if rest.size else 0.0
            distance = float(np.abs(rest - value).min()) if rest.size else np.inf
            if distance > spread:
                where = f"all others lie in {rest.min():g} to {rest.max():g}" if rest.size else "nothing else"
                raise DataError(
                    f"variable '{name}' holds {value:g} from {iso(times[0])} on, {where}: it looks like "
                    "an undeclared missing value. State the valid range with "
                    f"`grid: {{valid_range: {{{name}: [LOW, HIGH]}}}}`; one that includes {value:g} keeps it."
                )
