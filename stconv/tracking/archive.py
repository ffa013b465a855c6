"""Every forecast of a test in one NetCDF file, for other evaluation tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from stconv.clock import HOUR
from stconv.datasets.source import time_axis
from stconv.datasets.source.directions import degrees_of
from stconv.sphere import DEGREE

if TYPE_CHECKING:
    from stconv.datasets.datamodule import GridDataModule

FILL = np.float32(9.969209968386869e36)
PERIODS = ("prediction_timedelta", "forecast_period", "lead_time")
"""Names of the leads: the first that no variable has."""
EPOCH = "hours since 1970-01-01 00:00:00"


class WriteForecasts(Callback):
    """Write the forecasts of the test period, batch by batch, in the conventions of WeatherBench.

    Dimensions `time` (of the newest input frame), `prediction_timedelta`, `lat` and `lon` (`y` and `x` on
    other grids); a variable for each target, in its units, and for each direction whose sine and cosine are
    targets. Memory holds one batch.

    Args:
        path: NetCDF file to write; an existing one is replaced.

    Source:
        Rasp et al. (2024), WeatherBench 2, JAMES 16, e2023MS004019: the form of its forecast files.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: Any = None

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the file, and describe it."""
        import netCDF4

        data: GridDataModule = trainer.datamodule  # type: ignore[attr-defined]
        series = data.series
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = file = netCDF4.Dataset(str(self.path), "w", format="NETCDF4")
        file.setncatts({"Conventions": "CF-1.11", "title": f"Forecasts of the test period of {data.name}"})
        axes = ("lat", "lon") if series.geographic else ("y", "x")
        file.createDimension("time", None)
        names = series.variables[: series.n_targets]
        self._period = next(name for name in PERIODS if name not in names)
        file.createDimension(self._period, data.leads)
        time = file.createVariable("time", "f8", ("time",))
        calendar = "standard" if series.calendar == "proleptic_gregorian" else series.calendar
        time.setncatts({"standard_name": "forecast_reference_time", "units": EPOCH, "calendar": calendar})
        delta = file.createVariable(self._period, "f8", (self._period,))
        delta.setncatts({"standard_name": "forecast_period", "units": "hours"})
        newest = series.times[data.references["test"][0]]
        ahead = [time_axis.advance(newest, series.step, lead + 1) for lead in range(data.leads)]
        delta[:] = [_hours(later - newest) for later in ahead]
        for name, values, words in zip(
            axes,
            (series.lat, series.lon),
            (("latitude", "degrees_north"), ("longitude", "degrees_east")),
            strict=True,
        ):
            file.createDimension(name, len(values))
            axis = file.createVariable(name, "f8", (name,))
            axis[:] = np.asarray(values)
            if series.geographic:
                axis.setncatts(dict(zip(("standard_name", "units"), words, strict=True)))
        units = {name: series.units.get(name, "1") or "1" for name in names}
        for name, unit in (units | dict.fromkeys(data.directions, DEGREE)).items():
            kind = "f8" if name in series.centers else "f4"
            dims = ("time", self._period, *axes)
            variable = file.createVariable(name, kind, dims, fill_value=FILL, zlib=True, complevel=1)
            variable.setncatts({"units": unit})

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Append the forecasts of a batch."""
        forecast: Tensor = outputs["forecast"]
        data: GridDataModule = trainer.datamodule  # type: ignore[attr-defined]
        start = self._file.dimensions["time"].size
        rows = slice(start, start + len(forecast))
        times = [data.series.times[int(i)] for i in batch["reference_index"]]
        time = self._file.variables["time"]
        time[rows] = [_since_epoch(moment, time.calendar) for moment in times]
        values, series = forecast.detach().cpu().numpy(), data.series
        fields = {
            name: values[:, channel] + np.float64(series.centers[name])
            if name in series.centers
            else values[:, channel]
            for channel, name in enumerate(series.variables[: series.n_targets])
        }
        for name in data.directions:
            fields[name] = degrees_of(fields[f"{name}_sin"], fields[f"{name}_cos"])
        for name, field in fields.items():
            self._file.variables[name][rows] = np.where(np.isfinite(field), field, FILL)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the file."""
        self._file.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close the file, complete or not."""
        if self._file is not None and self._file.isopen():
            self._file.close()


def _hours(delta: Any) -> float:
    if isinstance(delta, np.timedelta64):
        return float(delta / np.timedelta64(1, "s")) / HOUR.seconds
    return float(delta.total_seconds()) / HOUR.seconds


def _since_epoch(moment: Any, calendar: str) -> float:
    """Hours since 1970 in the calendar of the series."""
    if isinstance(moment, np.datetime64):
        return _hours(moment - np.datetime64("1970-01-01"))
    import cftime

    return float(cftime.date2num(moment, EPOCH, calendar))
