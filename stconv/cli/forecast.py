"""`stconv forecast`: forecast from a model and files to a CF NetCDF file or a Zarr store."""

from __future__ import annotations

import argparse
import sys
import warnings

from stconv.cli.grid_arguments import add_grid_arguments, given, pairs

EPILOG = """examples:
  stconv forecast --model models:/air@champion --input era5_*.nc --output forecast.nc
  stconv forecast --model runs/air/bundle --input air.zarr --output forecast.zarr --steps 20
  stconv forecast --model bundle --input air.nc --output f.nc --reference-time 2014-12-30T18:00
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `stconv forecast`."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add(
        "--model", required=True, metavar="REF", help="folder, runs:/ID, models:/NAME@ALIAS or models:/NAME/3"
    )
    add(
        "--input",
        required=True,
        nargs="+",
        metavar="FILE",
        help="NetCDF, Zarr or GRIB; several files are one series",
    )
    add(
        "--output",
        required=True,
        metavar="FILE",
        help="file to write, .nc or .zarr; an existing one is replaced",
    )
    add(
        "--steps",
        type=int,
        metavar="N",
        help="number of leads; beyond the trained ones the forecast is rolled out (default: all)",
    )
    add(
        "--further",
        metavar="VAR=PATH",
        action="append",
        default=[],
        help="where the further source of this variable lies now (default: as in training); repeatable",
    )
    add("--reference-time", metavar="T", help="time of the newest input, ISO 8601 (default: newest possible)")
    add("--no-bands", action="store_true", help="leave out the 80 and 95 %% bands of uncertainty")
    add("--convert-units", action="store_true", help="convert differing units, and convert the forecast back")
    add("--allow-missing", type=float, metavar="SHARE", help="share of values, 0 to 1, that may be missing")
    add(
        "--tile",
        type=int,
        metavar="N",
        help="cells of a tile, for large grids (same result); 0 for one piece (default: by available memory)",
    )
    add(
        "--slide",
        action="store_true",
        help="let an event network slide over a larger grid of the same spacing: a map of probabilities",
    )
    add("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    add(
        "--engine",
        default="torch",
        help="torch, openvino (same forecast, often faster) or openvino-int8 (after `stconv quantize`)",
    )
    add("--plot", metavar="FILE", help="also draw the forecast, as .png")
    add_grid_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Make the forecast, write it, and print a summary."""
    from stconv.front.forecast_file import forecast_to_file

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        made = forecast_to_file(
            args.model,
            args.input,
            args.output,
            device=args.device,
            engine=args.engine,
            tile=args.tile,
            plot=args.plot,
            steps=args.steps,
            bands=not args.no_bands,
            reference_time=args.reference_time,
            convert_units=args.convert_units,
            allowed_missing_share=args.allow_missing,
            slide=args.slide,
            further=dict(pairs(args.further, "--further")),
            **given(args),
        )
    for warning in caught:
        if issubclass(warning.category, UserWarning):
            print(f"stconv: warning: {warning.message}", file=sys.stderr)
    print(made)
    for picture in made.pictures:
        print(f"picture         {picture}")
    return 0
