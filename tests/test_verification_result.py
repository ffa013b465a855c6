"""The result of a test: outcome, verdict, table, JSON and NetCDF."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr

from stconv.errors import FileError
from stconv.verification import ScoreSums, Verification, lead_labels
from stconv.verification.report.table import number, render_table
from stconv.verification.scores.calibration import Calibration
from stconv.verification.scores.labels import lead_ranges
from stconv.verification.scores.verdict import verdict_sentences

torch.set_num_threads(1)
SIX_HOURS = SimpleNamespace(kind="fixed", seconds=21_600, n=1)


def red_noise(n, memory=0.9, n_lat=4, n_lon=5, seed=0):
    rng = np.random.default_rng(seed)
    x = np.zeros((n, n_lat, n_lon))
    for i in range(1, n):
        x[i] = memory * x[i - 1] + rng.normal(size=x.shape[1:])
    return x


def made_verification(n=400, n_leads=4, damping=0.9, variables=("t",), shuffled=False, seed=0):
    """Red noise; the model damps the newest frame, the best there can be if damping is the memory."""
    x = red_noise(n + n_leads, seed=seed)
    index = np.arange(5, n)
    truth = np.stack([x[index + lead] for lead in range(1, n_leads + 1)], 1)[:, None]
    newest = np.repeat(x[index][:, None, None], n_leads, 2)
    model = newest * damping ** np.arange(1, n_leads + 1)[:, None, None]
    if shuffled:
        truth = truth[np.random.default_rng(seed).permutation(len(truth))]
    fields = {"model": model, "persistence": newest, "climatology": np.zeros_like(newest)}
    repeat = [len(variables) if axis == 1 else 1 for axis in range(5)]
    sums = ScoreSums(variables, n_leads, ["K", "hPa"][: len(variables)])
    sums.add(np.tile(truth, repeat), {k: np.tile(f, repeat) for k, f in fields.items()}, None, index)
    labels = lead_labels(SIX_HOURS, n_leads)
    return Verification(sums, "ResNet2D", "red noise", ("2014-08-08", "2014-12-31"), labels, span=9)


def test_the_best_forecast_beats_both_references():
    verification = made_verification()
    assert verification.beats("persistence").all()
    assert verification.verdict() == "Beats persistence and climatology at every lead."


def test_persistence_against_itself_is_undecided():
    verification = made_verification(damping=1.0)
    assert (verification.outcome("persistence") == "undecided").all()
    assert "undecided against persistence at every lead" in verification.verdict()


def test_rounding_decides_nothing():
    # Persistence through a network is normalized and back, which is an error in the seventh digit.
    truth = 1 + np.abs(red_noise(400))[:, None, None]
    newest = np.zeros(truth.shape)
    for rounding in (1e-6, -1e-6):
        sums = ScoreSums(["t"], 1)
        sums.add(truth, {"model": newest + rounding, "persistence": newest}, None, np.arange(400))
        assert (np.sign(Verification(sums).skill_interval("persistence")) == np.sign(rounding)).all()
        assert (Verification(sums).outcome("persistence") == "undecided").all()


def test_a_worse_forecast_loses():
    verification = made_verification(damping=2.0)
    assert (verification.outcome("persistence") == "loses to").all()
    assert verification.verdict() == "Loses to persistence and climatology at every lead."


def test_interval_and_test_have_to_agree(monkeypatch):
    monkeypatch.setattr("stconv.verification.scores.result.p_values", lambda *_: np.full((1, 4), 0.06))
    assert (made_verification().outcome("persistence") == "undecided").all()
    assert (made_verification(damping=2.0).outcome("persistence") == "undecided").all()


def test_shuffled_targets_give_no_skill():
    for seed in range(3):
        verification = made_verification(shuffled=True, seed=seed)
        assert not verification.beats("climatology").any()
        assert (verification.sums.skill("model", "climatology") < 0).all()
        assert (np.abs(verification.sums.acc("model")) < 0.15).all()


def test_few_windows_decide_nothing():
    verification = made_verification(n=20)
    assert np.isnan(verification.skill_interval("persistence")).all()
    assert (verification.outcome("climatology") == "undecided").all()
    assert "interval" not in str(render_table(verification))


def test_verdict_names_leads_and_times():
    beats, open_, loses = "beats", "undecided", "loses to"
    outcomes = {
        "persistence": np.array([[beats, beats, beats]]),
        "climatology": np.array([[beats, open_, loses]]),
        "linear": np.array([[beats, loses, beats]]),
    }
    assert verdict_sentences(["t"], outcomes, ("6 h", "12 h", "18 h")) == (
        "Beats persistence at every lead, climatology at lead 1 (6 h), linear at leads 1 and 3; "
        "undecided against climatology at lead 2 (12 h); "
        "loses to climatology at lead 3 (18 h), linear at lead 2 (12 h)."
    )
    assert verdict_sentences(["t"], {}, ("6 h",)) == "There was no reference to compare with."


def test_the_verdict_says_which_way_the_undecided_leans():
    open_ = "undecided"
    outcomes = {"persistence": np.array([[open_, open_]]), "climatology": np.array([[open_, open_]])}
    skills = {"persistence": np.array([[0.05, 0.001]]), "climatology": np.array([[-0.96, -0.2]])}
    assert verdict_sentences(["t"], outcomes, ("6 h", "12 h"), skills, 17) == (
        "Is better, but not significantly, than persistence at lead 1 (6 h); "
        "undecided against persistence at lead 2 (12 h); "
        "is worse, but not significantly, than climatology at every lead "
        "(RMSE up to 96 % higher, 17 windows)."
    )


def test_all_leads_together_are_one():
    verification = made_verification()
    whole = verification.over_leads()
    np.testing.assert_allclose(whole.sums.rmse("model")[:, 0], verification.sums.pooled_rmse("model"))
    assert whole.beats("persistence").all()
    assert whole.labels == ("6 h to 24 h",)
    assert whole.block == verification.block


def test_verdict_and_table_of_several_variables():
    verification = made_verification(variables=("air", "slp"))
    assert verification.verdict().splitlines() == [
        "air: beats persistence and climatology at every lead.",
        "slp: beats persistence and climatology at every lead.",
    ]
    table = str(render_table(verification))
    assert "RMSE K" in table
    assert "RMSE hPa" in table


def test_table_says_what_was_scored():
    verification = made_verification()
    lines = str(render_table(verification, width=80)).splitlines()
    assert lines[0] == "ResNet2D on red noise, 395 windows, 2014-08-08 to 2014-12-31"
    assert lines[1].split("  ")[0] == "lead"
    assert all(label in lines[1] for label in ("6 h", "12 h", "18 h", "24 h"))
    first = f"{verification.sums.rmse('model')[0, 0]:.2f}"
    assert lines[2].split()[:3] == ["RMSE", "K", first]
    assert lines[-1] == verification.verdict()
    assert max(map(len, lines)) <= 80


def test_table_of_many_leads_goes_on_below():
    lines = str(render_table(made_verification(n_leads=15), width=80)).splitlines()
    assert sum(line.startswith("lead") for line in lines) == 3
    assert max(map(len, lines)) <= 80


def test_numbers_have_no_minus_before_zero_and_no_false_zeros():
    assert number(-0.001, 2, sign=True) == "0.00"
    assert number(0.4, 2, sign=True) == "+0.40"
    assert number(1.234e-7, 9) == "1.23e-07"
    assert number(np.nan, 2) == "-"


def test_lead_labels():
    assert lead_labels(SIX_HOURS, 5) == ("6 h", "12 h", "18 h", "24 h", "30 h")
    assert lead_labels(SimpleNamespace(kind="fixed", seconds=600, n=1), 2) == ("10 min", "20 min")
    assert lead_labels(SimpleNamespace(kind="fixed", seconds=86_400, n=1), 2) == ("1 d", "2 d")
    assert lead_labels(SimpleNamespace(kind="month", seconds=0, n=1), 2) == ("1 month", "2 months")
    assert lead_ranges([1, 2, 3, 5, 7, 8]) == "leads 1-3, 5 and 7-8"
    assert lead_ranges([4]) == "lead 4"


def test_json_is_strict_and_complete():
    verification = made_verification()
    values = json.loads(json.dumps(verification.to_json(), allow_nan=False))
    air = values["variables"]["t"]
    assert values["verdict"] == verification.verdict()
    assert values["lead_labels"] == ["6 h", "12 h", "18 h", "24 h"]
    assert air["units"] == "K"
    np.testing.assert_allclose(air["area"]["scores"]["model"]["rmse"], verification.sums.rmse("model")[0])
    assert air["area"]["scores"]["climatology"]["acc"] == [None] * 4
    against = air["cells"]["against"]["persistence"]
    assert against["outcome"] == ["beats"] * 4
    for low, skill, high in zip(against["skill_low"], against["skill"], against["skill_high"], strict=True):
        assert low < skill < high


def test_netcdf_round_trip(tmp_path):
    verification = made_verification(variables=("air", "slp"))
    again = Verification.from_netcdf(verification.to_netcdf(tmp_path / "made" / "scores.nc"))
    assert again.to_json() == verification.to_json()
    assert again.title == verification.title


def test_another_netcdf_file_is_refused(tmp_path):
    verification = made_verification()
    ds = verification.sums.to_dataset().drop_vars("weight")
    ds.to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(FileError, match=r"other\.nc holds no verification .* expected the scores\.nc"):
        Verification.from_netcdf(tmp_path / "other.nc")
    with pytest.raises(FileError, match=r"absent\.nc holds no verification"):
        Verification.from_netcdf(tmp_path / "absent.nc")


def test_diagnostics_survive_the_file_and_are_in_the_json(tmp_path):
    calibration = Calibration(["t"], 4)
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(5, 1, 4, 3, 3))
    calibration.add_band(truth, truth - 1, truth + rng.random(truth.shape) - 0.5, 0.8)
    ds = calibration.to_dataset()
    verification = replace(made_verification(), diagnostics={"calibration": ds})
    read = Verification.from_netcdf(verification.to_netcdf(tmp_path / "scores.nc"))
    xr.testing.assert_equal(read.diagnostics["calibration"], ds)
    values = json.loads(json.dumps(read.to_json()))["diagnostics"]["calibration"]
    assert values["coverage"]["dims"] == ["variable", "lead", "level"]
    assert values["coverage"]["values"][0][1] == [pytest.approx(float(ds["coverage"][0, 1, 0]))]
    assert values["variable"]["values"] == ["t"]
