"""Errors of directions on the circle: by hand, and against angles of complex numbers."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr

from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.settings import LoadingSettings, SourceSettings, WindowSettings
from stconv.datasets.source.grid import GridSpec
from stconv.errors import ConfigError
from stconv.evaluation.assessment import Assessment
from stconv.results import median_case, write_results
from stconv.verification import ScoreSums, Verification
from stconv.verification.report import sections
from stconv.verification.scores.case import median_window
from stconv.verification.scores.circular import Circle, difference, with_angles
from stconv.verification.scores.metrics import score_metrics
from stconv.verification.scores.scoring import Scoring

torch.set_num_threads(1)


def test_smallest_angles_by_hand():
    # forecast 350 for 10: 20 degrees to the left; 10 for 350: 20 to the right; 180 apart is 180 either way
    truth = torch.tensor([10.0, 350, 0, 90]).view(1, 1, 1, 1, 4)
    forecast = torch.tensor([350.0, 10, 180, 100]).view(1, 1, 1, 1, 4)
    apart = difference(forecast, truth, [True]).flatten()
    assert apart.tolist() == [-20, 20, -180, 10]
    sums = ScoreSums(["wdir"], 1, ["degree"], circular=["wdir"])
    sums.add(truth, {"model": forecast, "climatology": truth}, None, [0])
    assert sums.rmse("model") == pytest.approx(np.sqrt((400 + 400 + 32400 + 100) / 4))
    assert sums.mae("model") == pytest.approx((20 + 20 + 180 + 10) / 4)
    assert np.isnan(sums.acc("model")).all()
    plain = ScoreSums(["wdir"], 1, ["degree"])
    plain.add(truth, {"model": forecast}, None, [0])
    assert plain.mae("model") == pytest.approx((340 + 340 + 180 + 10) / 4)
    with pytest.raises(ConfigError, match="cannot be merged"):
        sums.merge(plain)


def test_angles_need_no_unit_length_and_keep_missing_values():
    field = torch.tensor([[0.5, -0.1, 0.0, torch.nan], [0.5, 0.0, -3.0, 1.0]]).view(1, 2, 1, 1, 4)
    angles = with_angles(field, [Circle("d", 0, 1)])[0, 2].flatten()
    torch.testing.assert_close(angles, torch.tensor([45.0, 270.0, 180.0, torch.nan]), equal_nan=True)


class Newest(torch.nn.Module):
    """Forecasts the newest normalized frame: persistence."""

    display_name = "newest"

    def forward(self, x):
        return x[:, :2, -1:].expand(-1, -1, 2, -1, -1)


@pytest.fixture(scope="module")
def tested(tmp_path_factory):
    """Directions around north with some missing, tested with a network that repeats the newest frame."""
    rng = np.random.default_rng(0)
    values = ((350 + rng.normal(0, 25, (120, 4, 5))) % 360).astype("f4")
    values[100:104, 1, 2] = np.nan
    times = np.datetime64("2001-01-01", "ns") + np.arange(120) * np.timedelta64(6, "h")
    attrs = {"units": "degree", "standard_name": "wind_from_direction"}
    ds = xr.Dataset(
        {"wdir": (("time", "y", "x"), values, attrs)}, {"time": times, "y": np.arange(4), "x": np.arange(5)}
    )
    folder = tmp_path_factory.mktemp("circle")
    ds.to_netcdf(folder / "a.nc")
    data = GridDataModule(
        SourceSettings(str(folder / "a.nc"), grid=GridSpec(components=["wdir"])),
        PreparationSettings(("wdir_sin", "wdir_cos")),
        WindowSettings(t_in=3, leads=2),
        loading=LoadingSettings(batch_size=8),
    )
    data.setup()
    found = Assessment(
        data, data.preparation, Scoring(thresholds={"wdir_sin": [0.5]}, regions={"a": [0, 1, 0, 1]})
    )
    for batch in data.test_dataloader():
        found.add(batch, Newest()(data.preparation.inputs(batch))[None])
    return data, values.astype("f8"), found.verification("newest")


def test_a_direction_is_scored_next_to_its_components(tested):
    _, values, result = tested
    sums = result.sums
    assert sums.variables == ("wdir_sin", "wdir_cos", "wdir")
    assert (sums.circular, sums.units["wdir"]) == (("wdir",), "degree")
    unit = np.exp(1j * np.deg2rad(values))
    newest = np.stack([unit[i] for i in sums.reference_index])
    known = newest.copy()
    for row, i in enumerate(sums.reference_index):  # persistence takes the newest known value of the window
        for back in (1, 2):
            known[row] = np.where(np.isfinite(known[row]), known[row], unit[i - back])
    for lead in (1, 2):
        truth = np.stack([unit[i + lead] for i in sums.reference_index])
        angles = np.rad2deg(np.angle(truth * known.conj()))
        expected = np.sqrt(np.nanmean(angles**2))
        assert sums.rmse("persistence", "cells")[2, lead - 1] == pytest.approx(expected, rel=1e-5)
    climatology = sums.rmse("climatology")[2]
    assert (climatology < sums.rmse("persistence")[2]).all()
    assert climatology[0] == pytest.approx(25, rel=0.15)


def test_logs_means_and_files_treat_a_direction_as_a_further_variable(tested, tmp_path):
    _, _, result = tested
    metrics = score_metrics(result.sums, "test", detailed=True)
    assert metrics["test_rmse_wdir_lead_1"] == pytest.approx(result.sums.rmse("model")[2, 0])
    assert metrics["test_rmse"] == pytest.approx(np.sqrt((result.sums.pooled_rmse("model")[:2] ** 2).mean()))
    again = Verification.from_netcdf(result.to_netcdf(tmp_path / "s.nc"))
    assert again.sums.circular == ("wdir",)
    assert again.over_leads().sums.circular == ("wdir",)
    assert "wdir" in again.verdict()


def task_of(data):
    fitted = data.preparation
    return SimpleNamespace(
        device="cpu", forecast=lambda batch: fitted.physical(Newest()(fitted.inputs(batch)), batch)
    )


def test_sections_and_pictures_show_the_direction(tested, tmp_path):
    data, values, result = tested
    assert "Error and skill of wdir, lead by lead" in sections.scores(result, 2)
    assert sections.error_maps(result, 0)
    assert sections.error_maps(result, 2) == sections.events(result, 2) == sections.sharpness(result, 2) == ""
    case = median_case(result, task_of(data), data)
    reference = median_window(result.sums)
    np.testing.assert_allclose(case.truth[2], values[reference + 1 : reference + 3], atol=1e-4)
    known = np.isfinite(values[reference])
    np.testing.assert_allclose(case.forecast[2, 0][known], values[reference][known], atol=1e-4)
    assert "<h3>wdir</h3>" in sections.case_player(result, case)


@pytest.mark.slow
def test_the_whole_report_is_written(tested, tmp_path):
    data, _, result = tested
    write_results(result, task_of(data), data, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "Where the errors of wdir_sin are" in page
    assert "Where the errors of wdir are" not in page
    assert (tmp_path / "forecast_wdir.png").stat().st_size > 1000
