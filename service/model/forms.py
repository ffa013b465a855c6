"""Forecasts from uploads of a known form, not all of it looked at anew. Runs in the model's process.

The form of an upload is all of it but the values of its fields and how late its times are: names, order,
axes, units, attributes, steps. The library reads the first upload of a form. What it did with that one is
kept, if a choice of cells, a conversion to float32 and a shift in time say it all; where they do not, as with
packed values or other calendars, the library reads every upload.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from service.wire.codec import RawVariable, decode, head
from stconv.dims import LEAD, TIME
from stconv.errors import DataError
from stconv.forecast import Forecaster
from stconv.forecast.inputs import CheckedInput

MOST_FORMS = 16
LARGEST = 1_000_000
"""Bytes of a form, values of a window and of a forecast; in larger ones only the network's time counts."""
CODED = {
    *("_FillValue", "missing_value", "scale_factor", "add_offset", "_Unsigned", "dtype"),
    *("valid_range", "valid_min", "valid_max"),
}
"""Attributes with which values are not what is written; a fill value of NaN is."""
NEVER_WRITTEN = 9e36
"""From here on values may stand for missing (NetCDF users' guide: the default fill value is 9.97e36)."""
SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
LATEST, EARLIEST = np.datetime64("2250-01-01", "ns"), np.datetime64("1700-01-01", "ns")


class Forms:
    """What is known of the forms of earlier uploads; the least recently used are forgotten.

    Args:
        forecaster: Reads, checks and forecasts.
    """

    def __init__(self, forecaster: Forecaster) -> None:
        self._forecaster = forecaster
        self._known: OrderedDict[tuple[Any, ...], _Form | None] = OrderedDict()

    def forecast(self, body: bytes, steps: int | None, bands: bool = True) -> xr.Dataset:
        """Forecast from an upload as `Forecaster.forecast` does, from the newest window.

        Args:
            body: As `wire.encode` writes it.
            steps: As in `Forecaster.forecast`.
            bands: As in `Forecaster.forecast`.

        Raises:
            DataError: As `Forecaster.forecast`.
        """
        variables, attrs = decode(body)
        key = _form_of(body, variables, self._forecaster.names)
        key = key and (*key, steps, bands)
        form = self._known.get(key) if key else None
        if key and form and (checked := form.check(variables, self._forecaster)) is not None:
            self._known.move_to_end(key)
            return form.describe(self._forecaster.fields(checked, steps, bands), checked, self._forecaster)
        checked = self._forecaster.check(as_dataset(variables, attrs))
        fields = self._forecaster.fields(checked, steps, bands)
        answer = self._forecaster.describe(fields, checked)
        if key and key not in self._known:
            self._known[key] = _learn(variables, checked, fields, answer, self._forecaster)
            while len(self._known) > MOST_FORMS:
                self._known.popitem(last=False)
        return answer


@dataclass(frozen=True)
class _Form:
    """What the library made of the first upload.

    Attributes:
        time: Name of its time in the file.
        newest: Its last number, and the seconds that one counts.
        checked: The input, without its fields.
        cells: For each variable of the window, how to find it: (name, axes, indices), None if it is no input.
        answer: The forecast; its values are those of the first upload.
        written: For each variable of the answer, (output, bound, indices, axes) in `fields`.
    """

    time: str
    newest: tuple[float, int]
    checked: CheckedInput
    cells: list[tuple[str, tuple[int, ...], tuple[Any, ...]] | None]
    answer: xr.Dataset
    written: dict[str, tuple[int, int, tuple[Any, ...], tuple[int, ...]]]

    def check(self, variables: dict[str, RawVariable], forecaster: Forecaster) -> CheckedInput | None:
        """The checked input; None where only the library can say what it is.

        Raises:
            DataError: Values are missing that must be there.
        """
        shift = self._shift(variables)
        values = self.window(variables)
        if shift is None or not np.fmax.reduce(np.abs(values), axis=None) < NEVER_WRITTEN:
            return None
        remarks, shares = forecaster.expected.judge(values)
        reference = self.checked.reference_time + shift
        return replace(self.checked, reference_time=reference, values=values, remarks=remarks, shares=shares)

    def window(self, variables: dict[str, RawVariable]) -> np.ndarray:
        """The values of the window, float32, (variable, time, lat, lon)."""
        values = np.full(self.checked.values.shape, np.nan, dtype=np.float32)
        for row, cell in zip(values, self.cells, strict=True):
            if cell is not None:
                name, axes, indices = cell
                row[...] = variables[name].values.transpose(axes)[-len(row) :][indices]
        return values

    def describe(self, fields: np.ndarray, checked: CheckedInput, forecaster: Forecaster) -> xr.Dataset:
        """The answer with these fields and times."""
        answer = self.answer.copy()
        for name, values in self.values(fields).items():
            answer.variables[name].values = values
        shift = checked.reference_time - self.checked.reference_time
        for variable in answer.variables.values():
            if shift and variable.dtype.kind == "M":
                variable.values = variable.values + shift
        before = str(self.answer.attrs["history"]).partition("\n")[2]
        answer.attrs = {**self.answer.attrs, **forecaster.provenance(checked, before)}
        if not checked.remarks:
            answer.attrs.pop("input_outside_training_range", None)
        return answer

    def values(self, fields: np.ndarray) -> dict[str, np.ndarray]:
        """Fields by the names of the answer, in its order."""
        return {
            name: fields[bound, output][indices].transpose(axes)
            for name, (output, bound, indices, axes) in self.written.items()
        }

    def _shift(self, variables: dict[str, RawVariable]) -> np.timedelta64 | None:
        number, unit = self.newest
        seconds = (float(variables[self.time].values[-1]) - number) * unit
        if seconds != round(seconds):
            return None
        shift = np.timedelta64(int(seconds), "s")
        latest = self.checked.reference_time.astype("datetime64[s]") + shift
        return shift if EARLIEST < latest < LATEST else None


