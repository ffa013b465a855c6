"""Parser of fields as JSON. It reads untrusted data and runs in the restricted child process only."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

import cftime
import numpy as np
import orjson

from service.problems import Malformed, Problem, TooLarge, Unprocessable
from service.uploads.bounds import MAX_TIMES, MAX_UNITS_BYTES, MAX_VARIABLES, check_count, check_fields
from service.wire.codec import RawVariable, encode, names

GEOGRAPHIC = {
    "latitude": {"standard_name": "latitude", "units": "degrees_north"},
    "longitude": {"standard_name": "longitude", "units": "degrees_east"},
}
PROJECTED = {
    "y": {"standard_name": "projection_y_coordinate"},
    "x": {"standard_name": "projection_x_coordinate"},
}
KINDS = {
    dict: "an object",
    list: "a list",
    str: "text",
    int: "a number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}
"""Values of JSON in words."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
TIME_UNITS = "seconds since 1970-01-01T00:00:00"
INSTANT = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.0+)?)?)?(?:Z|\+00:00)?")


MEMBERS = {"time", "calendar", "variables", *GEOGRAPHIC, *PROJECTED}


def parse_json(body: bytes, max_decoded_bytes: int) -> bytes:
    """Read fields from JSON: `time`, `latitude`, `longitude` (or `y`, `x`) and `variables`.

    `further` lists variables on axes of their own, each item with the same members; an axis of item 0 is
    called `time_further_0`.

    Args:
        body: The JSON text, UTF-8.
        max_decoded_bytes: Limit for all values together, as float64, bytes.

    Returns:
        The raw variables, encoded by `wire.codec.encode`.

    Raises:
        Problem: The body is not JSON, holds NaN, lacks a member, or the shape of values does not match the
            axes.
    """
    document = _load(body)
    if b"true" in body or b"false" in body:
        _refuse_truth(document)
    further = _member(document, "further", list, "") if "further" in document else []
    check_count("items in further", len(further), MAX_VARIABLES)
    found = _Fields(max_decoded_bytes)
    found.add(document, MEMBERS | {"further"})
    for number, item in enumerate(further):
        where = f"further[{number}]"
        if not isinstance(item, dict):
            raise Unprocessable(f"{where} is {KINDS[type(item)]}; expected an object.", kind="shape")
        own = {"calendar": document.get("calendar", "standard"), **item}
        found.add(own, MEMBERS, f"{where}.", f"_further_{number}")
    check_fields(found.variables, {})
    return encode(found.variables, {})


class _Fields:
    """The variables and axes that were read so far.

    Args:
        max_decoded_bytes: Limit for all values together, as float64, bytes.
    """

    def __init__(self, max_decoded_bytes: int) -> None:
        self.variables: dict[str, RawVariable] = {}
        self._limit, self._needed = max_decoded_bytes, 0

    def add(self, document: dict[str, Any], known: set[str], where: str = "", suffix: str = "") -> None:
        """Add the variables of an object and their axes.

        Args:
            document: The object.
            known: Members that it may have.
            where: Its place in the body, for messages.
            suffix: End of the names of its axes.
        """
        if unknown := sorted(f"{where}{name}" for name in set(document) - known):
            raise Unprocessable(f"Unknown member {names(unknown)}; expected {names(sorted(known))}.")
        axes = PROJECTED if "y" in document or "x" in document else GEOGRAPHIC
        dims = tuple(f"{axis}{suffix}" for axis in ("time", *axes))
        if both := sorted(set(dims) & set(self.variables)):
            raise Unprocessable(f"variables.{names(both)} has the name of an axis.", kind="variable")
        self.variables[dims[0]] = _time(document, where, dims[0])
        for (axis, attrs), dim in zip(axes.items(), dims[1:], strict=True):
            values = _array(_member(document, axis, list, where), f"{where}{axis}", missing=False)
            if values.ndim != 1:
                raise Unprocessable(
                    f"{where}{axis} has {values.ndim} dimensions; expected a list of numbers.", kind="shape"
                )
            self.variables[dim] = RawVariable((dim,), values, dict(attrs))
        shape = tuple(self.variables[dim].values.size for dim in dims)
        fields = _member(document, "variables", dict, where)
        if not fields:
            raise Unprocessable(
                f"{where}variables is empty; expected {{NAME: {{units, values}}}}.", kind="variable"
            )
        check_count("variables", len(fields), MAX_VARIABLES)
        self._needed += 8 * len(fields) * int(np.prod(shape, dtype=object))
        if self._needed > self._limit:
            raise TooLarge(
                f"The axes and variables need {self._needed} bytes; at most {self._limit} are accepted.",
                declared_bytes=self._needed,
                limit_bytes=self._limit,
            )
        for name, field in fields.items():
            at = f"{where}variables.{names([name])}"
            if name in self.variables:
                taken = "an axis" if self.variables[name].values.ndim == 1 else "another variable"
                raise Unprocessable(f"{at} has the name of {taken}.", kind="variable")
            self.variables[name] = _field(f"{where}variables.{name[:60]}", field, dims, shape)


def _load(body: bytes) -> dict[str, Any]:
    body = body.removeprefix(BYTE_ORDER_MARK)  # RFC 8259, section 8.1: a parser may ignore it
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = _load_slowly(body)
    if not isinstance(document, dict):
        raise Unprocessable(f"The body is {KINDS[type(document)]}; expected an object.", kind="shape")
    return document


