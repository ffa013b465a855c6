"""A small grammar of units, with bounds: a product of names with whole powers, and a number in front.

Units are text of strangers, and a library that evaluates text takes `9**9**9` for a task. Only what this
grammar reads reaches pint, one name at a time; any other text is compared as text.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache

LONGEST = 120
"""Characters of a text of units."""
MOST_FACTORS = 12
LARGEST_EXPONENT = 12
LARGEST_MAGNITUDE = 30
"""Powers of ten of a number."""
DEEPEST = 3
"""Brackets inside one another."""

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)|(?P<name>[^\W\d]+|[%°µμ][^\W\d]*)"
    r"|(?P<power>\*\*|\^)|(?P<times>[*·⋅\xd7.])|(?P<over>/)|(?P<sign>[+-])|(?P<open>\()|(?P<close>\)))"
)
_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_RAISED = re.compile("[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_OF_WATER = re.compile(r"\s+of\s+(liquid\s+)?water(\s+equivalent)?$", re.IGNORECASE)
_DEGREES = re.compile(r"^deg(?:rees?)?[ _.]*(C|F|K)(?:elsius|ahrenheit|elvin)?$", re.IGNORECASE)
_TEMPERATURES = {"C": "degC", "F": "degF", "K": "kelvin"}
_WITHOUT_DIMENSION = frozenset(
    {
        *("(0 - 1)", "(0-1)", "0 - 1", "0-1", "[0 - 1]", "[0-1]", "fraction", "proportion", "ratio"),
        *("dimensionless", "unitless", "nondimensional", "non-dimensional"),
    }
)
_SPELLINGS = {
    "mb": "millibar",
    "mbs": "millibar",
    "millibars": "millibar",
    "celsius": "degC",
    "centigrade": "degC",
    "fahrenheit": "degF",
    "℃": "degC",
    "℉": "degF",
    "%": "percent",
    "°": "degree",
    "°c": "degC",
    "°f": "degF",
    "°k": "kelvin",
}
"""Spellings of data files, in lower case, by what pint calls them; `mb` is no millibarn there."""


class _UnreadError(Exception):
    """The text is not of this grammar."""


@dataclass(frozen=True)
class UnitProduct:
    """A number times names with powers: ``100 Pa`` is 100 and (("Pa", 1),); no names, no dimension.

    Attributes:
        scale: The number.
        factors: Names and powers, each name as the text spells it or as pint calls it.
    """

    scale: float
    factors: tuple[tuple[str, int], ...]


@lru_cache(maxsize=512)
def read_units(text: str) -> UnitProduct | None:
    """Read a text of units.

    Known are UDUNITS' and pint's ways to write powers and products (``m s-1``, ``m s**-1``, ``m/s``,
    ``m.s⁻¹``), numbers as factors, and usual names of a number without dimension such as ``(0 - 1)``.

    Args:
        text: Units as a file states them.

    Returns:
        The product; None for text that is longer, deeper or other than the grammar allows.
    """
    text = _OF_WATER.sub("", text.strip())
    if not text or len(text) > LONGEST:
        return None
    if text.lower() in _WITHOUT_DIMENSION:
        return UnitProduct(1.0, ())
    temperature = _DEGREES.match(text)
    if temperature:
        return UnitProduct(1.0, ((_TEMPERATURES[temperature[1].upper()], 1),))
    try:
        reader = _Reader(_tokens(_RAISED.sub(lambda m: "^" + m[0].translate(_SUPERSCRIPT), text)))
        scale, factors = reader.product(0)
    except _UnreadError:
        return None
    if reader.rest or len(factors) > MOST_FACTORS or abs(math.log10(scale)) > LARGEST_MAGNITUDE:
        return None
    return UnitProduct(scale, tuple(factors))


def _tokens(text: str) -> list[tuple[str, str, bool]]:
    """Kind and text of each token, and whether it follows the one before without a space."""
    found: list[tuple[str, str, bool]] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _UnreadError
        kind = str(match.lastgroup)
        found.append((kind, match[kind], match.start(kind) == position))
        position = match.end()
    return found


class _Reader:
    """Reads a list of tokens from its beginning."""

    def __init__(self, tokens: list[tuple[str, str, bool]]) -> None:
        self.rest = tokens

    def product(self, depth: int) -> tuple[float, list[tuple[str, int]]]:
        scale, factors = self._power(depth)
        while self.rest and self.rest[0][0] != "close":
            inverse = self.rest[0][0] == "over" or self.rest[0][1].lower() == "per"
            if inverse or self.rest[0][0] == "times":
                self.rest.pop(0)
            number, names = self._power(depth)
            scale *= 1 / number if inverse else number
            factors += [(name, -power if inverse else power) for name, power in names]
            if len(factors) > MOST_FACTORS or not 1e-200 < scale < 1e200:
                raise _UnreadError
        return scale, factors

    def _power(self, depth: int) -> tuple[float, list[tuple[str, int]]]:
        """One name, number or bracket, with its power."""
        kind, text, _ = self._next()
        if kind == "open":
            if depth == DEEPEST:
                raise _UnreadError
            scale, factors = self.product(depth + 1)
            if self._next()[0] != "close":
                raise _UnreadError
        elif kind == "name":
            scale, factors = 1.0, [(_SPELLINGS.get(text.lower(), text), 1)]
        elif kind == "number":
            scale, factors = float(text), []
        else:
            raise _UnreadError
        power = self._exponent(kind)
        if abs(power) > LARGEST_EXPONENT or any(abs(n * power) > LARGEST_EXPONENT for _, n in factors):
            raise _UnreadError
        if scale == 0 or abs(math.log10(scale) * power) > LARGEST_MAGNITUDE:
            raise _UnreadError
        return scale**power, [(name, n * power) for name, n in factors]

    def _exponent(self, kind: str) -> int:
        """A whole number after `**`, `^` or, after a name or a bracket, right behind it; else 1."""
        if not self.rest:
            return 1
        if self.rest[0][0] == "power":
            self.rest.pop(0)
        elif kind == "number" or not self.rest[0][2] or self.rest[0][0] not in ("number", "sign"):
            return 1
        bracket = bool(self.rest) and self.rest[0][0] == "open"
        if bracket:
            self.rest.pop(0)
        sign = 1
        if self.rest and self.rest[0][0] == "sign":
            sign = -1 if self.rest.pop(0)[1] == "-" else 1
        kind, text, _ = self._next()
        if kind != "number" or not text.isdigit() or len(text) > 2:
            raise _UnreadError
        if bracket and self._next()[0] != "close":
            raise _UnreadError
        return sign * int(text)

    def _next(self) -> tuple[str, str, bool]:
        if not self.rest:
            raise _UnreadError
        return self.rest.pop(0)
