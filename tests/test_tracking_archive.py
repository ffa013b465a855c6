"""Every forecast of a test in one file: another evaluator, plain xarray, finds our scores in it."""

from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import xarray as xr

from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.recipes.synthetic import generate
from stconv.datasets.settings import LoadingSettings, SourceSettings, WindowSettings
from stconv.losses import MaskedMSE
from stconv.models import Persistence
from stconv.task import ForecastTask
from stconv.tracking.archive import WriteForecasts

LEADS = 3


@pytest.mark.parametrize("masked", [False, True])
def test_scores_from_the_file_are_ours(tmp_path: Path, masked: bool) -> None:
    torch.set_num_threads(1)
    path = generate(tmp_path / "made.nc", n_steps=200, n_lat=5, n_lon=6)
    if masked:
        with xr.open_dataset(path) as ds:
            ds = ds.load()
        ds["t2m"][:, 0, :3] = np.nan
        path = tmp_path / "masked.nc"
        ds.to_netcdf(path)
    data = GridDataModule(
        SourceSettings(str(path)),
        PreparationSettings(("t2m",)),
        WindowSettings(t_in=4, leads=LEADS),
        loading=LoadingSettings(batch_size=7),
    )
    task = ForecastTask(Persistence(1, 1, 4, LEADS), MaskedMSE())
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        callbacks=[WriteForecasts(tmp_path / "out" / "forecasts.nc")],
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.test(task, data, verbose=False)
    assert task.verification is not None
    with (
        xr.open_dataset(tmp_path / "out" / "forecasts.nc", decode_timedelta=True) as forecasts,
        xr.open_dataset(path) as truth,
    ):
        assert forecasts["t2m"].dims == ("time", "prediction_timedelta", "lat", "lon")
        assert forecasts["t2m"].attrs["units"] == "K"
        assert forecasts["lat"].attrs["units"] == "degrees_north"
        assert forecasts.sizes["time"] == task.verification.sums.n_windows
        observed = truth["t2m"].sortby("lat")
        lon = (observed["lon"] + 180) % 360 - 180
        observed = observed.assign_coords(lon=lon).sortby("lon")
        weights = np.cos(np.deg2rad(forecasts["lat"]))
        for lead in range(LEADS):
            said = forecasts["t2m"].isel(prediction_timedelta=lead)
            valid = said["time"] + said["prediction_timedelta"]
            happened = observed.sel(time=valid.values).assign_coords(time=said["time"].values)
            error = ((said - happened) ** 2).weighted(weights).mean()
            found = task.verification.sums.rmse("model")[0, lead]
            assert float(np.sqrt(error)) == pytest.approx(found, rel=1e-5)
