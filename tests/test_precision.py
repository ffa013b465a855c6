"""Values far from zero that vary little, against NumPy in float64, from the file to the forecast."""

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.inspection.inspect import describe
from stconv.datasets.preparation.preparation import Preparation
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.series.store import load_series
from stconv.datasets.settings import SourceSettings, WindowSettings
from stconv.datasets.source.grid import canonicalize, open_series
from stconv.errors import ConfigError
from stconv.forecast.units import Conversion


def made(level, spread, n=120, units="m"):
    rng = np.random.default_rng(0)
    times = np.datetime64("2001-01-01", "ns") + np.arange(n) * np.timedelta64(6, "h")
    wave = np.sin(2 * np.pi * (np.arange(n)[:, None, None] / 20 - np.arange(5) / 12))
    values = level + spread * (wave + 0.1 * rng.normal(size=(n, 4, 5)))
    return xr.Dataset(
        {"h": (("time", "lat", "lon"), values, {"units": units})},
        {
            "time": times,
            "lat": ("lat", np.arange(4.0), {"units": "degrees_north"}),
            "lon": ("lon", np.arange(5.0), {"units": "degrees_east"}),
        },
    )


@given(
    st.floats(-9, 9).map(lambda x: np.sign(x) * 10 ** abs(x)),
    st.floats(-4, 4).map(lambda x: 10.0**x),
)
@settings(max_examples=60, deadline=None)
def test_departures_are_those_of_float64(level, spread):
    ds = made(level, spread, n=40)
    canonical, origin = canonicalize(ds)
    series = load_series(canonical, origin, ["h"])
    center = series.centers.get("h", 0.0)
    assert series.values.dtype == np.float32
    # steps of float32 may be a thousandth of the spread, and float64 has an end
    finest = max(2e-3 * ds.h.values.std(), 4 * np.spacing(abs(level)))
    np.testing.assert_allclose(series.values[:, 0] + np.float64(center), ds.h, rtol=0, atol=finest)
    back = Conversion(center=center).backward(Conversion(center=center).forward(canonical.h.values))
    np.testing.assert_allclose(back, ds.h, rtol=0, atol=finest)


@pytest.mark.parametrize(("level", "spread"), [(6.371e6, 0.04), (101325, 0.5), (2459580, 3.0), (-1e7, 0.1)])
def test_inspect_tells_the_variation_and_the_errors_to_beat(tmp_path, level, spread):
    ds = made(level, spread, n=240)
    ds.to_netcdf(tmp_path / "a.nc")
    found = describe(tmp_path / "a.nc")[0].variables[0]
    assert found.standard_deviation == pytest.approx(float(ds.h.values.std()), rel=1e-3)
    assert found.mean == pytest.approx(float(ds.h.values.mean()), rel=1e-10)
    near = made(0, spread, n=240)
    near.to_netcdf(tmp_path / "b.nc")
    expected = describe(tmp_path / "b.nc")[0].variables[0]
    np.testing.assert_allclose(found.persistence_rmse, expected.persistence_rmse, rtol=2e-3)
    np.testing.assert_allclose(found.climatology_rmse, expected.climatology_rmse, rtol=2e-2)


def test_what_float32_resolves_stays_float32_and_uncentered(tmp_path):
    for level, spread in ((280, 5), (101325, 500), (0, 1e-9), (5, 0)):
        made(level, spread).to_netcdf(tmp_path / "a.nc")
        ds, origin = open_series(tmp_path / "a.nc")
        assert ds.h.dtype == np.float32
        assert not load_series(ds, origin, ["h"]).centers


class LastFrame(torch.nn.Module):
    """Forecasts the newest normalized frame."""

    def forward(self, x):
        return x[:, :1, -1:].expand(-1, -1, 2, -1, -1)


def test_a_forecast_has_the_digits_of_the_file(tmp_path):
    ds = made(6.371e6, 0.04, n=240)
    ds.to_netcdf(tmp_path / "a.nc")
    data = GridDataModule(
        SourceSettings(str(tmp_path / "a.nc")), PreparationSettings(("h",)), WindowSettings(t_in=3, leads=2)
    )
    data.setup("fit")
    fitted = data.preparation
    batch = next(iter(data.train_dataloader()))
    forecast = fitted.physical(LastFrame()(fitted.inputs(batch)), batch)
    np.testing.assert_allclose(forecast[:, 0, 0], batch["inputs"][:, 0, -1], atol=1e-6)
    assert float(batch["inputs"].abs().max()) < 1.5


def test_bounds_hold_of_physical_values_and_transforms_are_refused(tmp_path):
    canonical, origin = canonicalize(made(6.371e6, 0.04))
    series = load_series(canonical, origin, ["h"])
    common = {"inputs": ("h",), "targets": ("h",)}
    with pytest.raises(ConfigError, match=r"log1p of 'h' cannot be applied.*departures from 6371000"):
        Preparation.fit(series, range(80), PreparationSettings(**common, transforms={"h": "log1p"}))
    fitted = Preparation.fit(
        series, range(80), PreparationSettings(**common, bounds={"h": [6371000.01, None]})
    )
    held = fitted.bounded(torch.zeros(1, 1, 1, 4, 5)).double() + series.centers["h"]
    np.testing.assert_allclose(held, 6371000.01, atol=1e-8, rtol=0)
