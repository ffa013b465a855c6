"""Pictures and the page: written, readable as what they claim, right way up, missing cells gray."""

import matplotlib.image
import numpy as np
import pytest

from stconv.errors import ConfigError, ShapeError
from stconv.verification import ScoreSums, Verification
from stconv.verification.report.plots import _oriented, _short_times, compare_plot, forecast_plot, skill_plot
from stconv.verification.scores.pairing import pair

LABELS = ("6 h", "12 h")


def made_verification(seed=0, noise=1.0, n=60, variables=("air", "slp"), start=0, lost=()):
    rng = np.random.default_rng(7)
    truth = 3 * rng.normal(size=(n, len(variables), 2, 4, 5))
    truth[..., 0, 0] = np.nan
    truth[(..., *lost)] = np.nan if lost else truth[(..., *lost)]
    newest = truth + 2 * rng.normal(size=truth.shape)
    model = truth + noise * np.random.default_rng(seed).normal(size=truth.shape)
    fields = {"model": np.nan_to_num(model), "persistence": newest, "climatology": 0 * np.nan_to_num(truth)}
    sums = ScoreSums(variables, 2, ["K", "hPa"][: len(variables)])
    sums.add(truth, fields, None, np.arange(start, start + n))
    return Verification(sums, "Net <1>", "data & more", ("2014-08-08", "2014-12-31"), LABELS, span=4)


def is_picture(path):
    pixels = matplotlib.image.imread(path)
    return pixels.shape[0] > 100 and pixels.shape[1] > 200 and np.ptp(pixels[..., :3]) > 0.5


def test_skill_and_compare_pictures(tmp_path):
    verification = made_verification()
    assert is_picture(skill_plot(verification, tmp_path / "made" / "skill.png"))
    rmse, skill = verification.sums.rmse("model")[0], verification.sums.skill("model", "persistence")[0]
    path = compare_plot(
        {"a": rmse, "b": 2 * rmse},
        {"a": skill, "b": skill - 1},
        tmp_path / "compare.png",
        lead_labels=LABELS,
        reference_rmse={"persistence": rmse * 1.5},
        intervals={"a": verification.skill_interval("persistence")[:, 0]},
    )
    assert is_picture(path)


@pytest.mark.parametrize(("n_lat", "n_lon", "n_leads"), [(4, 30, 1), (30, 4, 12), (1, 1, 2)])
def test_forecast_picture_of_any_form(tmp_path, n_lat, n_lon, n_leads):
    fields = np.random.default_rng(0).normal(size=(n_leads, n_lat, n_lon))
    labels = [f"{lead} h" for lead in range(1, n_leads + 1)]
    assert is_picture(forecast_plot(fields, fields + 1, tmp_path / "f.png", lead_labels=labels))
    assert is_picture(forecast_plot(None, fields, tmp_path / "alone.png", lead_labels=labels))


def test_fields_without_any_value_are_drawn_gray(tmp_path):
    nothing = np.full((2, 8, 8), np.nan)
    pixels = matplotlib.image.imread(forecast_plot(nothing, nothing, tmp_path / "n.png", lead_labels=LABELS))
    gray = np.all(np.abs(pixels[..., :3] - 0.82) < 0.01, axis=-1)
    assert gray.mean() > 0.3


@pytest.mark.parametrize("direction", [1, -1])
def test_north_is_up_and_east_is_right(tmp_path, direction):
    lat, lon = np.linspace(0, 60, 10)[::direction], np.linspace(0, 90, 12)[::direction]
    warm_north_east = (lat[:, None] > 40) & (lon > 60)
    field = np.where(warm_north_east, 10.0, 0.0)[None]
    rows, extent, _ = _oriented({"forecast": field}, lat, lon, True)
    assert rows["forecast"][0, -1, -1] == 10  # drawn with the origin below: last row is north
    assert rows["forecast"][0, 0, 0] == 0
    assert extent[:2] == pytest.approx((-90 / 22, 90 + 90 / 22))
    path = forecast_plot(None, field, tmp_path / "f.png", lead_labels=["6 h"], lat=lat, lon=lon)
    pixels = matplotlib.image.imread(path)[..., :3]
    yellow = np.all(np.abs(pixels - [0.993, 0.906, 0.144]) < 0.02, axis=-1)
    dark = np.all(np.abs(pixels - [0.267, 0.005, 0.329]) < 0.02, axis=-1)
    yellow[:, int(0.8 * yellow.shape[1]) :] = False  # not the color bar
    dark[:, int(0.8 * dark.shape[1]) :] = False
    up, right = (np.median(axis) for axis in np.nonzero(yellow))
    down, left = (np.median(axis) for axis in np.nonzero(dark))
    assert up < down
    assert right > left


def test_times_are_shown_as_short_as_they_can_be():
    assert _short_times(["2014-01-01T06:00:00", "2014-01-01T12:00:00"]) == [
        "2014-01-01 06:00",
        "2014-01-01 12:00",
    ]
    assert _short_times(["2014-01-01T00:00:00", "2014-02-01T00:00:00"]) == ["2014-01-01", "2014-02-01"]
    assert _short_times(["2014-01-01 06:00", "2014-01-01 12:00"]) == ["2014-01-01 06:00", "2014-01-01 12:00"]
    assert _short_times(["2014-01"]) == ["2014-01"]
    assert _short_times([]) == []


def test_fields_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ShapeError, match=r"truth to draw is \(2, 4, 5\), the forecast \(2, 4, 4\)"):
        forecast_plot(np.zeros((2, 4, 5)), np.zeros((2, 4, 4)), tmp_path / "f.png", lead_labels=LABELS)
    with pytest.raises(ShapeError, match=r"expected \(leads, lat, lon\)"):
        forecast_plot(None, np.zeros((4, 4)), tmp_path / "f.png", lead_labels=LABELS)


def test_two_models_are_compared_on_the_windows_they_share():
    ours, theirs = made_verification(noise=1.0, n=60), made_verification(seed=1, noise=1.5, n=60)
    late = theirs.sums.select(np.arange(60) >= 20)
    paired = pair(ours.sums, late)
    assert paired.reference_index.tolist() == list(range(20, 60))
    np.testing.assert_allclose(paired.rmse("rival"), late.rmse("model"))
    assert Verification(paired, span=4).beats("rival").all()
    again = pair(ours.sums, ours.sums)
    assert (Verification(again).outcome("rival") == "undecided").all()


def test_models_that_were_not_scored_alike_are_not_compared():
    ours = made_verification().sums
    with pytest.raises(ConfigError, match=r"forecasts .*, the other"):
        pair(ours, made_verification(variables=("air",)).sums)
    with pytest.raises(ConfigError, match="no window in common"):
        pair(ours, made_verification(start=1000).sums)
    with pytest.raises(ConfigError, match="scored on different cells"):
        pair(ours, made_verification(lost=(2, 2)).sums)
