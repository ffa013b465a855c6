"""Values far from zero that vary little, against NumPy in float64, from the file to the forecast."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from stconv.cli.main import main
from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.inspection.inspect import describe
from stconv.datasets.preparation.event import Event
from stconv.datasets.preparation.event_preparation import EventPreparation, preparation_from_spec
from stconv.datasets.preparation.preparation import Preparation
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.preparation.spec import PreparationSpec
from stconv.datasets.series.store import load_series
from stconv.datasets.settings import SourceSettings, WindowSettings
from stconv.datasets.source.grid import canonicalize, open_series
from stconv.digits import both_ends
from stconv.errors import ConfigError
from stconv.evaluation.assessment import Assessment
from stconv.forecast.units import Conversion
from stconv.results import median_case
from stconv.tracking.archive import WriteForecasts
from stconv.verification.report.table import event_rows
from stconv.verification.scores.case import median_window
from stconv.verification.scores.scoring import Scoring

LEVEL = 6.371e6


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


@pytest.fixture(scope="module")
def far(tmp_path_factory):
    """A height of 6371 km that varies by centimeters, as a data module."""
    path = tmp_path_factory.mktemp("far") / "a.nc"
    made(LEVEL, 0.04).to_netcdf(path)
    data = GridDataModule(
        SourceSettings(str(path)), PreparationSettings(("h",)), WindowSettings(t_in=3, leads=2)
    )
    data.setup()
    return data


def test_thresholds_are_physical_values(far):
    threshold = LEVEL + 0.02
    scores = Assessment(far, far.preparation, Scoring(thresholds={"h": [threshold]}))
    physical = made(LEVEL, 0.04).h.values
    n, n_said, n_both = np.zeros(2), np.zeros(2), np.zeros(2)
    for batch in far.test_dataloader():
        scores.add(batch, LastFrame()(far.preparation.inputs(batch))[None])
        for i in batch["reference_index"].tolist():
            said = physical[i] >= threshold
            for lead in range(2):
                happened = physical[i + 1 + lead] >= threshold
                n[lead] += happened.sum()
                n_said[lead] += said.sum()
                n_both[lead] += (said & happened).sum()
    result = scores.verification("last frame")
    found = result.diagnostics["thresholds"].sel(contender="model").isel(variable=0, threshold=0)
    assert (n > 0).all()
    np.testing.assert_array_equal(found["n_events"], n)
    np.testing.assert_allclose(found["csi"], n_both / (n + n_said - n_both))
    assert float(found["value"]) == threshold
    assert [title for title, _ in event_rows(result, 0)] == ["6371000.02 m"]


def test_events_are_about_physical_values(far):
    event = Event(variable="h", threshold=LEVEL + 0.02, side="at_least", share=0.5, name="high")
    prepared = EventPreparation.of(far.preparation, event, far.series, far.periods.train)
    again = preparation_from_spec(PreparationSpec.from_json(prepared.spec.to_json()), prepared.state_dict())
    batch = next(iter(far.test_dataloader()))
    physical = made(LEVEL, 0.04).h.values
    for i, happened in zip(batch["reference_index"].tolist(), again.truth(batch)[:, 0, :, 0, 0], strict=True):
        expected = (physical[i + 1 : i + 3] >= LEVEL + 0.02).mean(axis=(1, 2)) >= 0.5
        assert happened.bool().tolist() == expected.tolist()
    assert 0.1 < prepared.fitted.frequency[0] < 0.9
    assert prepared.outputs[0]["long_name"] == "probability of h at least 6371000.02 m in 50 % of the cells"


def test_texts_tell_both_ends_of_a_narrow_range():
    assert both_ends(LEVEL - 0.04, LEVEL + 0.04) == ("6370999.96", "6371000.04")
    assert both_ends(101320, 101331.7, digits=4) == ("101320", "101332")
    assert both_ends(271.23, 300.456) == ("271", "300")
    assert both_ends(0, 0) == ("0", "0")
    assert both_ends(-1.23456, 2) == ("-1.23", "2")
    assert both_ends(float("nan"), float("nan")) == ("nan", "nan")


def test_summaries_and_saved_forecasts_keep_the_digits(far, tmp_path, capsys):
    made(LEVEL, 0.04).to_netcdf(tmp_path / "a.nc")
    assert main(["inspect", str(tmp_path / "a.nc")]) == 0
    physical = made(LEVEL, 0.04).h.values
    low, high = (float(word) for word in capsys.readouterr().out.split(" h  ")[1].split()[1:4:2])
    assert (low, high) == (pytest.approx(physical.min(), abs=6e-3), pytest.approx(physical.max(), abs=6e-3))
    writer = WriteForecasts(tmp_path / "f.nc")
    trainer = SimpleNamespace(datamodule=far)
    writer.on_test_start(trainer, None)
    for i, batch in enumerate(far.test_dataloader()):
        fitted = far.preparation
        forecast = fitted.physical(LastFrame()(fitted.inputs(batch)), batch)
        writer.on_test_batch_end(trainer, None, {"forecast": forecast}, batch, i)
    writer.on_test_end(trainer, None)
    written = xr.load_dataset(tmp_path / "f.nc")
    newest = made(LEVEL, 0.04).h.sel(time=written.time.values)
    np.testing.assert_allclose(written.h.isel(prediction_timedelta=0), newest, rtol=0, atol=1e-6)


def test_pictures_of_a_test_show_physical_values(far):
    scores = Assessment(far, far.preparation)
    for batch in far.test_dataloader():
        scores.add(batch, LastFrame()(far.preparation.inputs(batch))[None])
    result = scores.verification("last frame")
    task = SimpleNamespace(device="cpu", forecast=lambda batch: batch["targets"])
    case, first = median_case(result, task, far), median_window(result.sums) + 1
    physical = made(LEVEL, 0.04).h.values[first : first + 2]
    np.testing.assert_allclose(case.truth[0], physical, rtol=0, atol=1e-6)
    np.testing.assert_allclose(case.forecast[0], physical, rtol=0, atol=1e-6)
