"""Lengths of time as a person writes them: 6h, 1d, 10min."""

from __future__ import annotations

import re

import numpy as np

from stconv.clock import TIME_UNITS

_STEP = re.compile(r"(\d+)\s*(min|h|d)")


def step_length(text: str | None) -> np.timedelta64 | None:
    """Length of a time step such as 6h, 1d or 10min; None if the text is none."""
    found = _STEP.fullmatch(text or "")
    if found is None:
        return None
    unit = next(unit for unit in TIME_UNITS if unit.symbol == found[2])
    return np.timedelta64(int(found[1]) * unit.seconds, "s").astype("timedelta64[ns]")
