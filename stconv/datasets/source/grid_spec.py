"""Options for reading a source that does not describe itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from stconv.datasets.source.further import FurtherSource
from stconv.errors import ConfigError
from stconv.plain import from_plain


@dataclass(frozen=True)
class GridSpec:
    """Options for reading a source; a CF file needs none.

    Attributes:
        time: Name of the variable that holds the times.
        lat: Name of the latitude coordinate.
        lon: Name of the longitude coordinate.
        y: Name of the row dimension of a projected or pixel grid.
        x: Name of the column dimension of a projected or pixel grid.
        select: Value per further dimension or coordinate, for example ``{level: 500, expver: "0001"}``;
            several values of a dimension make several variables: ``{level: [500, 850]}`` makes t_500 and
            t_850.
        valid_range: Lowest and highest valid value per variable, null for no limit, in the units of the file;
            values outside are missing. Use it for undeclared missing values.
        units: Target units per variable; values are converted. Other variables keep their units.
        engine: xarray engine; default: chosen by the first bytes of the file.
        group: Group inside a NetCDF 4 or Zarr source.
        time_units: Units of a time variable without units, for example ``days since 1900-01-01``, or the form
            of its date, for example ``hours since %d-%m-%Y``.
        calendar: Calendar of a time variable without a calendar, for example ``noleap``.
        start: Time of the first step, for arrays and ready-made windows without times: ``1979-01-01``.
        step: Time step of these: ``6h``, ``1d``, ``10min``.
        dims: Dimensions of an array, in order, for example ``[time, lat, lon]``; by default (time, y, x) or
            (time, channel, y, x).
        names: Names of the variables of an array: one, or one for each channel.
        components: Directions in degrees to split into sine and cosine, for example `wdir` into `wdir_sin`
            and `wdir_cos`, which are trained on and scored; a forecast also holds `wdir`.
        fill_gaps: Number of missing steps in the longest gap to fill with empty frames, so that windows span
            it; no window spans a longer gap.
        snap_times: Move nearly regular times (clocks that jitter, hours in float32) to their step.
        accumulated: Time between forecast starts per variable that accumulates from the start of each
            forecast: ``{tp: 1d}`` for rain of ERA5-Land, ``{tp: 12h from 06:00}`` for forecasts that start at
            06 and 18 UTC. Values become amounts per step.
        sources: Further sources whose variables are brought to the grid and the steps of this one.

    Raises:
        ConfigError: A valid range is invalid, or fill_gaps is negative.
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
    dims: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    components: list[str] = field(default_factory=list)
    fill_gaps: int = 0
    snap_times: bool = False
    accumulated: dict[str, str] = field(default_factory=dict)
    sources: list[FurtherSource] = field(default_factory=list)

    def __post_init__(self) -> None:
        further = [
            s if isinstance(s, FurtherSource) else from_plain(FurtherSource, s, "sources")
            for s in self.sources
        ]
        object.__setattr__(self, "sources", further)
        for name, limits in self.valid_range.items():
            numbers = [value for value in limits if value is not None]
            if len(limits) != 2 or (len(numbers) == 2 and not numbers[0] < numbers[1]):
                raise ConfigError(
                    f"valid_range of '{name}' is {list(limits)}; expected the lowest and the highest "
                    "valid value, null for no limit, as in [0, null]."
                )
        if self.fill_gaps < 0:
            raise ConfigError(
                f"fill_gaps is {self.fill_gaps}; expected the number of missing steps in the longest gap "
                "to fill, or 0."
            )
