"""Units: spellings that mean one unit, conversions worked by hand, and text that only looks like units."""

import time

import pytest

from stconv.datasets.source import units
from stconv.datasets.source.unit_grammar import LARGEST_EXPONENT, UnitProduct, read_units
from stconv.datasets.source.units import linear_conversion, same_units
from stconv.errors import UnitsError

ONE_UNIT = [
    ("%", "pct"),
    ("-", "unitless"),
    ("degK", "K"),
    ("Kelvin", "K"),
    ("degrees Kelvin", "K"),
    ("Celsius", "degC"),
    ("C", "degC"),
    ("J kg-1 C-1", "J kg-1 K-1"),
    ("degrees_Celsius day-1", "K d-1"),
    ("gpm", "m"),
    ("degrees_N", "degreeE"),
    ("PSU", "1"),
    ("degrees_Celsius", "degC"),
    ("deg C", "degC"),
    ("°C", "degC"),
    ("mb", "hPa"),
    ("millibars", "hPa"),
    ("kg m**-2", "kg m-2"),
    ("kg/m^2", "kg m-2"),
    ("kg.m⁻²", "kg m-2"),
    ("J kg**-1 K**-1", "J/(kg K)"),
    ("m s**-1", "m/s"),
    ("m**2 s**-2", "J kg-1"),
    ("1", "(0 - 1)"),
    ("kg kg**-1", "1"),
    ("m**3 m**-3", "fraction"),
    ("10^-3", "g/kg"),
    ("100 Pa", "hPa"),
    ("m of water equivalent", "m"),
    ("degC day-1", "K d-1"),
    ("Meters", "m"),
]
NO_UNITS = [
    "9**9**9",
    "K/0",
    "K·" * 1000,
    "(" * 5000 + "K" + ")" * 5000,
    "K^" * 5000,
    "\ud800",
    "K**99",
    "1e29**12",
    "1e-29**12",
    "K**K",
    "__import__('os')",
    "K**(2",
    "hours since 2000-01-01",
]


def test_no_unit_is_defined_twice(caplog):
    registry = units._registry.__wrapped__()
    assert registry.Quantity(20.0, "Celsius").to("deg_K").magnitude == pytest.approx(293.15)
    assert not caplog.records


@pytest.mark.parametrize(("first", "second"), ONE_UNIT)
def test_spellings_of_one_unit(first, second):
    assert same_units(first, second)
    assert linear_conversion(first, second, "v", "a.nc") == (1.0, 0.0)


@pytest.mark.parametrize(
    ("first", "second"), [("K", "degC"), ("%", "1"), ("Pa", "hPa"), ("mb", "bar"), ("K", "m")]
)
def test_other_units_are_not_one(first, second):
    assert not same_units(first, second)


@pytest.mark.parametrize(
    ("found", "wanted", "factor", "offset"),
    [
        ("mb", "Pa", 100.0, 0.0),
        ("Kelvin", "Celsius", 1.0, -273.15),
        ("%", "(0 - 1)", 0.01, 0.0),
        ("m of water equivalent", "mm", 1000.0, 0.0),
        ("g m**-2 h**-1", "kg m-2 s-1", 1e-3 / 3600, 0.0),
        ("degF day-1", "K day-1", 5 / 9, 0.0),
    ],
)
def test_conversions_by_hand(found, wanted, factor, offset):
    assert linear_conversion(found, wanted, "v", "a.nc") == (
        pytest.approx(factor, rel=1e-9),
        pytest.approx(offset, abs=1e-9),
    )


@pytest.mark.parametrize("text", NO_UNITS, ids=lambda text: ascii(text[:12]))
def test_what_only_looks_like_units_is_text_and_costs_nothing(text):
    start = time.process_time()
    with pytest.raises(UnitsError, match=r"is unknown|they measure different quantities") as caught:
        linear_conversion(text, "K", "v", "a.nc")
    assert time.process_time() - start < 2
    assert len(str(caught.value)) < 800
    str(caught.value).encode("utf-8")
    assert same_units(text, text)
    assert not same_units(text, "K")


def test_the_grammar_has_bounds():
    assert read_units(f"K{LARGEST_EXPONENT}") == UnitProduct(1.0, (("K", LARGEST_EXPONENT),))
    assert read_units(f"K{LARGEST_EXPONENT + 1}") is None
    assert read_units(" ".join(["K"] * 12)) is not None
    assert read_units(" ".join(["K"] * 13)) is None
    assert read_units("(((K)))") is not None
    assert read_units("((((K))))") is None
    assert read_units("K" * 121) is None
