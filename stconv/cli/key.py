"""`stconv key`: make, list and revoke API keys for the service."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

EPILOG = """The key is printed once and not stored. The file keeps its sha256, scopes, limits and end:

  stconv key --name maps --scopes read forecast --per-minute 60 --expires 2027-06-30
  STCONV_SERVE_KEYS_FILE=keys.json stconv serve --model BUNDLE --host 0.0.0.0
  stconv key --revoke maps
  stconv key --list

A running server reads the file again with the next request after a change.

Scopes:
  read      models, and forecasts from the server's own data
  forecast  forecasts of fields that the client sends
  admin     load another version of a model
"""

LIMITS = {
    "per_minute": "requests per minute",
    "at_once": "requests at once",
    "bytes_per_minute": "bytes per minute",
    "values_per_minute": "values per minute",
}
OF_A_NEW_KEY = ("scopes", "expires", *LIMITS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `stconv key`."""
    parser.epilog = EPILOG
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--name", help="make a key for an owner of this name")
    action.add_argument("--revoke", metavar="NAME", help="refuse the key of this name from now on")
    action.add_argument("--list", action="store_true", help="list the keys, without the keys themselves")
    parser.add_argument(
        "--scopes",
        nargs="+",
        choices=["read", "forecast", "admin"],
        help="rights of the key (default: read forecast)",
    )
    parser.add_argument(
        "--per-minute", type=int, metavar="N", help="requests per minute (default: the server's limit)"
    )
    parser.add_argument("--at-once", type=int, metavar="N", help="requests under way at once (likewise)")
    parser.add_argument(
        "--bytes-per-minute", type=int, metavar="N", help="bytes sent and received per minute (likewise)"
    )
    parser.add_argument(
        "--values-per-minute", type=int, metavar="N", help="values computed per minute (likewise)"
    )
    parser.add_argument(
        "--expires",
        type=_time,
        metavar="TIME",
        help="time from which the key is refused, like 2027-06-30 or 2027-06-30T12:00, UTC (default: never)",
    )
    parser.add_argument(
        "--file", type=Path, default=Path("keys.json"), help="file of the hashes (default: keys.json)"
    )


def run(args: argparse.Namespace) -> int:
    """Make a key, store its hash and print it; or revoke or list keys."""
    from stconv.errors import ConfigError

    given = [f"--{name.replace('_', '-')}" for name in OF_A_NEW_KEY if getattr(args, name) is not None]
    if args.name is None and given:
        raise ConfigError(f"{given[0]} is for a new key. Leave it out, or make a key with --name.")
    if args.list:
        return _list(args.file)
    return _make(args) if args.revoke is None else _revoke(args.file, args.revoke)


def _make(args: argparse.Namespace) -> int:
    from service.api_keys import DEFAULT_SCOPES, add_key
    from stconv.errors import ConfigError

    scopes = tuple(dict.fromkeys(args.scopes or DEFAULT_SCOPES))
    try:
        limits = {name: getattr(args, name) for name in LIMITS}
        key = add_key(args.file, args.name, scopes, expires=args.expires, **limits)
    except (ValueError, OSError) as error:
        raise ConfigError(f"No key was made: {error}") from error
    print(key)
    return 0


def _revoke(path: Path, name: str) -> int:
    from service.api_keys import revoke_key
    from stconv.errors import ConfigError

    try:
        ended = revoke_key(path, name)
    except OSError as error:
        raise ConfigError(f"No key was revoked: {error}") from error
    print(f"The key '{name}' ended at {ended.expires}.")
    return 0


def _list(path: Path) -> int:
    from service.api_keys import read_file

    now = datetime.now(UTC)
    for key in read_file(path):
        found = ((getattr(key, name), unit) for name, unit in LIMITS.items())
        limits = "".join(f", {limit} {unit}" for limit, unit in found if limit is not None)
        end = "" if key.expires is None else f", {'ended' if key.has_ended(now) else 'ends'} {key.expires}"
        print(f"{key.said}: {' '.join(key.scopes)}{limits}{end}")
    return 0


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time; expected one like 2027-06-30 or 2027-06-30T12:00 (UTC)."
        ) from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found
