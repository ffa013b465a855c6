"""Conversion of units by a factor and an offset; the grammar reads them, pint resolves the names."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

from stconv.datasets.source.unit_grammar import LONGEST, UnitProduct, read_units
from stconv.errors import UnitsError

WATER_DENSITY = 1000.0
"""Density of liquid water, kg m-3, which converts rain in kg m-2 to mm (CF, guidelines for units)."""
CF_NAMES = (
    "@alias degree_Celsius = deg_C = Celsius = degrees_Celsius",
    "@alias kelvin = deg_K",
    "@alias meter = gpm",
    "degrees_north = degree = _ = degree_north = degree_N = degrees_N = degreeN = degreesN",
    "degrees_east = degree = _ = degree_east = degree_E = degrees_E = degreeE = degreesE",
    "practical_salinity_unit = [] = psu = PSU",
)
"""Units and spellings that pint lacks, in its language (CF conventions 1.11, 3.1 and 4)."""
_SAME = 1e-9
"""Relative tolerance of equal factors, since the constants of the registry are rounded."""


class UnknownUnitsError(UnitsError):
    """Units do not follow the grammar, or contain a name that the registry lacks."""


class OtherDimensionError(UnitsError):
    """Two units measure different quantities."""


def linear_conversion(found: str, wanted: str, variable: str, source: str) -> tuple[float, float]:
    """Find factor and offset with ``value_in_wanted = factor * value_in_found + offset``.

    Args:
        found: Units in the file, for example ``degK``, ``m s**-1``.
        wanted: Target units.
        variable: Name of the variable, for messages.
        source: File or dataset, for messages.

    Returns:
        Factor and offset; (1, 0) for two spellings of one unit.

    Raises:
        UnitsError: Units are unknown, of another dimension, or not related by a factor and an offset.
    """
    if _plain(found) == _plain(wanted):
        return 1.0, 0.0
    if not found:
        raise UnitsError(
            f"{source}: variable '{variable}' has no units, so it cannot be converted to '{wanted}'. "
            "Remove the variable from `units`, or set the attribute `units` in the file."
        )
    try:
        return _conversion(found, wanted)
    except OtherDimensionError as error:
        raise UnitsError(
            f"{source}: variable '{variable}' has units '{shown(found)}', which cannot be converted to "
            f"'{shown(wanted)}': they measure different quantities. State units of the same quantity."
        ) from error
    except UnknownUnitsError as error:
        raise UnitsError(
            f"{source}: variable '{variable}' has units '{shown(found)}' and '{shown(wanted)}' is "
            f"requested; one of them is unknown ({error}). Spell it as UDUNITS does, for example 'degC', "
            "'m s-1', 'kg m-2'."
        ) from error
    except UnitsError as error:
        raise UnitsError(
            f"{source}: variable '{variable}' cannot be converted from '{shown(found)}' to "
            f"'{shown(wanted)}' by a factor and an offset. Convert the file first, for example from "
            "decibels to the quantity itself."
        ) from error


def same_units(first: str, second: str) -> bool:
    """Whether two spellings mean one unit (``degK`` and ``K``); unknown ones are compared as text."""
    if _plain(first) == _plain(second):
        return True
    try:
        return _conversion(first, second) == (1.0, 0.0)
    except UnitsError:
        return False


def same_dimension(first: str, second: str) -> bool:
    """Whether both units are known and one converts to the other."""
    try:
        _conversion(first, second)
    except UnitsError:
        return False
    return True


def shown(text: str) -> str:
    """Units for messages: shortened if long, and escaped if they cannot be written."""
    cut = text if len(text) <= LONGEST else text[:LONGEST] + "..."
    return cut.encode("utf-8", "backslashreplace").decode("utf-8")


def _plain(text: str) -> str:
    return " ".join(text.split())


@lru_cache(maxsize=512)
def _conversion(found: str, wanted: str) -> tuple[float, float]:
    """Factor and offset between two units.

    Raises:
        UnknownUnitsError: The units are unknown.
        OtherDimensionError: The units measure different quantities.
        UnitsError: The units are not related by a factor and an offset.
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
        raise UnknownUnitsError(f"'{shown(text)}' is not a product of names with integer powers")
    return product


def _converted(value: float, first: UnitProduct, second: UnitProduct) -> float:
    """Convert a value; water as mass per area (kg m-2) equals its depth (mm)."""
    import pint

    water = _registry().Quantity(WATER_DENSITY, "kg / m**3")
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
    raise OtherDimensionError("they measure different quantities")


def _unit(product: UnitProduct) -> Any:
    """The product in pint; degrees in a product or after a number are temperature differences."""
    alone = (
        product.factors and product.scale == 1 and len(product.factors) == 1 and product.factors[0][1] == 1
    )
    unit = _registry().Unit("")
    for name, power in product.factors:
        unit = unit * _named(name, bool(alone)) ** power
    return unit


@lru_cache(maxsize=512)
def _named(name: str, alone: bool) -> Any:
    """Look up a unit by its name as spelled, else in lower case (``Kelvin``, ``Meters``)."""
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
    """The units of pint and the names of CF that it lacks; none is defined twice, which pint would log."""
    import pint

    registry: Any = pint.UnitRegistry(autoconvert_offset_to_baseunit=True)
    for definition in CF_NAMES:
        registry.define(definition)
    return registry
