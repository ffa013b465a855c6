"""A forecast from files to a file: CF NetCDF or Zarr, with pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stconv.errors import ConfigError
from stconv.front.model import Model, load

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class ForecastFile:
    """A forecast that was written to a file.

    Attributes:
        forecast: The forecast.
        path: The file, or the Zarr store.
        pictures: Pictures of its variables.
    """

    forecast: xr.Dataset
    path: Path
    pictures: Sequence[Path] = ()

    def __str__(self) -> str:
        """Reference time, leads, range of values, bands and file, one line each."""
        from stconv.digits import both_ends
        from stconv.forecast import without_bands
        from stconv.forecast.output import lead_of, reference_of

        forecast = self.forecast
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
        return "\n".join([*lines, f"file            {self.path}"])


def forecast_to_file(
    model: str | Path,
    paths: Sequence[str | Path],
    output: str | Path,
    *,
    device: str = "cpu",
    engine: str = "torch",
    tile: int | None = None,
    plot: str | Path | None = None,
    **options: Any,
) -> ForecastFile:
    """Forecast from files, and write the forecast and its pictures.

    Args:
        model: A reference as for `stconv.load`.
        paths: Files of one series.
        output: File to write, ending in .nc or .zarr; an existing one is replaced.
        device: As for `stconv.load`.
        engine: As for `stconv.load`.
        tile: As for `stconv.load`.
        plot: Picture to draw; with several variables, file names contain their names.
        **options: Options of `Model.forecast`.

    Raises:
        DataError: The data do not fit the model.
        FileError: The file cannot be written.
        ConfigError: An event network is to slide on an engine that has one fixed grid.
    """
    from stconv.forecast import check_destination, write_forecast

    if options.get("slide") and engine != "torch":
        raise ConfigError(
            f"--slide is not for --engine {engine}, which has one fixed grid. Use --engine torch."
        )
    check_destination(output)
    loaded = load(model, device=device, engine=engine, tile=tile)
    forecast = loaded.forecast(paths, **options)
    path = write_forecast(forecast, output)
    pictures = [] if plot is None else _draw(loaded, forecast, Path(plot))
    return ForecastFile(forecast, path, pictures)


def _draw(model: Model, forecast: xr.Dataset, path: Path) -> list[Path]:
    from stconv.front.pictures import forecast_figures
    from stconv.verification.report.plots import save

    figures = forecast_figures(forecast, model.forecaster)
    return [
        save(figure, path if len(figures) == 1 else path.with_stem(f"{path.stem}_{name}"))
        for name, figure in figures.items()
    ]
