"""A small, bounded grammar of units: a number, and a product of names with integer powers.

Units are untrusted text, and a library that evaluates expressions would compute `9**9**9`. Only the names
that this grammar reads are passed to pint; any other text is compared as text.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache

LONGEST = 120
"""Longest text of units, in characters."""
MOST_FACTORS = 12
LARGEST_EXPONENT = 12
LARGEST_MAGNITUDE = 30
"""Largest power of ten of a number."""
DEEPEST = 3
"""Deepest nesting of brackets."""

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
        *("dimensionless", "unitless", "nondimensional", "non-dimensional", "-", "--"),
    }
)
_SPELLINGS = {
    "C": "degC",
    "mb": "millibar",
    "pct": "percent",
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
"""Names in pint by spellings of data files, in lower case; C as written, which pint reads as coulomb."""


class _UnreadError(Exception):
    """The text does not follow the grammar."""


@dataclass(frozen=True)
class UnitProduct:
    """A number times powers of names: ``100 Pa`` is 100 and (("Pa", 1),); without names it is dimensionless.

    Attributes:
        scale: The number.
        factors: Names and powers; a name is spelled as in the text or as in pint.
    """

    scale: float
    factors: tuple[tuple[str, int], ...]


@lru_cache(maxsize=512)
def read_units(text: str) -> UnitProduct | None:
    """Read a text of units.

    It accepts the powers and products of UDUNITS and pint (``m s-1``, ``m s**-1``, ``m/s``, ``m.s⁻¹``),
    numbers as factors, and common names of dimensionless numbers such as ``(0 - 1)``.

    Args:
        text: Units as a file states them.

    Returns:
        The product; None for text that the grammar does not accept.
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
    """Kind and text of each token, and whether it directly follows the one before."""
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
    """Sequential reader of a list of tokens."""

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
        """Read a name, number or bracket with its power."""
        kind, text, _ = self._next()
        if kind == "open":
            if depth == DEEPEST:
                raise _UnreadError
            scale, factors = self.product(depth + 1)
            if self._next()[0] != "close":
                raise _UnreadError
        elif kind == "name":
            scale, factors = 1.0, [(_SPELLINGS.get(text) or _SPELLINGS.get(text.lower(), text), 1)]
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
        """Read the integer after `**` or `^`, or directly after a name or bracket; else 1."""
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
