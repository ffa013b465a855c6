"""Options for reading a source, shared by the commands that open one."""

from __future__ import annotations

import argparse
from typing import Any

from stconv.errors import ConfigError


def add_grid_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one option per field of `GridSpec`."""
    group = parser.add_argument_group("reading", "only for files that do not describe themselves")
    group.add_argument("--time", metavar="NAME", help="variable that holds the times")
    group.add_argument("--lat", metavar="NAME", help="latitude coordinate")
    group.add_argument("--lon", metavar="NAME", help="longitude coordinate")
    group.add_argument("--y", metavar="NAME", help="row dimension of a projected or pixel grid")
    group.add_argument("--x", metavar="NAME", help="column dimension of a projected or pixel grid")
    group.add_argument(
        "--select",
        metavar="DIM=VALUE[,VALUE]",
        action="append",
        default=[],
        help="one value of another dimension, or several, each of which becomes a variable; repeatable",
    )
    group.add_argument(
        "--valid-range",
        metavar="VAR=LOW,HIGH",
        action="append",
        default=[],
        help="values outside are missing",
    )
    group.add_argument("--units", metavar="VAR=UNITS", action="append", default=[], help="convert a variable")
    group.add_argument("--time-units", metavar="TEXT", help="for example 'days since 1900-01-01'")
    group.add_argument("--calendar", metavar="NAME", help="calendar of times without one, for example noleap")
    group.add_argument("--start", metavar="TIME", help="first time of an array, or of ready-made windows")
    group.add_argument(
        "--step", metavar="TEXT", help="time step of an array, or of ready-made windows, for example 6h"
    )
    group.add_argument(
        "--dims",
        metavar="DIM",
        nargs="+",
        help="dimensions of an array, for example time lat lon (default: time y x, or time channel y x)",
    )
    group.add_argument(
        "--names", metavar="NAME", nargs="+", help="variables of an array: one, or one for each channel"
    )
    group.add_argument(
        "--fill-gaps",
        metavar="N",
        type=int,
        help="fill gaps of at most N steps with empty frames (`inspect`: half of --t-in)",
    )
    group.add_argument(
        "--snap-times",
        action="store_true",
        help="move nearly regular times to their step; the largest move is printed",
    )
    group.add_argument(
        "--accumulated",
        metavar="VAR=PERIOD",
        action="append",
        default=[],
        help="variable that accumulates from the start of each forecast, for example tp=1d of ERA5-Land",
    )
    group.add_argument(
        "--components",
        metavar="VAR",
        nargs="+",
        help="directions to split into sine and cosine, as two variables",
    )
    group.add_argument("--reader", metavar="NAME", help="xarray engine that opens the files")
    group.add_argument("--group", metavar="NAME", help="group inside a NetCDF 4 or Zarr source")


def given(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options that are given, as keywords of the front door.

    Raises:
        ConfigError: An option is not NAME=VALUE.
    """
    keywords = {
        "time": args.time,
        "lat": args.lat,
        "lon": args.lon,
        "y": args.y,
        "x": args.x,
        "select": {name: _values(value) for name, value in pairs(args.select, "--select")},
        "valid_range": {
            name: _range(name, value) for name, value in pairs(args.valid_range, "--valid-range")
        },
        "units": dict(pairs(args.units, "--units")),
        "engine": args.reader,
        "group": args.group,
        "time_units": args.time_units,
        "calendar": args.calendar,
        "start": args.start,
        "step": args.step,
        "dims": args.dims,
        "names": args.names,
        "components": args.components,
        "snap_times": args.snap_times,
        "accumulated": dict(pairs(args.accumulated, "--accumulated")),
    }
    stated = {name: value for name, value in keywords.items() if value}
    return stated if args.fill_gaps is None else {**stated, "fill_gaps": args.fill_gaps}


def _values(text: str) -> Any:
    values = [_number(value) for value in text.split(",")]
    return values if len(values) > 1 else values[0]


def pairs(texts: list[str], option: str) -> list[tuple[str, str]]:
    """Split options such as ``tp=1d``.

    Raises:
        ConfigError: An option is not NAME=VALUE.
    """
    found = []
    for text in texts:
        name, sign, value = text.partition("=")
        if not (name and sign and value):
            raise ConfigError(f"{option} expects NAME=VALUE, found '{text}'.")
        found.append((name, value))
    return found


def _number(text: str) -> Any:
    """Convert text to a number unless it has leading zeros (``0001`` is a version)."""
    for kind in (int, float):
        try:
            return kind(text) if text == "0" or not text.startswith("0") or text.startswith("0.") else text
        except ValueError:
            continue
    return text


def _range(name: str, text: str) -> list[float | None]:
    try:
        low, high = (float(part) if part.strip() else None for part in text.split(","))
    except ValueError as error:
        raise ConfigError(
            f"--valid-range {name} expects LOW,HIGH (either may be empty), found '{text}'."
        ) from error
    return [low, high]
