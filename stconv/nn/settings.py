"""Checks of settings in constructors, so that `forward` can rely on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from stconv.errors import ConfigError

Triple = tuple[int, int, int]
"""Sizes along (time, lat, lon)."""


def check_count(name: str, value: int, where: str, at_least: int = 1) -> int:
    """Return an integer setting, or refuse one below its lower bound.

    Raises:
        ConfigError: It is not an integer, or too small.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise ConfigError(f"{name} of {where} is {value!r}; expected an integer of at least {at_least}.")
    return value


def check_odd(name: str, value: int, where: str) -> int:
    """Return an odd integer setting, or refuse any other value.

    Raises:
        ConfigError: It is not an odd positive integer.
    """
    if check_count(name, value, where) % 2 == 0:
        raise ConfigError(
            f"{name} of {where} is {value}; expected an odd number, whose window has a center: "
            f"{value - 1} or {value + 1}."
        )
    return value


def check_choice(name: str, value: str, choices: Iterable[str], where: str) -> str:
    """Return a setting, or refuse one that is not among its allowed values.

    Raises:
        ConfigError: The value is not one of them.
    """
    known = list(choices)
    if value not in known:
        raise ConfigError(f"{name} of {where} is {value!r}; expected one of: {', '.join(known)}.")
    return value


def check_triple(name: str, value: int | Sequence[int], where: str, at_least: int = 1) -> Triple:
    """Return sizes along (time, lat, lon) from three integers, or from one for all three.

    Raises:
        ConfigError: There are not three of them, or one is not an integer or too small.
    """
    sizes = (value, value, value) if isinstance(value, int) else tuple(value)
    if len(sizes) != 3:
        raise ConfigError(
            f"{name} of {where} has {len(sizes)} values {sizes}; expected three: (time, lat, lon)."
        )
    time, lat, lon = (
        check_count(f"{name} along {dim}", size, where, at_least)
        for dim, size in zip(("time", "lat", "lon"), sizes, strict=True)
    )
    return time, lat, lon
