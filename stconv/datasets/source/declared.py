"""Declared missing values in the stored type, and the conversion to physical values.

Source: NetCDF users' guide, appendix A (attribute conventions); CF conventions 1.11, sections 2.5.1 and 8.1.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from stconv.datasets.source.attributes import SourceWarning, ncatted, numbers, plain_value
from stconv.errors import VariableError

DEFAULT_FILL: dict[str, float | int] = {
    "i2": -32767,
    "u2": 65535,
    "i4": -2147483647,
    "u4": 4294967295,
    "i8": -9223372036854775806,
    "u8": 18446744073709551614,
    "f4": 9.969209968386869e36,
    "f8": 9.969209968386869e36,
}
"""Default fill values of the NetCDF library, declared or not (netcdf.h, NC_FILL_*)."""
RECORD_FILL = {"i1": -127, "u1": 255}
"""Default fill values of bytes, which may also be data: they mean missing only if they fill a whole frame."""
STATEMENTS = ("_FillValue", "missing_value")
OTHER_SPELLINGS = frozenset(
    {
        "fillvalue",
        "missingvalue",
        "missingvalues",
        "missing",
        "codemissingvalue",
        "nodata",
        "nodatavalue",
        "undef",
    }
)
"""Names of `_FillValue` outside of CF, in lower case without underscores (HDF5 of satellites, GDAL)."""
NOT_A_STATEMENT = (0, 1)
"""Values that libraries write into such attributes by default."""
UNPACKED_SLACK = 1e-6
"""Relative tolerance of a limit in physical units that was converted to packed values in float32."""


@dataclass(frozen=True)
class Declared:
    """Interpretation of stored values: the missing ones, and scale and offset.

    Attributes:
        stored: Type of the stored values, with the signedness that the file declares.
        fills: Stored values that are missing, in the stored type.
        frame_fill: Stored value that means missing if it fills a whole frame, or None.
        low: Lowest valid stored value, None for no limit.
        high: Highest valid stored value, None for no limit.
        scale: Physical = scale * stored + offset.
        offset: See `scale`.
    """

    stored: np.dtype[Any]
    fills: tuple[Any, ...] = ()
    frame_fill: int | None = None
    low: Any = None
    high: Any = None
    scale: float = 1.0
    offset: float = 0.0

    @property
    def packed(self) -> bool:
        """Whether physical values differ from stored ones."""
        return (self.scale, self.offset) != (1.0, 0.0)

    def missing(self, values: np.ndarray) -> np.ndarray:
        """Mask of missing stored values, bool, without NaN, which is always missing."""
        mask = np.zeros(values.shape, dtype=bool)
        for fill in self.fills:
            mask |= values == fill
        if self.low is not None:
            mask |= values < self.low
        if self.high is not None:
            mask |= values > self.high
        if self.frame_fill is not None and values.ndim > 1:
            mask |= (values == self.frame_fill).all(axis=(-2, -1), keepdims=True)
        return mask

    def physical(self, values: np.ndarray) -> np.ndarray:
        """Unpack stored values in float64, NaN where missing; floats that are not packed keep their type."""
        if self.stored.kind in "iu" and values.dtype != self.stored:
            values = values.view(self.stored)
        mask = self.missing(values)
        kept = not self.packed and (self.stored.kind == "f" or self.stored.itemsize <= 2)
        result = values.astype(np.result_type(values.dtype, np.float32) if kept else np.float64, copy=False)
        if self.packed:
            result = result * self.scale + self.offset
        return np.where(mask, result.dtype.type(np.nan), result) if mask.any() else result

    def still_missing(self, values: np.ndarray) -> np.ndarray:
        """Mask of missing values that another library decoded as valid, bool."""
        stored = values
        if self.packed:
            stored = (values.astype(np.float64) - self.offset) / self.scale
            stored = np.rint(stored) if self.stored.kind in "iu" else stored.astype(self.stored)
        elif self.stored.kind == "f":
            stored = values.astype(self.stored)
        return self.missing(stored)


def declared_by(
    attrs: Mapping[Any, Any],
    stored: np.dtype[Any],
    name: str,
    source: str,
    own_range: bool = False,
) -> Declared:
    """Read the declaration of a variable from its attributes.

    Args:
        attrs: `_FillValue`, `missing_value` and their `OTHER_SPELLINGS`, `valid_range`, `valid_min`,
            `valid_max`, `scale_factor`, `add_offset`, `_Unsigned`; others are ignored. Numbers may be text.
        stored: Type of the stored values, integer or floating-point.
        name: Name of the variable, for messages.
        source: File or dataset, for messages.
        own_range: Whether the user states the valid range; limits of the file and default fills are then
            ignored.

    Raises:
        VariableError: Scale or offset is not a number.
    """
    unsigned = str(attrs.get("_Unsigned", "")).lower()
    if unsigned in ("true", "false") and stored.kind in "iu":
        stored = np.dtype(f"{stored.byteorder}{'u' if unsigned == 'true' else 'i'}{stored.itemsize}")
    scale = _one_number(attrs, "scale_factor", 1.0, name, source)
    offset = _one_number(attrs, "add_offset", 0.0, name, source)
    stated = [value for key in STATEMENTS for value in numbers(attrs, key, name, source)]
    others = [key for key in attrs if key not in STATEMENTS and _plain(key) in OTHER_SPELLINGS]
    stated += [v for key in others for v in numbers(attrs, key, name, source) if v not in NOT_A_STATEMENT]
    fills = [fill for value in stated for fill in _stored_fills(value, stored, scale, offset)]
    frame_fill = None
    if "_FillValue" not in attrs and not own_range:
        fills += _stored_fills(DEFAULT_FILL.get(stored.str[1:], np.nan), stored, 1.0, 0.0)
        frame_fill = RECORD_FILL.get(stored.str[1:])
    low, high = (None, None) if own_range else _limits(attrs, stored, scale, offset, name, source)
    return Declared(stored, tuple(dict.fromkeys(fills)), frame_fill, low, high, scale, offset)


def _plain(key: object) -> str:
    return str(key).lower().replace("_", "").replace(" ", "")


def _one_number(attrs: Mapping[Any, Any], key: str, default: float, name: str, source: str) -> float:
    if attrs.get(key) is None:
        return default
    found = numbers(attrs, key, name, source, strict=True)
    if len(found) != 1 or not np.isfinite(found[0]) or (key == "scale_factor" and found[0] == 0):
        raise VariableError(
            f"{source}: {key} of variable '{name}' is {plain_value(attrs[key])!r}; expected one number. "
            f"Correct the attribute, for example with `{ncatted(key, name, 'o,d,NUMBER')}`."
        )
    return float(found[0])


def _stored_fills(value: Any, stored: np.dtype[Any], scale: float, offset: float) -> list[Any]:
    """A declared value in the stored type; None if the type cannot hold it."""
    if stored.kind == "f":
        if np.isnan(value):
            return []
        with np.errstate(over="ignore"):
            same = [stored.type(value)]
            if stored.itemsize > 4:
                # Values or attribute may have been rounded to float32.
                single = np.float32(value)
                same += [stored.type(single), *([stored.type(str(single))] if value == single else [])]
        return same
    whole = _whole(value, stored)
    if whole is None and (scale, offset) != (1.0, 0.0) and np.isfinite(value):
        whole = _whole(np.rint((float(value) - offset) / scale), stored)  # declared in physical units
    return [] if whole is None else [stored.type(whole)]


def _whole(value: Any, stored: np.dtype[Any]) -> int | None:
    """A number as an integer of the stored type, reinterpreted if its sign differs; None if it is not one."""
    if not np.isfinite(value) or value != np.floor(value):
        return None
    whole, limits = int(value), np.iinfo(stored)
    if limits.min <= whole <= limits.max:
        return whole
    turn = 2 ** (8 * stored.itemsize)
    shifted = whole + turn if whole < 0 else whole - turn
    return shifted if limits.min <= shifted <= limits.max and abs(whole) < turn else None


def _limits(
    attrs: Mapping[Any, Any], stored: np.dtype[Any], scale: float, offset: float, name: str, source: str
) -> tuple[Any, Any]:
    """Lowest and highest valid stored value; None for no limit."""
    lows, highs = (list(numbers(attrs, key, name, source)) for key in ("valid_min", "valid_max"))
    both = numbers(attrs, "valid_range", name, source)
    if len(both) == 2:
        lows, highs = [*lows, both[0]], [*highs, both[1]]
    lows, highs = ([value for value in values if not np.isnan(value)] for values in (lows, highs))
    low, high = (None if not values else pick(values) for values, pick in ((lows, max), (highs, min)))
    if low is not None and high is not None and low > high and not _turned(low, high, stored):
        warnings.warn(
            f"{source}: the valid range of '{name}', {low} to {high}, is empty and is ignored. State the "
            f"valid range with `valid_range: {{{name}: [LOW, HIGH]}}` of the grid specification.",
            SourceWarning,
            stacklevel=2,
        )
        return None, None
    if (scale, offset) != (1.0, 0.0) and not _in_stored_type([*lows, *highs], stored):
        ends = [None if end is None else (float(end) - offset) / scale for end in (low, high)]
        low, high = ends if scale > 0 else ends[::-1]
        slack = UNPACKED_SLACK
    else:
        slack = 0.0
    if stored.kind in "iu":
        return _whole_limit(low, stored, slack, up=True), _whole_limit(high, stored, slack, up=False)
    return _float_limit(low, stored, -slack), _float_limit(high, stored, slack)


def _turned(low: Any, high: Any, stored: np.dtype[Any]) -> bool:
    """Whether limits of unsigned values are written as signed numbers: 0 to -6 means 0 to 250."""
    return stored.kind == "u" and min(low, high) < 0


def _in_stored_type(limits: list[Any], stored: np.dtype[Any]) -> bool:
    """Whether limits of packed values are packed as well: of an integer type, or of the stored type."""
    if stored.kind in "iu":
        return all(np.asarray(limit).dtype.kind in "iu" for limit in limits)
    return all(np.asarray(limit).dtype == stored for limit in limits)


def _whole_limit(limit: Any, stored: np.dtype[Any], slack: float, up: bool) -> Any:
    if limit is None or not np.isfinite(limit):
        return None
    ends = np.iinfo(stored)
    if stored.kind == "u" and limit < 0 and not slack:
        limit = _whole(limit, stored) if _whole(limit, stored) is not None else limit
    room = slack * max(1.0, abs(float(limit)))
    whole = math.ceil(limit - room) if up else math.floor(limit + room)
    if (up and whole <= ends.min) or (not up and whole >= ends.max):
        return None
    return stored.type(min(max(whole, ends.min), ends.max))


def _float_limit(limit: Any, stored: np.dtype[Any], slack: float) -> Any:
    if limit is None or not np.isfinite(limit):
        return None
    if stored.itemsize > 4 and np.float32(limit) == limit and np.asarray(limit).dtype == np.float32:
        return stored.type(str(np.float32(limit)))  # a float32 limit means its decimal form
    return stored.type(limit + slack * abs(limit))
