"""`stconv compare` on runs recorded in a real tracking store."""

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from stconv.cli.main import main
from stconv.experiments.comparison import (
    Entry,
    against_best,
    differing_parameters,
    find_entries,
    short_names,
)
from stconv.front.comparison_tables import comparison_tables
from stconv.tracking import RunInfo, RunLogger
from stconv.verification import ScoreSums, Verification


def made_result(noise, seed=0, n=80, n_leads=2):
    truth = np.random.default_rng(9).normal(size=(n, 1, n_leads, 4, 4))
    reference = truth + 2 * np.random.default_rng(8).normal(size=truth.shape)
    model = truth + noise * np.random.default_rng(seed).normal(size=truth.shape)
    sums = ScoreSums(["air"], n_leads, ["K"])
    sums.add(truth, {"model": model, "persistence": reference}, None, np.arange(n))
    return Verification(
        sums,
        "Net",
        "field",
        ("2014-08-08", "2014-12-31"),
        [f"{6 * k} h" for k in range(1, n_leads + 1)],
        span=4,
    )


def store_in(folder):
    """An absolute address: MLflow keeps a store open by its address, in whatever folder we are later."""
    return f"sqlite:///{folder}/mlflow.db"


def record(name, result, params, data_hash="abc", experiment="air"):
    logger = RunLogger(experiment, run_name=name)
    logger.log_hyperparams({"data.hash": data_hash, **params})
    if result is not None:
        path = Path(logger.log_dir, "verification")
        result.to_netcdf(path / "scores.nc")
        logger.log_artifact(path)
        logger.log_metrics({"test_rmse": float(result.sums.pooled_rmse("model")[0])})
    logger.finalize("success")
    return logger.run_id


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", store_in(folder))
        ids = {
            "good": record("good", made_result(1.0), {"lr": 0.1, "layers": 3, "note": "[red]"}),
            "bad": record("bad", made_result(1.8, seed=1), {"lr": 0.2, "layers": 3, "note": "b"}),
            "untested": record("untested", None, {"lr": 0.4}),
            "elsewhere": record("elsewhere", made_result(0.1, n_leads=1), {"lr": 0.3}, data_hash="def"),
            "twin": record("twin", made_result(1.8, seed=1), {"lr": 0.2, "layers": 4, "note": "c"}),
        }
    return folder, ids


@pytest.fixture
def inside(store, monkeypatch):
    monkeypatch.chdir(store[0])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store_in(store[0]))
    return store[1]


def info(**params):
    return RunInfo("0" * 32, "net", "air", "FINISHED", datetime(2026, 1, 1, tzinfo=UTC), {}, params, {})


def test_only_parameters_that_differ_are_shown():
    runs = [info(lr="0.1", layers="3", **{"data.hash": "a"}), info(lr="0.1", depth="2", **{"data.hash": "b"})]
    assert differing_parameters(runs) == {"depth": ["-", "2"], "layers": ["3", "-"]}
    assert differing_parameters(runs[:1]) == {}


def test_a_run_from_before_the_groups_is_compared_key_by_key():
    runs = [
        info(**{"data.batch_size": "16", "data.t_in": "5", "data.name": "a"}),
        info(**{"data.loading.batch_size": "8", "data.window.t_in": "5", "data.name": "b"}),
    ]
    assert differing_parameters(runs) == {"data.loading.batch_size": ["16", "8"]}


def test_runs_on_the_same_data_are_together_best_first(inside):
    groups, unscored = find_entries("air")
    names = [[entry.run.name for entry in group] for group in groups]
    assert names[0][0] == "good"
    assert sorted(names[0][1:]) == ["bad", "twin"]
    assert names[1] == ["elsewhere"]
    assert [run.name for run in unscored] == ["untested"]
    assert against_best(groups[0]) == ["", "worse at every lead", "worse at every lead"]
    assert against_best(groups[0][1:]) == ["", "not distinguishable"]


def test_table(inside, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "110")
    assert main(["compare", "--experiment", "air"]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0] == "field, 80 windows, 2014-08-08 to 2014-12-31; best pooled test RMSE first"
    assert lines[1].split() == ["#", "run", "RMSE", "K", "6", "h", "12", "h", "against", "#1"]
    assert lines[2].split()[:2] == ["1", "good"]
    assert any(line.startswith("lr ") and line.split() == ["lr", "0.1", "0.2", "0.2"] for line in lines)
    assert "[red]" in out  # not taken for markup
    assert "data.hash" not in out
    assert f"untested {inside['untested'][:8]}" in out


@pytest.mark.parametrize(("width", "leads"), [(80, [6, 48]), (104, [6, 18, 30, 36, 48])])
def test_a_narrow_terminal_sees_fewer_leads_and_all_else(width, leads):
    console = Console(width=width, record=True, file=io.StringIO())
    entries = [Entry(info(), made_result(noise, n_leads=8)) for noise in (1.0, 1.8)]
    for part in comparison_tables(entries, width):
        console.print(part)
    head = console.export_text().splitlines()[1].split()
    assert head == ["#", "run", "RMSE", "K", *f"{' h '.join(map(str, leads))} h".split(), "against", "#1"]


def test_json_and_picture(inside, capsys):
    assert main(["compare", "--json", "--plot", "made/compare.png"]) == 0
    groups = json.loads(capsys.readouterr().out)
    best = groups[0]["runs"][0]
    assert best["run_id"] == inside["good"]
    assert best["differing_parameters"]["lr"] == "0.1"
    assert best["rmse"] == pytest.approx(
        best["scores"]["variables"]["air"]["area"]["scores"]["model"]["pooled_rmse"]
    )
    assert groups[0]["ordered_by"] == "pooled test RMSE, area-weighted"
    assert Path("made/compare.png").stat().st_size > 10_000


def test_nothing_to_compare_is_explained(inside, capsys):
    assert main(["compare", "--experiment", "sea"]) == 1
    assert "No experiment 'sea'" in capsys.readouterr().err
    record("untested", None, {}, experiment="empty")
    assert main(["compare", "--experiment", "empty"]) == 1
    assert "No run of experiment 'empty' was tested yet" in capsys.readouterr().err


def test_of_runs_with_one_name_the_newest_is_enough(inside):
    record("net", made_result(1.0), {}, experiment="often")
    newest = record("net", made_result(1.5), {}, experiment="often")
    assert [entry.run.run_id for entry in find_entries("often", latest=True)[0][0]] == [newest]
    assert len(find_entries("often")[0][0]) == 2


def test_names_are_as_short_as_tells_them_apart():
    names = [
        "model.network.init_args.network.init_args.n_filters",
        "model.optimizer.init_args.lr",
        "model.lr_scheduler.init_args.lr",
        "data.scaling",
    ]
    assert list(short_names(names).values()) == ["n_filters", "optimizer.lr", "lr_scheduler.lr", "scaling"]
    assert short_names(["a.b", "b"]) == {"a.b": "a.b", "b": "b"}
