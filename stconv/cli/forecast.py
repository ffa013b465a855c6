"""`stconv forecast`: forecast from a model and files to a CF NetCDF file or a Zarr store."""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from stconv.cli.grid_arguments import add_grid_arguments, overridden
from stconv.compute.allocation import keep_freed_memory
from stconv.errors import ConfigError

if TYPE_CHECKING:
    import xarray as xr

    from stconv.datasets.source.grid import Origin
    from stconv.datasets.source.time_axis import TimeStep

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
    add_grid_arguments(parser, windows=False)


def run(args: argparse.Namespace) -> int:
    """Make the forecast, write it, and print a summary."""
    keep_freed_memory()
    from stconv.datasets.source.grid import open_series
    from stconv.forecast import Forecaster, check_destination, write_forecast
    from stconv.forecast.sliding import slide_over

    if args.slide and args.engine != "torch":
        raise ConfigError(
            f"--slide is not for --engine {args.engine}, which has one fixed grid. Use --engine torch."
        )
    check_destination(args.output)
    folder = _bundle_folder(args.model)
    version = args.model.rpartition("/")[2] if args.model.startswith("models:/") else None
    forecaster = Forecaster.from_path(folder, args.device, version, args.tile, args.engine)
    ds, origin = open_series(args.input, overridden(forecaster.source, args), forecaster.names)
    if args.slide:
        forecaster = Forecaster(slide_over(forecaster.bundle, ds), args.device, forecaster.version)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        forecast = forecaster.forecast(
            ds,
            steps=args.steps,
            bands=not args.no_bands,
            origin=origin,
            reference_time=args.reference_time,
            convert_units=args.convert_units,
            allowed_missing_share=args.allow_missing,
        )
    for warning in caught:
        if issubclass(warning.category, UserWarning):
            print(f"stconv: warning: {warning.message}", file=sys.stderr)
    path = write_forecast(forecast, args.output)
    print(summary(forecast, path))
    if args.plot:
        for picture in draw(forecast, origin, forecaster.step, Path(args.plot)):
            print(f"picture         {picture}")
    return 0


def draw(forecast: xr.Dataset, origin: Origin, step: TimeStep, path: Path) -> list[Path]:
    """Draw each variable at every lead; with several variables, file names contain their names."""
    from stconv.forecast import without_bands
    from stconv.forecast.output import lead_of
    from stconv.verification import lead_labels
    from stconv.verification.report.plots import forecast_plot

    geographic = "lat" in origin.sizes
    rows, columns = (origin.dims[dim] for dim in (("lat", "lon") if geographic else ("y", "x")))
    valid_times = forecast[origin.names.get("time", "time")].values
    forecast = without_bands(forecast)
    lead = lead_of(forecast)
    names = [str(name) for name in forecast.data_vars if lead in forecast[name].dims]
    pictures = []
    for name in names:
        single = [dim for dim in forecast[name].dims if dim not in (lead, rows, columns)]
        field = forecast[name].squeeze(single, drop=True).transpose(lead, rows, columns)
        pictures.append(
            forecast_plot(
                None,
                field.values,
                path if len(names) == 1 else path.with_stem(f"{path.stem}_{name}"),
                lead_labels=lead_labels(step, field.sizes[lead]),
                valid_times=[str(time)[:16].replace("T", " ") for time in valid_times],
                lat=field[rows].values,
                lon=field[columns].values,
                geographic=geographic,
                title=f"{name} by {forecast.attrs['model_name']}",
                units=str(field.attrs.get("units", "")),
            )
        )
    return pictures


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
        lines.append(f"{name!s:<16}{float(field.min()):.6g} to {float(field.max()):.6g} {units}{missing}")
    if len(forecast.data_vars) > len(alone.data_vars):
        names = ", ".join(str(name) for name in forecast.data_vars if name not in alone.data_vars)
        lines.append(f"bands           {names}")
    return "\n".join([*lines, f"file            {path}"])


def _bundle_folder(reference: str) -> Path:
    if not reference.startswith(("models:/", "runs:/")):
        return Path(reference)
    from stconv.tracking import resolve_bundle

    return resolve_bundle(reference)
