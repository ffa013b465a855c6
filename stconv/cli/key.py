"""`stconv key`: make an API key of the service."""

from __future__ import annotations

import argparse
from pathlib import Path

EPILOG = """The key is printed once and stored nowhere. The file keeps its sha256, scopes and quota:

  stconv key --name maps --scopes read forecast --per-minute 60
  STCONV_SERVE_KEYS_FILE=keys.json stconv serve --model BUNDLE --host 0.0.0.0

read: models, and forecasts from the server's own data; forecast: of fields that are sent; admin: swap models.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `stconv key`."""
    parser.epilog = EPILOG
    parser.add_argument("--name", required=True, help="whose key it is")
    parser.add_argument(
        "--scopes",
        nargs="+",
        default=["read", "forecast"],
        choices=["read", "forecast", "admin"],
        help="what it may do (default: read forecast)",
    )
    parser.add_argument(
        "--per-minute", type=int, metavar="N", help="requests a minute (default: as the server)"
    )
    parser.add_argument(
        "--file", type=Path, default=Path("keys.json"), help="where hashes are kept (default: keys.json)"
    )


def run(args: argparse.Namespace) -> int:
    """Make the key, store its hash, print it."""
    from service.api_keys import add_key
    from stconv.errors import ConfigError

    try:
        key = add_key(args.file, args.name, tuple(dict.fromkeys(args.scopes)), args.per_minute)
    except (ValueError, OSError) as error:
        raise ConfigError(f"No key was made: {error}") from error
    print(key)
    return 0
