"""A summary of the data of an experiment, for runs, reports and bundles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stconv.datasets.preparation.settings import PreparationSettings
from stconv.plain import from_plain, to_plain


@dataclass(frozen=True)
class AxisSummary:
    """An axis of the grid.

    Attributes:
        size: Number of cells.
        first: First coordinate.
        last: Last coordinate.
    """

    size: int
    first: float
    last: float


@dataclass(frozen=True)
class PeriodSummary:
    """The training, validation or test period.

    Attributes:
        start: Time of its first step, ISO 8601.
        end: Time of its last step.
        n_steps: Number of steps.
        n_windows: Number of windows.
        n_left_out: Number of windows left out because too many values are missing.
    """

    start: str
    end: str
    n_steps: int
    n_windows: int
    n_left_out: int = 0


@dataclass(frozen=True)
class EventSummary:
    """The event to forecast.

    Attributes:
        text: The event in words.
        training_frequency: Mean frequency in the training period, or the frequency of each class.
    """

    text: str
    training_frequency: list[float]


@dataclass(frozen=True)
class DataSummary:
    """The data of an experiment. A bundle of an older stconv may lack some fields.

    Attributes:
        name: Name of the data.
        hash: sha256 over values, axes, names and units.
        files: Names of the files, without their folders.
        recipe: Recipe of the data, if any.
        inputs: Input variables.
        targets: Forecast variables.
        units: Units by variable.
        missing_share: Missing fraction in the training period, by variable.
        grid: Axes by dimension.
        step: Time step in words.
        calendar: CF name of the calendar.
        n_steps: Number of steps of the series.
        breaks: Times that follow a gap.
        input_offsets: Input steps relative to the reference time.
        leads: Number of leads.
        purge: Steps left out between the periods.
        inputs_before: Whether inputs may lie before the period of their targets.
        periods: Training, validation and test period by name (train, val, test).
        unknown_months: Months of the year in the test period that neither training nor validation contains.
        static_files: File name by static variable.
        max_missing: Largest missing fraction of a window that is used.
        preparation: Settings of the preparation; None in an older bundle, which states them elsewhere.
        event: The event to forecast, if any.
        source: Title, citation and license of the recipe; in bundles only.
    """

    name: str = ""
    hash: str = ""
    files: list[str] = field(default_factory=list)
    recipe: str | None = None
    inputs: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    units: dict[str, str] = field(default_factory=dict)
    missing_share: dict[str, float] = field(default_factory=dict)
    grid: dict[str, AxisSummary] = field(default_factory=dict)
    step: str = ""
    calendar: str = ""
    n_steps: int = 0
    breaks: list[str] = field(default_factory=list)
    input_offsets: list[int] = field(default_factory=list)
    leads: int = 0
    purge: int = 0
    inputs_before: bool = True
    periods: dict[str, PeriodSummary] = field(default_factory=dict)
    unknown_months: list[int] = field(default_factory=list)
    static_files: dict[str, str] = field(default_factory=dict)
    max_missing: float | None = None
    preparation: PreparationSettings | None = None
    event: EventSummary | None = None
    source: dict[str, str] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON values."""
        values = to_plain(self)
        for name in ("event", "preparation"):
            if values[name] is None:
                del values[name]
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> DataSummary:
        """Restore a summary from the values of `to_json`, also of an older stconv.

        Raises:
            ConfigError: A key is unknown.
        """
        where = "the description of the data"
        preparation, event = values.get("preparation"), values.get("event")
        if preparation is not None and "inputs" in preparation:
            preparation = from_plain(PreparationSettings, preparation, where)
        else:
            preparation = None  # before the settings were one object, the variables stood elsewhere
        return from_plain(
            cls,
            {
                **values,
                "grid": {
                    dim: from_plain(AxisSummary, axis, where) for dim, axis in values.get("grid", {}).items()
                },
                "periods": {
                    name: from_plain(PeriodSummary, period, where)
                    for name, period in values.get("periods", {}).items()
                },
                "preparation": preparation,
                "event": None if event is None else from_plain(EventSummary, event, where),
            },
            where,
        )