def _load_slowly(body: bytes) -> Any:
    """Parse with the standard library what orjson refuses, because its messages are better."""

    def refuse(constant: str) -> NoReturn:
        raise Malformed(f"The body holds {constant}, which is not valid JSON. Send null for a missing value.")

    try:
        return json.loads(body.decode("utf-8"), parse_constant=refuse)
    except Problem:
        raise
    except RecursionError as error:
        raise Malformed("The body is nested too deeply.") from error
    except UnicodeDecodeError as error:
        raise Malformed("The body is not valid JSON: it is no text in UTF-8.") from error
    except ValueError as error:  # includes integers of thousands of digits
        raise Malformed(f"The body is not valid JSON: {error}") from error


def _refuse_truth(document: dict[str, Any]) -> None:
    """Refuse true and false anywhere: no member takes them, and NumPy reads them as 1 and 0 among numbers."""
    left: list[tuple[str, Any]] = [("The body", document)]
    while left:
        where, value = left.pop()
        inner = value.values() if isinstance(value, dict) else value
        if any(isinstance(each, bool) for each in inner):
            raise Unprocessable(f"{where} holds true or false; expected numbers, text or null.")
        if isinstance(value, dict):
            left += [(name[:60], each) for name, each in value.items() if isinstance(each, dict | list)]
        else:
            left += [(where, each) for each in value if isinstance(each, dict | list)]


def _member(document: dict[str, Any], name: str, kind: type, where: str) -> Any:
    if name not in document:
        raise Unprocessable(
            f"{where + name!r} is missing; found {names(sorted(document)) or 'nothing'}.",
            kind="member-missing",
        )
    if not isinstance(document[name], kind):
        found = KINDS[type(document[name])]
        raise Unprocessable(f"{where}{name} is {found}; expected {KINDS[kind]}.", kind="shape")
    return document[name]


def _time(document: dict[str, Any], where: str, dim: str) -> RawVariable:
    calendar = document.get("calendar", "standard")
    if not isinstance(calendar, str):
        raise Unprocessable(
            f"{where}calendar is {KINDS[type(calendar)]}; expected text such as 'noleap'.",
            kind="time-axis",
        )
    check_count("bytes in the calendar", len(calendar), MAX_UNITS_BYTES)
    instants = []
    times = _member(document, "time", list, where)
    check_count("times", len(times), MAX_TIMES)
    for index, text in enumerate(times):
        found = INSTANT.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise Unprocessable(
                f"{where}time[{index}] is {str(text)[:60]!r}; expected UTC like '2014-12-31T18:00:00'.",
                kind="time-axis",
            )
        try:
            instants.append(cftime.datetime(*(int(part or 0) for part in found.groups()), calendar=calendar))
        except (ValueError, TypeError) as error:
            raise Unprocessable(
                f"{where}time[{index}] is {text!r}, not in the calendar {str(calendar)[:60]!r}: {error}",
                kind="time-axis",
            ) from error
    seconds = np.asarray(cftime.date2num(instants, TIME_UNITS, calendar) if instants else [], dtype="int64")
    attrs = {"units": TIME_UNITS, "calendar": calendar, "standard_name": "time"}
    return RawVariable((dim,), seconds, attrs)


def _field(where: str, field: Any, dims: tuple[str, ...], shape: tuple[int, ...]) -> RawVariable:
    if not isinstance(field, dict) or "values" not in field:
        found = "an object without values" if isinstance(field, dict) else KINDS[type(field)]
        raise Unprocessable(f"{where} is {found}; expected an object with units and values.")
    units = field.get("units")
    if units is not None and not isinstance(units, str):
        raise Unprocessable(f"{where}.units is {str(units)[:60]!r}; expected text like 'K'.", kind="units")
    values = _array(field["values"], f"{where}.values", missing=True)
    if values.shape != shape:
        raise Unprocessable(
            f"{where}.values has shape {values.shape}; expected {shape}, the sizes of {', '.join(dims)}.",
            kind="shape",
        )
    return RawVariable(dims, values, {} if units is None else {"units": units})


def _array(values: Any, where: str, *, missing: bool) -> np.ndarray:
    """Convert nested lists to float64; null becomes NaN if `missing` values are allowed."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise Unprocessable(f"{where} is ragged; expected lists of equal length.", kind="shape") from error
    kinds = set() if array.dtype.kind in "fiu" else {type(item) for item in array.ravel().tolist()}
    wrong = kinds - ({float, int, type(None)} if missing else {float, int})
    if wrong:
        found = ", ".join(sorted(KINDS[kind] for kind in wrong))
        raise Unprocessable(f"{where} holds {found}; expected numbers{' or null' if missing else ''}.")
    try:
        array = array.astype("float64")
    except OverflowError as error:
        raise Unprocessable(f"{where} holds a number outside the range of float64.") from error
    if np.isinf(array).any():
        raise Unprocessable(
            f"{where} holds a number outside the range of float64 at {_first(np.isinf(array))}."
        )
    return array


def _first(mask: np.ndarray) -> list[int]:
    return [int(index) for index in np.argwhere(mask)[0]]
