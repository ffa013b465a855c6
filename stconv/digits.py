"""Numbers of a range as text, with the digits that tell its ends apart."""

from __future__ import annotations

import math


def digits_for(low: float, high: float, digits: int = 3) -> int:
    """Significant digits with which values of a range are written: enough for a tenth of its width.

    Args:
        low: Lowest value.
        high: Highest value.
        digits: Least number of digits.
    """
    largest, width = max(abs(low), abs(high)), high - low
    if math.isfinite(largest) and width > 0:
        return max(digits, math.floor(math.log10(largest)) - math.floor(math.log10(width)) + 2)
    return digits


def both_ends(low: float, high: float, digits: int = 3) -> tuple[str, str]:
    """Write the ends of a range; 6.371e6 plus or minus 0.04 gives 6370999.96 and 6371000.04."""
    digits = digits_for(low, high, digits)
    return f"{low:.{digits}g}", f"{high:.{digits}g}"
