"""The inputs of a bundle: opening them, checking them, and an input that has been checked."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from stconv.bundle import Bundle
from stconv.datasets.source.directions import split_directions
from stconv.datasets.source.encodable import refuse_unwritable
from stconv.datasets.source.grid import GridSpec, Origin, canonicalize, open_stored
from stconv.datasets.source.selection import split_values
from stconv.dims import TIME
from stconv.forecast import checks
from stconv.forecast.observations import refuse_forecast
from stconv.forecast.units import Conversion
from stconv.forecast.window import Frames, OlderWindowWarning, find_reference, older_window


@dataclass(frozen=True)
class CheckedInput:
    """A Dataset that has been checked against a model, and the window to forecast from.

    Attributes:
        ds: Canonical Dataset of the model's inputs only, in the user's units.
        origin: Description of the user's names, order and conventions, to restore them.
        frames: Times of the input.
        reference_time: Time of the newest input.
        values: Values of the window, from `read`.
        conversions: Conversions from the user's units to the model's, by variable.
        channels: Variables of the model; a target that is not an input has no conversion, and is all NaN.
        remarks: Unusual features of the values, with numbers.
        shares: Shares of missing values and of values outside the training range, from `checks.shares`.
        older_window: Reason why the window does not end at the newest frame; empty if it does, or if its time
            was given.
    """

    ds: xr.Dataset
    origin: Origin
    frames: Frames
    reference_time: Any
    values: np.ndarray
    conversions: dict[str, Conversion]
    channels: list[str]
    remarks: list[str]
    shares: dict[str, float]
    older_window: str = ""

    def read(self, times: list[Any]) -> np.ndarray:
        """Return the frames of existing times, float32, (variable, time, lat, lon), in the model's units."""
        return read_frames(self.ds, self.frames.positions(times), self.conversions, self.channels)


class Expected:
    """Reader and checker of the inputs of a bundle.

    Attributes:
        contract: Contract of the model.
        inputs: Variables that an input must contain.
        names: Their names.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.contract = bundle.contract
        self.inputs = self.contract.inputs
        self.names = [variable.name for variable in self.inputs]
        seen = [variable.input for variable in self.contract.variables]
        self.always_valid = None if bundle.always_valid is None else bundle.always_valid[seen]
        self._seen = seen

    def open_stored(self, stored: xr.Dataset) -> tuple[xr.Dataset, Origin]:
        """See `Forecaster.open_stored`."""
        refuse_forecast(stored, steps_are_data=bool(self.contract.source.accumulated))
        return open_stored(stored, present_names(self.contract.source, stored), self.names, "the input")

    def check(
        self,
        ds: xr.Dataset,
        reference_time: Any = None,
        convert_units: bool = False,
        allowed_missing_share: float | None = None,
        grid: GridSpec | None = None,
        origin: Origin | None = None,
    ) -> CheckedInput:
        """See `Forecaster.check`."""
        contract = self.contract
        refuse_forecast(ds, steps_are_data=bool(contract.source.accumulated))
        if origin is None:
            grid = grid or present_names(contract.source, ds)
            ds = split_values(ds, grid.select, "the input")
            single = {name: value for name, value in grid.select.items() if not isinstance(value, list)}
            ds = split_directions(ds, grid, "the input")
            grid = replace(grid, select=single)
        refuse_unwritable(ds, "the input")
        checks.check_variables(ds, self.inputs)
        if origin is None:
            ds, origin = canonicalize(ds, grid, self.names, source="the input")
        canonical = ds[self.names]
        checks.check_grid(canonical, contract.grid)
        conversions = checks.unit_conversions(canonical, self.inputs, convert_units)
        checks.check_time_axis(canonical, contract.calendar, contract.step)
        frames = Frames(canonical[TIME].values, contract.step)
        reference = find_reference(frames, contract.offsets, reference_time)
        older = "" if reference_time is not None else older_window(frames, contract.offsets, reference)
        channels = [variable.name for variable in contract.variables]
        window = frames.positions(frames.window(reference, contract.offsets))
        values = read_frames(canonical, window, conversions, channels)
        remarks, shares = self.judge(values, allowed_missing_share)
        if older:
            warnings.warn(older, OlderWindowWarning, stacklevel=4)
        if remarks:
            warnings.warn("; ".join(remarks), checks.TrainingRangeWarning, stacklevel=4)
        return CheckedInput(
            canonical, origin, frames, reference, values, conversions, channels, remarks, shares, older
        )

    def judge(
        self, values: np.ndarray, allowed_missing_share: float | None = None
    ) -> tuple[list[str], dict[str, float]]:
        """Compare the values of a window with those of the training period.

        Args:
            values: See `CheckedInput.values`.
            allowed_missing_share: See `Forecaster.check`.

        Returns:
            Remarks and shares, see `CheckedInput`.

        Raises:
            DataError: A value is infinite.
            MissingValuesError: Too many values are missing.
        """
        self.require_values(values, allowed_missing_share)
        contract, seen = self.contract, values[self._seen]
        remarks = checks.range_remarks(seen, self.inputs, contract.ranges)
        return remarks, checks.shares(seen, self.always_valid, self.inputs, contract.ranges)

    def require_values(self, values: np.ndarray, allowed_missing_share: float | None = None) -> None:
        """Refuse a window with infinite values, or with too many missing ones; see `judge`."""
        share = self.contract.allowed_missing_share
        share = share if allowed_missing_share is None else allowed_missing_share
        checks.check_missing(values[self._seen], self.always_valid, self.names, share)


def read_frames(
    ds: xr.Dataset, positions: Sequence[int], conversions: Mapping[str, Conversion], channels: Sequence[str]
) -> np.ndarray:
    """Read frames in the units of the model.

    Args:
        ds: Canonical data.
        positions: Indices of the frames.
        conversions: Conversions from the user's units to the model's, by variable.
        channels: Variables of the model; one without a conversion is all NaN.

    Returns:
        float32, (variable, time, lat, lon).
    """
    start, stop = positions[0], positions[-1] + 1
    consecutive = list(positions) == list(range(start, stop))
    chosen = ds.isel({TIME: slice(start, stop) if consecutive else list(positions)})
    first = next(iter(chosen.data_vars.values()))
    return np.stack(
        [
            conversions[name].forward(np.asarray(chosen[name].values))
            if name in conversions
            else np.full(first.shape, np.nan, dtype=np.float32)
            for name in channels
        ]
    )


def present_names(source: GridSpec, ds: xr.Dataset) -> GridSpec:
    """Return the grid description of the training data, without names that a Dataset does not have."""
    names = {*map(str, ds.variables), *map(str, ds.dims)}

    def present(name: str | None) -> str | None:
        return name if name in names else None

    return replace(
        source,
        time=present(source.time),
        lat=present(source.lat),
        lon=present(source.lon),
        y=present(source.y),
        x=present(source.x),
        select={key: value for key, value in source.select.items() if key in names},
    )
