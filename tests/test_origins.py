"""Rolling origins in the training and validation periods."""

import numpy as np
import pytest
import xarray as xr

from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.origins import rolling_origins
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.settings import SourceSettings, WindowSettings


def origins(tmp_path, days, scaling):
    time = xr.date_range("2001-01-01", periods=days, freq="D")
    values = np.random.default_rng(0).normal(size=(days, 2, 3)).astype("f4")
    coords = {"time": time, "lat": [10.0, 11.0], "lon": [0.0, 1.0, 2.0]}
    xr.Dataset({"t": (("time", "lat", "lon"), values)}, coords).to_netcdf(tmp_path / "a.nc")
    data = GridDataModule(
        SourceSettings(str(tmp_path / "a.nc")),
        PreparationSettings(("t",), scaling=scaling),
        WindowSettings(t_in=2, leads=1),
    )
    data.setup()
    return [len(origin.preparation.harmonics.terms) for origin in rolling_origins(data)]


@pytest.mark.parametrize(
    ("days", "scaling", "terms"),
    [
        (600, "zscore", [3, 5, 5, 5]),  # origins after 288, 336, 384 and 432 days
        (600, "anomaly", [5, 5, 5]),  # as the 360 days of training
        (200, "anomaly", [1, 1, 1, 1]),
        (1200, "anomaly", [5, 5, 5, 5]),
    ],
)
def test_origins_have_the_climatology_of_the_training_period(tmp_path, days, scaling, terms):
    """A wave of a year needs gaps of at most a quarter of a year, one of half a year at most an eighth."""
    assert origins(tmp_path, days, scaling) == terms


def test_all_origins_count_where_none_has_the_climatology_of_the_training_period(tmp_path, monkeypatch):
    monkeypatch.setattr("stconv.datasets.origins.supported_terms", lambda cycles, weekly: [(len(cycles),)])
    assert len(origins(tmp_path, 600, "anomaly")) == 4
