"""`stconv key`: make an API key for the service."""

from __future__ import annotations

import argparse
from pathlib import Path

EPILOG = """The key is printed once and not stored. The file keeps its sha256, scopes and quota:

  stconv key --name maps --scopes read forecast --per-minute 60
  STCONV_SERVE_KEYS_FILE=keys.json stconv serve --model BUNDLE --host 0.0.0.0

Scopes:
  read      models, and forecasts from the server's own data
  forecast  forecasts of fields that the client sends
  admin     load another version of a model
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `stconv key`."""
    parser.epilog = EPILOG
    parser.add_argument("--name", required=True, help="name of the key's owner")
    parser.add_argument(
        "--scopes",
        nargs="+",
        default=["read", "forecast"],
        choices=["read", "forecast", "admin"],
        help="rights of the key (default: read forecast)",
    )
    parser.add_argument(
        "--per-minute", type=int, metavar="N", help="requests per minute (default: the server's limit)"
    )
    parser.add_argument(
        "--file", type=Path, default=Path("keys.json"), help="file of the hashes (default: keys.json)"
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
