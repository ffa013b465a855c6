"""What a user may say about a source that does not explain itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from stconv.errors import ConfigError


@dataclass(frozen=True)
class GridSpec:
    """How to read a source; everything is optional, a CF file needs nothing.

    Attributes:
        time: Name of the variable that holds the times.
        lat: Name of the latitude coordinate.
        lon: Name of the longitude coordinate.
        y: Name of the row dimension of a projected or pixel grid.
        x: Name of the column dimension of a projected or pixel grid.
        select: One value per further dimension or coordinate, for example ``{level: 500, expver: "0001"}``;
            or several of a dimension, each a variable then: ``{level: [500, 850]}`` makes t_500 and t_850.
        valid_range: Lowest and highest valid value per variable, null for no limit, in the units of the file;
            what lies outside is missing. For sentinels that the file does not declare.
        units: Units wanted per variable; the values are converted. Without an entry the file's units stay.
        engine: xarray engine, instead of the one the first bytes of the file call for.
        group: Group inside a NetCDF 4 or Zarr source.
        time_units: Units of a time variable that states none, for example ``days since 1900-01-01``.
        calendar: Calendar of a time variable that states none, for example ``noleap``.
        start: Time of the first step of windows cut beforehand, which carry none: ``1979-01-01``.
        step: Their step: ``6h``, ``1d``, ``10min``.
        components: Directions in degrees that become sine and cosine, `wdir_sin` and `wdir_cos` of `wdir`;
            these are trained on and scored, and a forecast holds `wdir` as well.
        fill_gaps: Gaps of at most so many missing steps are filled with frames without values, so that
            windows reach across; they never cross a longer one.
        snap_times: Move nearly regular times (clocks that jitter, hours in float32) to their step.
        accumulated: Variables that count up from the start of each forecast, with the time from one start to
            the next: ``{tp: 1d}`` for rain of ERA5-Land. They become amounts per step.

    Raises:
        ConfigError: A valid range is none, or fill_gaps is negative.
    """

    time: str | None = None
    lat: str | None = None
    lon: str | None = None
    y: str | None = None
    x: str | None = None
    select: dict[str, Any] = field(default_factory=dict)
    valid_range: dict[str, list[float | None]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    engine: str | None = None
    group: str | None = None
    time_units: str | None = None
    calendar: str | None = None
    start: str | None = None
    step: str | None = None
    components: list[str] = field(default_factory=list)
    fill_gaps: int = 0
    snap_times: bool = False
    accumulated: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, limits in self.valid_range.items():
            numbers = [value for value in limits if value is not None]
            if len(limits) != 2 or (len(numbers) == 2 and not numbers[0] < numbers[1]):
                raise ConfigError(
                    f"valid_range of '{name}' is {list(limits)}; expected the lowest and the highest valid "
                    "value, null for no limit, as in [0, null]."
                )
        if self.fill_gaps < 0:
            raise ConfigError(
                f"fill_gaps is {self.fill_gaps}; expected the missing steps of the longest gap to fill, or 0."
            )
