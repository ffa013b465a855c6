"""Conversion of units that is a factor and an offset: the grammar reads them, pint knows the names."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

from stconv.datasets.source.unit_grammar import LONGEST, UnitProduct, read_units
from stconv.errors import UnitsError

WATER_DENSITY = 1000.0
"""Density of liquid water, kg m-3, by which rain in kg m-2 is rain in mm (CF, guidelines for units)."""
_SAME = 1e-9
"""Factors are equal within this share, as the constants of a registry are rounded."""


class UnknownUnitsError(UnitsError):
    """A text of units is not of the grammar, or holds a name that the registry lacks."""


class OtherDimensionError(UnitsError):
    """Two units measure different things."""


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
    if _plain(found) == _plain(wanted):
        return 1.0, 0.0
    if not found:
        raise UnitsError(
            f"{source}: variable '{variable}' states no units, so it cannot be converted to '{wanted}'. "
            "Remove the variable from `units`, or set the attribute `units` in the file."
        )
    try:
        return _conversion(found, wanted)
    except OtherDimensionError as error:
        raise UnitsError(
            f"{source}: variable '{variable}' has units '{shown(found)}', which cannot become "
            f"'{shown(wanted)}': they measure different things. Ask for units of the same kind."
        ) from error
    except UnknownUnitsError as error:
        raise UnitsError(
            f"{source}: variable '{variable}' has units '{shown(found)}' and '{shown(wanted)}' is wanted; "
            f"one of them is not known ({error}). Spell it as UDUNITS does, for example 'degC', 'm s-1', "
            "'kg m-2'."
        ) from error
    except UnitsError as error:
        raise UnitsError(
            f"{source}: variable '{variable}' cannot go from '{shown(found)}' to '{shown(wanted)}' by a "
            "factor and an offset. Convert it before, for example decibels to the quantity itself."
        ) from error


def same_units(first: str, second: str) -> bool:
    """Whether two spellings mean one unit, as ``degK`` and ``K``; unknown ones are compared as text."""
    if _plain(first) == _plain(second):
        return True
    try:
        return _conversion(first, second) == (1.0, 0.0)
    except UnitsError:
        return False


def same_dimension(first: str, second: str) -> bool:
    """Whether both texts are understood and one converts to the other."""
    try:
        _conversion(first, second)
    except UnitsError:
        return False
    return True


def shown(text: str) -> str:
    """Units as a message shows them: long ones cut, text that cannot be written escaped."""
    cut = text if len(text) <= LONGEST else text[:LONGEST] + "..."
    return cut.encode("utf-8", "backslashreplace").decode("utf-8")


def _plain(text: str) -> str:
    return " ".join(text.split())


@lru_cache(maxsize=512)
def _conversion(found: str, wanted: str) -> tuple[float, float]:
    """Factor and offset between two texts.

    Raises:
        UnknownUnitsError, OtherDimensionError: See there.
        UnitsError: No factor and offset lead from one to the other.
    """
    first, second = _read(found), _read(wanted)
    zero, one, two = (_converted(value, first, second) for value in (0.0, 1.0, 2.0))
    factor, offset = one - zero, zero
    if abs(two - (2 * factor + offset)) > _SAME * max(abs(two), 1.0):
        raise UnitsError("not linear")
    exact = abs(factor - 1) < _SAME and abs(offset) < _SAME
    return (1.0, 0.0) if exact else (factor, offset)


def _read(text: str) -> UnitProduct:
    product = read_units(text)
    if product is None:
        raise UnknownUnitsError(f"'{shown(text)}' is no product of names with whole powers")
    return product


def _converted(value: float, first: UnitProduct, second: UnitProduct) -> float:
    """A value in other units; water as mass per area (kg m-2) and as depth (mm) are the same."""
    import pint

    water = _registry().Quantity(WATER_DENSITY, "kg m-3")
    try:
        quantity = _registry().Quantity(value * first.scale, _unit(first))
        wanted = _unit(second)
        forms: list[Callable[[], Any]] = [
            lambda: quantity,
            lambda: quantity / water,
            lambda: quantity * water,
        ]
        for form in forms:
            try:
                return float(form().to(wanted).magnitude) / second.scale
            except (pint.errors.DimensionalityError, pint.errors.OffsetUnitCalculusError):
                continue
    except (pint.errors.PintError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise UnitsError(str(error)) from error
    raise OtherDimensionError("they measure different things")


def _unit(product: UnitProduct) -> Any:
    """The product in pint's words; degrees in a product or behind a number are differences of temperature."""
    alone = (
        product.factors and product.scale == 1 and len(product.factors) == 1 and product.factors[0][1] == 1
    )
    unit = _registry().Unit("")
    for name, power in product.factors:
        unit = unit * _named(name, bool(alone)) ** power
    return unit


@lru_cache(maxsize=512)
def _named(name: str, alone: bool) -> Any:
    """The unit of one name, as it is spelled, else in lower case (``Kelvin``, ``Meters``)."""
    import pint

    registry = _registry()
    for spelling in (name, name.lower()) if len(name) > 3 else (name,):
        try:
            unit = registry.Unit(spelling)
        except (pint.errors.PintError, ValueError, TypeError, AttributeError):
            continue
        canonical = str(unit)
        if not alone and canonical in ("degree_Celsius", "degree_Fahrenheit"):
            return registry.Unit(f"delta_{canonical}")
        return unit
    raise UnknownUnitsError(f"'{shown(name)}' is no unit")


@cache
def _registry() -> Any:
    from cf_xarray.units import units

    return units
