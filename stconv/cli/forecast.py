"""`stconv forecast`: forecast from a model and files to a CF NetCDF file or a Zarr store."""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from stconv.cli.grid_arguments import add_grid_arguments, given, pairs
from stconv.compute.allocation import keep_freed_memory
from stconv.digits import both_ends
from stconv.errors import ConfigError

if TYPE_CHECKING:
    import xarray as xr

    from stconv.front.model import Model

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
    keep_freed_memory(None)
    from stconv.forecast import check_destination, write_forecast
    from stconv.front.model import load

    if args.slide and args.engine != "torch":
        raise ConfigError(
            f"--slide is not for --engine {args.engine}, which has one fixed grid. Use --engine torch."
        )
    check_destination(args.output)
    model = load(args.model, device=args.device, engine=args.engine, tile=args.tile)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        forecast = model.forecast(
            args.input,
            args.steps,
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
    path = write_forecast(forecast, args.output)
    print(summary(forecast, path))
    if args.plot:
        for picture in _draw(model, forecast, Path(args.plot)):
            print(f"picture         {picture}")
    return 0


def _draw(model: Model, forecast: xr.Dataset, path: Path) -> list[Path]:
    """Draw each variable at every lead; with several variables, file names contain their names."""
    from stconv.front.pictures import forecast_figures
    from stconv.verification.report.plots import save

    figures = forecast_figures(forecast, model.forecaster)
    return [
        save(figure, path if len(figures) == 1 else path.with_stem(f"{path.stem}_{name}"))
        for name, figure in figures.items()
    ]


def summary(forecast: xr.Dataset, path: Path) -> str:
    """Summary of reference time, leads, range of values, bands and file, one line each."""
    from stconv.forecast import without_bands
    from stconv.forecast.output import lead_of, reference_of

    lead = forecast[lead_of(forecast)]
    reference = str(forecast[reference_of(forecast)].values)[:16].replace(" ", "T")
    lines = [
        f"model           {forecast.attrs['model_name']} {forecast.attrs['model_version']}",
        f"reference time  {reference}",
        f"leads           {lead.size}, {int(lead[0])} to {int(lead[-1])} {lead.attrs['units']}",
    ]
    alone = without_bands(forecast)
    for name, field in alone.data_vars.items():
        if lead.name not in field.dims:
            continue  # grid mapping or bounds
        units = field.attrs.get("units", "")
        share = float(field.isnull().mean())
        missing = f", {100 * share:.3g} % missing" if share else ""
        low, high = both_ends(float(field.min()), float(field.max()), digits=6)
        lines.append(f"{name!s:<16}{low} to {high} {units}{missing}")
    if len(forecast.data_vars) > len(alone.data_vars):
        names = ", ".join(str(name) for name in forecast.data_vars if name not in alone.data_vars)
        lines.append(f"bands           {names}")
    return "\n".join([*lines, f"file            {path}"])
