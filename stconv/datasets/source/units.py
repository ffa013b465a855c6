"""Conversion of units that is a factor and an offset, by pint with the spellings of the field."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from stconv.errors import UnitsError

_TEMPERATURE = re.compile(r"^deg(?:rees?)?[ _]?(C|F|K)(?:elsius|ahrenheit|elvin)?$", re.IGNORECASE)
WATER_DENSITY = 1000.0
"""Density of liquid water, kg m-3, by which rain in kg m-2 is rain in mm (CF, guidelines for units)."""


@cache
def linear_conversion(found: str, wanted: str, variable: str, source: str) -> tuple[float, float]:
    """Factor and offset with ``value_in_wanted = factor * value_in_found + offset``.

    Args:
        found: Units in the file, for example ``degK``, ``m s**-1``.
        wanted: Units asked for.
        variable: Name of the variable, for messages.
        source: File or dataset, for messages.

    Returns:
        Factor and offset; (1, 0) for two spellings of one unit.

    Raises:
        UnitsError: Units unknown, of another dimension, or not related by a factor and an offset.
    """
    if found == wanted:
        return 1.0, 0.0
    import pint

    if not found:
        raise UnitsError(
            f"{source}: variable '{variable}' states no units, so it can not be converted to '{wanted}'. "
            "Remove the variable from `units`, or set the attribute `units` in the file."
        )
    try:
        unit, wanted_unit = _unit(found), _unit(wanted)
        registry = _registry()
        zero, one, two = (
            _converted(registry.Quantity(value, unit), wanted_unit) for value in (0.0, 1.0, 2.0)
        )
    except pint.errors.DimensionalityError as error:
        raise UnitsError(
            f"{source}: variable '{variable}' has units '{found}', which can not become '{wanted}': they "
            "measure different things. Ask for units of the same kind."
        ) from error
    except (pint.errors.PintError, pint.errors.UndefinedUnitError, ValueError, TypeError) as error:
        raise UnitsError(
            f"{source}: variable '{variable}' has units '{found}' and '{wanted}' is wanted; one of them is "
            "not "
            f"known ({error}). Spell it as UDUNITS does, for example 'degC', 'm s-1', 'kg m-2'."
        ) from error
    factor, offset = one - zero, zero
    if abs(two - (2 * factor + offset)) > 1e-9 * max(abs(two), 1.0):
        raise UnitsError(
            f"{source}: variable '{variable}' can not go from '{found}' to '{wanted}' by a factor and an "
            "offset. "
            "Convert it before, for example decibels to the quantity itself."
        )
    exact = abs(factor - 1) < 1e-12 and abs(offset) < 1e-12
    return (1.0, 0.0) if exact else (factor, offset)


def _converted(quantity: Any, wanted: Any) -> float:
    """A quantity in other units; water as mass per area (kg m-2) and as depth (mm) are the same."""
    import pint

    water = _registry().Quantity(WATER_DENSITY, "kg m-3")
    for form in (quantity, quantity / water, quantity * water):
        try:
            return float(form.to(wanted).magnitude)
        except pint.errors.DimensionalityError:
            continue
    return float(quantity.to(wanted).magnitude)


def same_units(first: str, second: str) -> bool:
    """Whether two spellings mean one unit, for example ``degK`` and ``K``."""
    try:
        return linear_conversion(first, second, "", "") == (1.0, 0.0)
    except UnitsError:
        return False


@cache
def _registry() -> Any:
    from cf_xarray.units import units

    return units


def _unit(text: str) -> Any:
    temperature = _TEMPERATURE.match(text.strip())
    return _registry().Unit(f"deg{temperature.group(1).upper()}" if temperature else text)
