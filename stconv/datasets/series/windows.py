"""Windows as steps of a series: integer arithmetic only, no arrays, no dates.

A window has a reference index, the step of its newest input. Its inputs are at the reference index plus the
(non-positive) input offsets, its targets at the reference index plus 1, 2, ..., leads.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral

from stconv.errors import WindowError


@dataclass(frozen=True)
class WindowSpec:
    """Shape of a window, relative to its reference index.

    Args:
        input_offsets: Steps of the inputs relative to the reference index, ascending, the last one 0.
        leads: Number of target steps after the reference index.

    Raises:
        WindowError: The offsets are empty, not ascending or do not end at 0, or leads is below 1.
    """

    input_offsets: tuple[int, ...]
    leads: int

    def __post_init__(self) -> None:
        offsets = tuple(int(offset) for offset in self.input_offsets)
        object.__setattr__(self, "input_offsets", offsets)
        if not offsets or offsets[-1] != 0:
            raise WindowError(
                f"input_offsets {list(offsets)} must end at 0, the newest input (the reference time); for "
                "the last three steps write [-2, -1, 0]."
            )
        if any(later <= earlier for earlier, later in pairwise(offsets)):
            raise WindowError(
                f"input_offsets {list(offsets)} must be strictly ascending, as in [-24, -1, 0]."
            )
        if not isinstance(self.leads, Integral) or self.leads < 1:
            raise WindowError(f"leads is {self.leads!r}; expected 1 or more steps to forecast.")

    @classmethod
    def consecutive(cls, t_in: int, leads: int) -> WindowSpec:
        """Make a window of the last `t_in` steps and the next `leads` steps."""
        if not isinstance(t_in, Integral) or t_in < 1:
            raise WindowError(f"t_in is {t_in!r}; expected 1 or more input steps.")
        return cls(tuple(range(1 - t_in, 1)), leads)

    @property
    def t_in(self) -> int:
        """Number of input steps."""
        return len(self.input_offsets)

    @property
    def span(self) -> int:
        """Number of steps from the oldest input to the last lead, inclusive."""
        return self.leads - self.input_offsets[0] + 1


def reference_indices(
    period: range,
    spec: WindowSpec,
    breaks: Sequence[int] = (),
    stride: int = 1,
    first_input: int | None = None,
) -> list[int]:
    """Find the windows with targets inside a period that span no break.

    Args:
        period: Steps that the targets may use.
        spec: Shape of a window.
        breaks: Indices i where step i does not directly follow step i - 1 in time.
        stride: Keep every stride-th window.
        first_input: First step that the inputs may use; default: the start of the period, so that windows lie
            entirely inside.

    Returns:
        Ascending reference indices; empty if the period holds no window.

    Raises:
        WindowError: The stride is below 1.
    """
    if stride < 1:
        raise WindowError(f"stride is {stride}; expected 1 or more.")
    ordered = sorted(breaks)
    earliest = period.start if first_input is None else first_input
    first = max(period.start - 1, earliest - spec.input_offsets[0])
    last = period.stop - spec.leads
    found = [
        i for i in range(first, last) if not _crosses(i + spec.input_offsets[0], i + spec.leads, ordered)
    ]
    return found[::stride]


def forecast_index(n_steps: int, spec: WindowSpec, breaks: Sequence[int] = ()) -> int:
    """Find the newest reference index with all its inputs; its targets need not exist.

    Raises:
        WindowError: No index has all its inputs, since the series is too short or interrupted by gaps.
    """
    ordered = sorted(breaks)
    for i in range(n_steps - 1, -spec.input_offsets[0] - 1, -1):
        if not _crosses(i + spec.input_offsets[0], i, ordered):
            return i
    needed = 1 - spec.input_offsets[0]
    gaps = f" with gaps before the steps {ordered}" if ordered else ""
    raise WindowError(
        f"a forecast needs {needed} steps without a gap (input offsets {list(spec.input_offsets)}), found "
        f"{n_steps} steps{gaps}. Give a longer series."
    )


def forecast_indices(
    n_steps: int, input_offsets: Sequence[int], breaks: Sequence[int] = (), leads: int = 0
) -> list[int]:
    """Find all reference indices with all their inputs.

    Args:
        n_steps: Number of steps of the series.
        input_offsets: See `WindowSpec`.
        breaks: Indices i where step i does not directly follow step i - 1 in time.
        leads: Number of target steps that have to exist as well; 0 for forecasts without truth.

    Returns:
        Ascending reference indices.
    """
    ordered = sorted(breaks)
    return [
        i
        for i in range(-input_offsets[0], n_steps - leads)
        if not _crosses(i + input_offsets[0], i + leads, ordered)
    ]


def _crosses(first: int, last: int, ordered_breaks: Sequence[int]) -> bool:
    """Whether a break lies between `first` and `last`: at an index in (first, last]."""
    return bisect_right(ordered_breaks, last) > bisect_right(ordered_breaks, first)
