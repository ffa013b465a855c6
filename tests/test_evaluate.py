"""`stconv evaluate` on a small experiment, run through the real command line."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
import yaml

from s3_server import serving_bucket
from stconv.bundle import Bundle
from stconv.cli.main import main
from stconv.datasets.recipes.synthetic import generate
from stconv.hindcasts.fingerprint import fingerprint_of_model
from stconv.models import Conv2Plus1D
from stconv.task import ForecastTask
from stconv.tracking import find_run
from stconv.verification import Verification

EXPERIMENT = {
    "seed_everything": 0,
    "data": {"paths": "field.nc", "inputs": ["t2m"], "t_in": 3, "leads": 2, "batch_size": 32},
    "model": {
        "network": {
            "class_path": "stconv.models.Increment",
            "init_args": {
                "network": {
                    "class_path": "stconv.models.Conv2Plus1D",
                    "init_args": {"n_layers": 1, "n_filters": 4, "kernel": 3},
                }
            },
        },
        "loss": {"class_path": "stconv.losses.MaskedMSE"},
    },
    "trainer": {
        "max_epochs": 1,
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "logger": {
            "class_path": "stconv.tracking.RunLogger",
            "init_args": {"experiment_name": "field", "run_name": "net"},
        },
    },
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with a trained run."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        generate("field.nc", n_steps=300, n_lat=8, n_lon=8)
        Path("net.yaml").write_text(yaml.safe_dump(EXPERIMENT))
        assert main(["fit", "--config", "net.yaml"]) == 0
    return folder


@pytest.fixture
def inside(project, monkeypatch):
    monkeypatch.chdir(project)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project}/mlflow.db")
    return project


def test_the_newest_run_is_evaluated_written_and_recorded(inside, capsys):
    reads = int(find_run().tags.get("stconv.test_reads", 0))
    assert main(["evaluate", "--json", "--output", "out"]) == 0
    values = json.loads(capsys.readouterr().out)
    run = find_run()
    assert run.tested
    assert run.tags["stconv.test_reads"] == str(reads + 1)
    assert run.status == "FINISHED"
    names = {"report.html", "scores.json", "scores.nc", "skill.png", "forecast_t2m.png"}
    folder = Path(run.tags["stconv.folder"], "verification")
    assert names <= {path.name for path in folder.iterdir()}
    assert names <= {path.name for path in Path("out").iterdir()}
    page = Path("out/report.html").read_text()
    assert "t2m, from t2m; 3 steps in, 2 out" in page
    assert all(name in page for name in ("damped persistence", "linear 3x3", "One forecast, step by step"))
    written = Verification.from_netcdf("out/scores.nc")
    pooled = values["variables"]["t2m"]["area"]["scores"]["model"]["pooled_rmse"]
    assert written.sums.pooled_rmse("model") == pytest.approx(pooled)
    assert run.metrics["test_rmse"] == pytest.approx(pooled, rel=1e-5)
    assert "test_loss" not in run.metrics  # nobody computed the loss that the network was trained with


def test_predict_runs_the_network_once(inside, capsys, monkeypatch):
    calls = []
    compute = Conv2Plus1D.compute
    monkeypatch.setattr(Conv2Plus1D, "compute", lambda net, x: calls.append(len(x)) or compute(net, x))
    monkeypatch.setattr(ForecastTask, "calibrate", lambda task: None)  # it runs over the validation period
    assert main(["predict", "--config", "net.yaml"]) == 0
    assert calls == [1]
    written = capsys.readouterr().out.split("newest window: ")[1].strip()
    with xr.open_dataset(written) as found, xr.open_dataset("field.nc") as field:
        assert found["forecast_reference_time"] == field["time"][-1]


def test_scores_are_those_of_the_test_windows_alone(inside, capsys):
    main(["evaluate", "net", "--json"])
    values = json.loads(capsys.readouterr().out)
    # 300 steps, 60/20/20: the test period is the last 60; windows of 3 + 2 steps wholly inside it.
    field = xr.open_dataset("field.nc")["t2m"].values.astype(float)
    start = 300 - values["n_windows"] - 4
    newest = np.arange(start + 2, 298)
    assert len(newest) == values["n_windows"]
    persistence = np.sqrt(np.mean((field[newest + 1] - field[newest]) ** 2))
    found = values["variables"]["t2m"]["cells"]["scores"]["persistence"]["rmse"][0]
    assert found == pytest.approx(persistence, rel=1e-5)


def test_the_table_is_what_a_person_sees(inside, capsys):
    assert main(["evaluate", str(Path(find_run().tags["stconv.folder"], "bundle"))]) == 0
    out = capsys.readouterr().out
    assert "Conv2Plus1D on field" in out
    assert "RMSE K" in out
    assert "persistence" in out
    assert out.rstrip().endswith("report.html")


def test_another_configuration_is_not_recorded(inside, capsys):
    reads = find_run().tags.get("stconv.test_reads")
    later = {**EXPERIMENT, "data": {**EXPERIMENT["data"], "split": {"fractions": [0.7, 0.2, 0.1]}}}
    Path("later.yaml").write_text(yaml.safe_dump(later))
    assert main(["evaluate", "net", "--config", "later.yaml", "--output", "later", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["folder"] == "later"
    assert Path("later/report.html").is_file()
    assert find_run().tags.get("stconv.test_reads") == reads


def test_a_test_period_that_was_trained_on_is_refused(inside, capsys):
    early = {**EXPERIMENT, "data": {**EXPERIMENT["data"], "split": {"fractions": [0.3, 0.2, 0.5]}}}
    Path("early.yaml").write_text(yaml.safe_dump(early))
    assert main(["evaluate", "net", "--config", "early.yaml"]) == 1
    assert "but the model used the data until" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("trainer: {}", "has no section `data`"),
        (
            "data: {paths: field.nc, inputs: [t2m], leafs: 2}",
            "The data section of 'wrong.yaml' is not understood",
        ),
        ("data: [", "'wrong.yaml' is not YAML"),
    ],
)
def test_a_wrong_configuration_is_explained(inside, capsys, config, message):
    Path("wrong.yaml").write_text(config)
    assert main(["evaluate", "net", "--config", "wrong.yaml"]) == 1
    assert message in capsys.readouterr().err


def test_what_is_not_there_is_explained(inside, capsys, tmp_path):
    assert main(["evaluate", "nobody"]) == 1
    assert "No run 'nobody'" in capsys.readouterr().err
    assert main(["evaluate", "net", "--config", "absent.yaml"]) == 1
    assert "No configuration 'absent.yaml'" in capsys.readouterr().err
    assert main(["evaluate", str(tmp_path)]) == 1
    assert "Name the configuration of its training" in capsys.readouterr().err


def test_other_variables_are_refused(inside, capsys):
    xr.open_dataset("field.nc").rename(t2m="d2m").to_netcdf("renamed.nc")
    other = {**EXPERIMENT, "data": {**EXPERIMENT["data"], "paths": "renamed.nc", "inputs": ["d2m"]}}
    Path("other.yaml").write_text(yaml.safe_dump(other))
    assert main(["evaluate", "net", "--config", "other.yaml"]) == 1
    assert "The model was trained on t2m, the data section names d2m" in capsys.readouterr().err


def test_a_stored_hindcast_has_the_scores_of_the_test(inside, capsys):
    bundle = str(Path(find_run().tags["stconv.folder"], "bundle"))
    stored = ["hindcast", "--model", bundle, "--input", "field.nc", "--output", "h.zarr", "--workers", "0"]
    assert main([*stored, "--bands", "--first", "2000-02-15"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "net", "--json"]) == 0
    expected = json.loads(capsys.readouterr().out)
    assert main(["evaluate", "net", "--hindcast", "h.zarr", "--json", "--output", "of_store"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n_windows"] == expected["n_windows"]
    assert _numbers(found["variables"]) == pytest.approx(
        _numbers(expected["variables"]), rel=1e-6, abs=2e-6, nan_ok=True
    )
    (written, tested) = (
        Verification.from_netcdf(Path(folder, "scores.nc")).diagnostics
        for folder in ("of_store", expected["folder"])
    )
    for name in ("calibration", "maps", "similarity"):
        xr.testing.assert_allclose(written[name], tested[name], rtol=1e-5, atol=1e-4)
    assert "test windows, from h.zarr" in Path("of_store/report.html").read_text()
    loaded = Bundle.load(Path(bundle))
    known = fingerprint_of_model(loaded, bands=True)
    loaded.bands.widening.add_(1)  # as a later test does
    assert fingerprint_of_model(loaded, bands=True) == known


@pytest.mark.slow
def test_a_hindcast_in_a_bucket_has_the_scores_of_the_test(inside, capsys):
    bundle = str(Path(find_run().tags["stconv.folder"], "bundle"))
    words = ["--model", bundle, "--input", "field.nc", "--workers", "0", "--first", "2000-02-15"]
    assert main(["evaluate", "net", "--json"]) == 0
    expected = json.loads(capsys.readouterr().out)
    with serving_bucket("data"):
        assert main(["hindcast", *words, "--output", "s3://data/h.zarr"]) == 0
        capsys.readouterr()
        there = ["--hindcast", "s3://data/h.zarr", "--output", "of_bucket"]
        assert main(["evaluate", "net", *there, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n_windows"] == expected["n_windows"]
    for name, scores in _numbers(found["variables"]).items():
        assert scores == pytest.approx(_numbers(expected["variables"])[name], rel=1e-6, abs=2e-6, nan_ok=True)


def _numbers(values, at=""):
    """Every number of a tree of JSON, by its path."""
    if isinstance(values, dict | list):
        items = values.items() if isinstance(values, dict) else enumerate(values)
        return {k: v for key, value in items for k, v in _numbers(value, f"{at}/{key}").items()}
    return {at: values} if isinstance(values, int | float) else {}
