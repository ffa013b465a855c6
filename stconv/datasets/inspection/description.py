"""The description of a source, as `stconv inspect` prints it: axes, gaps, variables, windows, advice."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from stconv.datasets.source.physics import either_sign, is_direction, never_negative
from stconv.digits import digits_for

RARE = 0.5
"""A positive field with more than this fraction of zeros is treated like rain."""
MANY_ZEROS = 0.05
"""A field without negative values and with more than this fraction of zeros ends at zero, as counts do."""


@dataclass(frozen=True)
class VariableSummary:
    """Statistics of the valid values of one variable over the whole period, in `units`.

    The errors are per lead, on the last 20 % of the steps; empty if they cannot be computed. The weekly gain
    is the fraction by which a weekly cycle lowers the error of the climatology; None if it does not. The
    persistence gain is the fraction by which the error of persistence falls if the value persists instead of
    its departure from the climatology; None if it does not.
    `restarts` says when an accumulation restarts from zero (``1d``); empty for other variables.
    """

    name: str
    long_name: str
    units: str
    minimum: float | None
    maximum: float | None
    mean: float | None
    standard_deviation: float | None
    missing_share: float
    never_valid_share: float
    zero_share: float
    lone_negative: float | None
    lone_negative_share: float
    memory_bytes: int
    persistence_rmse: list[float] = field(default_factory=list)
    climatology_rmse: list[float] = field(default_factory=list)
    weekly_gain: float | None = None
    persistence_gain: float | None = None
    infinite_share: float = 0.0
    standard_name: str = ""
    restarts: str = ""
    sampled_steps: int | None = None

    @property
    def positive(self) -> bool:
        """Whether there is no value below 0."""
        return self.minimum is not None and self.minimum >= 0

    @property
    def meaning(self) -> str:
        """Descriptive name; empty where it repeats the name."""
        return "" if self.long_name == self.name else self.long_name

    @property
    def written(self) -> tuple[str, str, str]:
        """Lowest value, mean and highest value as text, with digits that tell them apart."""
        if self.minimum is None or self.maximum is None or self.mean is None:
            return "-", "-", "-"
        digits = digits_for(self.minimum, self.maximum, 5)
        low, mean, high = (f"{value:.{digits}g}" for value in (self.minimum, self.mean, self.maximum))
        return low, mean, high

    @property
    def never_negative(self) -> bool:
        """Whether there is no value below 0, and name and units, or many zeros, rule one out."""
        words = self.name, self.units, f"{self.standard_name} {self.long_name}"
        ends_at_zero = self.zero_share > MANY_ZEROS and not either_sign(*words)
        return self.positive and (never_negative(*words) or ends_at_zero)

    @property
    def direction(self) -> bool:
        """Whether the values are directions on a circle."""
        described = f"{self.standard_name} {self.long_name}"
        return is_direction(self.name, self.units, described, self.minimum, self.maximum)

    @property
    def rain_like(self) -> bool:
        """Whether the field is mostly zero and otherwise positive."""
        return self.positive and self.zero_share > RARE


@dataclass(frozen=True)
class Gap:
    """A gap in the time axis: the times on both sides and the number of missing steps."""

    after: str
    before: str
    missing_steps: int


@dataclass(frozen=True)
class AxisSummary:
    """A horizontal axis as it is stored in the file."""

    name: str
    size: int
    first: float | None
    last: float | None
    spacing: float | None


@dataclass(frozen=True)
class Description:
    """Everything that `stconv inspect` prints."""

    files: list[str]
    disk_bytes: int
    grid: str
    axes: list[AxisSummary]
    calendar: str
    first: str
    last: str
    n_steps: int
    step: str | None
    gaps: list[Gap]
    filled_steps: int
    repeated_steps: int
    variables: list[VariableSummary]
    left_out: dict[str, str]
    memory_bytes: int
    t_in: int
    leads: int
    n_windows: int
    n_training_windows: int
    advice: list[str] = field(default_factory=list)

    @property
    def gaps_counted(self) -> str:
        """Number of the gaps in words: no gaps, 1 gap, 2 gaps."""
        return f"{len(self.gaps) or 'no'} gap{'' if len(self.gaps) == 1 else 's'}"

    def to_json(self) -> dict[str, Any]:
        """Return the description as JSON values."""
        return asdict(self)
