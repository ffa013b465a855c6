"""Optical flow as a reference: fields that move, motion that it cannot know, and refusals."""

import importlib.util

import numpy as np
import pytest
import torch
import xarray as xr

from stconv.contenders import OPTICAL_FLOW
from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.references import optical_flow
from stconv.datasets.references.optical_flow import OpticalFlow
from stconv.datasets.series.windows import WindowSpec
from stconv.datasets.settings import SourceSettings, WindowSettings
from stconv.errors import ConfigError
from stconv.evaluation.assessment import Assessment
from stconv.models import Persistence
from stconv.verification.report.table import render_table
from stconv.verification.scores.scoring import Scoring

LEADS, ROWS, COLUMNS = 3, 60, 80
DOWN, RIGHT = 1, 3
"""Cells a step that the made field moves."""


@pytest.fixture
def pysteps():
    pytest.importorskip("cv2")
    pytest.importorskip("pysteps")


def showers(step):
    """Round showers at random places, all moved as far; dry in between."""
    random = np.random.default_rng(3)
    rows, columns = np.mgrid[:ROWS, :COLUMNS]
    rain = np.zeros((ROWS, COLUMNS))
    for _ in range(40):
        row, column = random.uniform(-20, ROWS + 20), random.uniform(-40, COLUMNS)
        distance = np.hypot(rows - row - DOWN * step, columns - column - RIGHT * step)
        rain += random.uniform(2, 9) * np.exp(-((distance / 4) ** 2))
    return np.where(rain > 0.2, rain, 0).astype(np.float32)


def batch(*steps):
    return {"inputs": torch.from_numpy(np.stack([showers(step) for step in steps]))[None, None]}


def test_carries_showers_on_where_they_come_from_inside(pysteps):
    forecast = OpticalFlow(WindowSpec.consecutive(4, LEADS))(batch(0, 1, 2, 3), 1)
    assert forecast.shape == (1, 1, LEADS, ROWS, COLUMNS)
    assert forecast.dtype == torch.float32
    inside = (slice(DOWN * LEADS + 3, None), slice(RIGHT * LEADS + 3, None))
    newest = showers(3)
    for lead in range(1, LEADS + 1):
        truth = showers(3 + lead)
        error = np.abs(forecast[0, 0, lead - 1].numpy() - truth)[inside].mean()
        assert error < 0.25 * np.abs(newest - truth)[inside].mean()


def test_is_the_newest_frame_where_nothing_is_known_of_what_comes(pysteps):
    window = batch(0, 1, 2)
    window["inputs"][..., 20:24, 30:50] = torch.nan
    forecast = OpticalFlow(WindowSpec.consecutive(3, LEADS))(window, 1)[0, 0]
    newest = window["inputs"][0, 0, -1]
    np.testing.assert_array_equal(forecast[:, :, 0], newest[:, 0].expand(LEADS, -1))  # comes from outside
    assert not torch.isnan(forecast[:, torch.isfinite(newest)]).any()


@pytest.mark.parametrize("value", [0.0, 7.5, float("nan")])
def test_stands_still_where_nothing_moves(pysteps, value):
    still = torch.full((1, 1, 3, 9, 11), value)
    forecast = OpticalFlow(WindowSpec.consecutive(3, LEADS))({"inputs": still}, 1)
    np.testing.assert_array_equal(forecast, still[:, :, -1:].expand(-1, -1, LEADS, -1, -1))


def test_only_rain_is_put_into_decibels():
    rain = np.array([0.0, 2.0, 4.0, np.nan])  # wet mean 3, floor 0.3
    expected = 10 * np.log10([0.3, 2, 4])
    np.testing.assert_allclose(optical_flow._logarithm(rain)[:3], expected)
    warm = np.array([-3.0, 0.0, 280.0])
    assert optical_flow._logarithm(warm) is warm


def test_says_what_is_not_installed(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "cv2" else real(name))
    with pytest.raises(ConfigError, match=r"needs (pysteps and )?cv2.*pip install 'stconv\[pysteps\]'"):
        OpticalFlow(WindowSpec.consecutive(3, 2))


@pytest.mark.parametrize("offsets", [(0,), (-24, 0)])
def test_needs_two_frames_one_step_apart(monkeypatch, offsets):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    with pytest.raises(ConfigError, match="newest two inputs one step apart"):
        OpticalFlow(WindowSpec(offsets, 2))
    assert OpticalFlow(WindowSpec((-24, -1, 0), 2)).n_frames == 2


def test_joins_the_references_of_a_test_on_the_same_cells(pysteps, tmp_path):
    fields = np.stack([showers(step) for step in range(-45, 15)])
    fields[:, 5, 6] = np.nan
    times = np.datetime64("2020-01-01", "ns") + np.arange(60) * np.timedelta64(10, "m")
    axes = {"time": times, "y": range(ROWS), "x": range(COLUMNS)}
    xr.Dataset({"rain": (("time", "y", "x"), fields, {"units": "mm"})}, axes).to_netcdf(tmp_path / "rain.nc")
    data = GridDataModule(
        SourceSettings(str(tmp_path / "rain.nc")),
        PreparationSettings(("rain",)),
        WindowSettings(t_in=3, leads=LEADS),
    )
    data.setup()
    network, results = Persistence(1, 1, 3, LEADS), {}
    for asked in (False, True):
        scoring = Scoring({"rain": [1.0]}, (1, 5), optical_flow=asked)
        assessment = Assessment(data, data.preparation, scoring)
        for batch in data.test_dataloader():
            assessment.add(batch, network.members(data.preparation.inputs(batch)))
        results[asked] = assessment.verification("model")
    without, beside = results[False].sums, results[True].sums
    assert set(beside.references) - set(without.references) == {OPTICAL_FLOW}
    np.testing.assert_array_equal(beside.of("weight"), without.of("weight"))
    assert (beside.rmse(OPTICAL_FLOW) < 0.8 * beside.rmse("persistence")).all()
    table = str(render_table(results[True]))
    csi = results[True].diagnostics["thresholds"]["csi"].sel(contender=OPTICAL_FLOW)[0, :, 0].values
    above, events, below = table.partition("at least 1 mm")
    assert events
    line = next(line for line in below.splitlines() if line.startswith("  optical flow"))
    assert line.split()[2:] == [f"{value:.3f}" for value in csi]
    assert "FSS, 5 x 5 cells" in below
    assert "CSI" not in above