def as_dataset(variables: dict[str, RawVariable], attrs: dict[str, Any]) -> xr.Dataset:
    """Decode an upload as xarray decodes a file.

    Raises:
        DataError: Its attributes can not be decoded.
    """
    raw = xr.Dataset({name: (v.dims, v.values, v.attrs) for name, v in variables.items()}, attrs=attrs)
    try:
        return xr.decode_cf(raw)
    except Exception as error:  # a client's attributes can break decoding in many ways
        raise DataError(f"The attributes of the input can not be decoded: {error}") from error


def _form_of(body: bytes, variables: dict[str, RawVariable], names: list[str]) -> tuple[Any, ...] | None:
    """All but the values of the fields and how late it is; None if it is nothing to learn from."""
    time = _time_name(variables)
    if time is None or any(name not in variables for name in names):
        return None
    others = {name: v.values for name, v in variables.items() if name != time and name not in names}
    header = head(body)
    if len(header) + sum(values.nbytes for values in others.values()) > LARGEST:
        return None
    steps = np.diff(variables[time].values)
    return header, steps.tobytes(), *(values.tobytes() for values in others.values())


def _time_name(variables: dict[str, RawVariable]) -> str | None:
    """The variable that counts time, if there is just one and it is a list of numbers."""
    counting = [name for name, v in variables.items() if " since " in str(v.attrs.get("units", ""))]
    found = variables[counting[0]].values if len(counting) == 1 else np.empty(0)
    return counting[0] if found.ndim == 1 and found.size and found.dtype.kind in "iuf" else None


def _learn(
    variables: dict[str, RawVariable],
    checked: CheckedInput,
    fields: np.ndarray,
    answer: xr.Dataset,
    forecaster: Forecaster,
) -> _Form | None:
    """Say what the library did in a few words, and hold that against what it did."""
    time = _time_name(variables)
    dims = forecaster.bundle.spec["grid"]["dims"]
    n, origin = len(forecaster.offsets), checked.origin
    assert time is not None
    units = str(variables[time].attrs["units"]).partition(" ")[0].lower().removesuffix("s")
    raw, times = variables[time].values, checked.frames.times
    if (
        max(checked.values.size, fields.size) > LARGEST
        or any(not _plain(variables[name]) for name in forecaster.names)
        or tuple(forecaster.offsets) != tuple(range(1 - n, 1))
        or forecaster.step.kind != "fixed"
        or times.dtype.kind != "M"
        or times.size != raw.size
        or checked.reference_time != times[-1]
        or units not in SECONDS
        or not np.array_equal(
            (times - times[-1]) / np.timedelta64(1, "s"), (raw - raw[-1]) * float(SECONDS[units])
        )
        or not all(conversion.identity for conversion in checked.conversions.values())
    ):
        return None
    in_file = [origin.dims.get(dim, dim) for dim in (TIME, *dims)]
    order = [np.asarray(origin.order.get(dim, range(origin.sizes[dim]))) for dim in dims]
    back = [np.argsort(indices) for indices in order]
    there, again = (slice(None), *np.ix_(*order)), (slice(None), *np.ix_(*back))
    if any(set(variables[name].dims) != set(in_file) for name in forecaster.names):
        return None
    cells = [
        (name, tuple(variables[name].dims.index(dim) for dim in in_file), there)
        if name in forecaster.names
        else None
        for name in checked.channels
    ]
    canonical = [LEAD, *in_file[1:]]
    written = {}
    for output, variable in enumerate(forecaster.outputs):
        for bound, suffix in enumerate(["", *forecaster.band_names][: len(fields)]):
            name = f"{variable['name']}{suffix}"
            if name not in answer or set(answer[name].dims) != set(canonical):
                return None
            axes = tuple(canonical.index(str(dim)) for dim in answer[name].dims)
            written[name] = output, bound, again, axes
    form = _Form(
        time, (float(raw[-1]), SECONDS[units]), replace(checked, ds=xr.Dataset()), cells, answer, written
    )
    told = form.values(fields)
    same = np.array_equal(form.window(variables), checked.values, equal_nan=True) and all(
        np.array_equal(told[name], answer[name].values, equal_nan=True) for name in written
    )
    return form if same else None


def _plain(variable: RawVariable) -> bool:
    """Whether the values are what is written."""
    coded = {name: value for name, value in variable.attrs.items() if name in CODED}
    fill = coded.pop("_FillValue", np.nan)
    return variable.values.dtype.kind == "f" and not coded and np.isnan(np.asarray(fill, float)).all()
