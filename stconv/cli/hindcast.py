"""`stconv hindcast`: a model over years of archive into one Zarr store, or into scores alone."""

from __future__ import annotations

import argparse
import re
import sys
import warnings

from stconv.cli.grid_arguments import add_grid_arguments, given
from stconv.errors import ConfigError

EPILOG = """examples:
  stconv hindcast --model models:/air@champion --input era5_*.nc --output hindcast.zarr
  stconv hindcast --model bundle --input air.zarr --output h.zarr --first 2001-01-01 --last 2010-12-31
  stconv hindcast --model bundle --input air.zarr --scores scores         errors, without the forecasts
  stconv hindcast --model bundle --input air.zarr --output h.zarr --plan  hours and bytes; writes nothing
  stconv hindcast --model bundle --input air.zarr --output h.zarr --scheduler tcp://node:8786
The same command goes on where an earlier one was interrupted.
"""
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `stconv hindcast`."""
    parser.epilog = EPILOG
    add = parser.add_argument
    add(
        "--model", required=True, metavar="REF", help="folder, runs:/ID, models:/NAME@ALIAS or models:/NAME/3"
    )
    add("--input", required=True, nargs="+", metavar="FILE", help="the archive: NetCDF, Zarr or GRIB")
    add(
        "--output",
        metavar="FILE",
        help="Zarr store to write, or its address; an incomplete one is continued",
    )
    add("--scores", metavar="FOLDER", help="write scores to this folder instead of the forecasts")
    add("--first", metavar="T", help="first reference time, ISO 8601 (default: first complete window)")
    add("--last", metavar="T", help="last reference time (default: last complete window)")
    add("--stride", type=int, default=1, metavar="N", help="every N-th reference time (default: every one)")
    add("--steps", type=int, metavar="N", help="number of leads; further ones are rolled out (default: all)")
    add("--bands", action="store_true", help="also store the 80 and 95 %% bands: five times the bytes")
    add("--convert-units", action="store_true", help="convert differing units, and convert the forecast back")
    add("--allow-missing", type=float, metavar="SHARE", help="share of values, 0 to 1, that may be missing")
    add(
        "--workers",
        type=int,
        metavar="N",
        help="worker processes (default: one a core, as memory allows); 0 computes in this process",
    )
    add("--memory", metavar="BYTES", help="memory of a worker, such as 4GB (default: an equal share)")
    add("--scheduler", metavar="ADDRESS", help="scheduler of a Dask cluster, such as tcp://node:8786")
    add("--batch", type=int, metavar="N", help="windows computed at once (default: by memory)")
    add("--tile", type=int, metavar="N", help="cells of a tile, for large grids (default: by memory)")
    add("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    add("--engine", default="torch", help="torch, openvino or openvino-int8 (default: %(default)s)")
    add("--plan", action="store_true", help="measure, and print hours and bytes; write nothing")
    add_grid_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Compute the hindcast, and print a summary."""
    from stconv.front.hindcast import Workers, estimated, finished, make_wish

    wish = make_wish(
        args.model,
        args.input,
        args.output,
        args.scores,
        given(args),
        first=args.first,
        last=args.last,
        stride=args.stride,
        steps=args.steps,
        bands=args.bands,
        convert_units=args.convert_units,
        allowed_missing_share=args.allow_missing,
        device=args.device,
        engine=args.engine,
        tile=args.tile,
        batch=args.batch,
        imports=tuple(args.imports),
    )
    workers = Workers(args.workers, parse_bytes(args.memory), args.scheduler)
    if args.plan:
        print(estimated(wish, workers))
        return 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        result, found = finished(wish, workers)
    for warning in caught:
        if issubclass(warning.category, UserWarning):
            print(f"stconv: warning: {warning.message}", file=sys.stderr)
    n = len(result.plan.positions)
    rate = f", {result.rate:.3g} per second" if result.rate else ""
    print(f"model           {wish.bundle}")
    print(f"reference times {n}, {result.plan.origin.first} to {result.plan.origin.last}")
    print(f"forecasts       {result.made} made now{rate}, {n - result.made} before")
    if args.scores:
        print(found)
    else:
        print(f"store           {wish.output}")
    return 0


def parse_bytes(text: str | None) -> int | None:
    """Read a number of bytes such as 4GB or 500MiB.

    Raises:
        ConfigError: It is not one.
    """
    if text is None:
        return None
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg]i?)?b?\s*", text.lower())
    if found is None:
        raise ConfigError(f"--memory {text} is not a number of bytes; expected one like 4GB or 500MiB.")
    return int(float(found[1]) * UNITS[found[2] or ""])
