"""Times counted from a stated step, for data that have none."""

from __future__ import annotations

import warnings

import numpy as np

from stconv.datasets.source.attributes import SourceWarning
from stconv.datasets.source.grid_spec import GridSpec
from stconv.datasets.source.step_text import step_length
from stconv.errors import TimeAxisError

DEFAULT_START = "2000-01-01"
"""Time of the first step where nothing states it."""


def counted_times(n: int, spec: GridSpec, source: str, bare: str) -> np.ndarray:
    """Count the times of steps by `step` and `start` of the specification.

    Args:
        n: Number of steps.
        spec: `step`, and `start` if it is known.
        source: File or dataset, for messages.
        bare: The part of it without times, for messages.

    Returns:
        Times, datetime64[ns], (n,).

    Raises:
        TimeAxisError: `step` is not stated or no length of time, or `start` is no time.
    """
    step = step_length(spec.step)
    if not step:
        found = "none" if spec.step is None else repr(spec.step)
        raise TimeAxisError(
            f"{source}: {bare} has no times. State `step`, such as 6h, 1d or 10min (found {found}), and "
            "`start`, the time of its first step, such as 1979-01-01."
        )
    if spec.start is None:
        warnings.warn(
            f"{source} has no times: its steps are counted from {DEFAULT_START}. Time of day and season are "
            "then arbitrary; state `start` if you know it.",
            SourceWarning,
            stacklevel=2,
        )
    try:
        return np.datetime64(spec.start or DEFAULT_START, "ns") + np.arange(n) * step
    except ValueError as error:
        raise TimeAxisError(
            f"{source}: start is {spec.start!r}; expected a time such as 1979-01-01 or 1979-01-01T06:00."
        ) from error
