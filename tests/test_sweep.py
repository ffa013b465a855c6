"""A sweep through the real command line, MLflow on SQLite, two processes on one journal."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

from stconv.cli.main import main
from stconv.datasets.recipes.synthetic import generate
from stconv.errors import ConfigError, TrackingError
from stconv.experiments.search_space import Dimension, read_space, with_values
from stconv.experiments.study import open_study
from stconv.tracking import list_runs

CONFIG = {
    "seed_everything": 0,
    "data": {"paths": "made.nc", "inputs": ["t2m"], "t_in": 3, "leads": 2, "scaling": "anomaly"},
    "model": {
        "network": {"class_path": "stconv.models.Linear3x3"},
        "loss": {"class_path": "stconv.losses.MaskedMSE"},
        "optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1}},
    },
    "trainer": {
        "max_epochs": 2,
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "logger": {
            "class_path": "stconv.tracking.RunLogger",
            "init_args": {"experiment_name": "made", "run_name": "linear"},
        },
    },
}
LR = "model.optimizer.init_args.lr"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    generate(tmp_path / "made.nc", n_steps=120, n_lat=4, n_lon=5)
    (tmp_path / "made.yaml").write_text(yaml.safe_dump(CONFIG))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.mark.slow
def test_two_processes_share_a_study_that_can_be_gone_on_with(folder: Path, capsys) -> None:
    words = ["sweep", "--config", "made.yaml", "--space", f"{LR}=1e-4:0.3:log", "data.batch_size=8,16"]
    other = subprocess.Popen(
        [sys.executable, "-m", "stconv.cli.main", *words, "--trials", "3"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
    )
    assert main([*words, "--trials", "3"]) == 0
    assert other.wait(timeout=1800) == 0
    runs = list_runs("made")
    parents = [run for run in runs if "stconv.sweep" in run.tags]
    trials = [run for run in runs if "stconv.trial" in run.tags]
    assert len(parents) == 1
    assert parents[0].name == "made"
    assert 3 <= len(trials) <= 4  # the other process may have begun one already
    assert {run.tags["mlflow.parentRunId"] for run in trials} == {parents[0].run_id}
    assert {run.name for run in trials} == {f"made-{i}" for i in range(len(trials))}
    assert not any(name.startswith("test_") for run in trials for name in run.metrics)

    capsys.readouterr()
    assert main([*words, "--trials", str(len(trials) + 1), "--output", "best.yaml"]) == 0
    out = capsys.readouterr().out
    assert f"Trial {len(trials)}:" in out
    again = [run for run in list_runs("made") if "stconv.trial" in run.tags]
    assert len(again) == len(trials) + 1
    client = MlflowClient("sqlite:///mlflow.db")
    errors = {  # of the best epoch of each trial, which need not be its last
        run.run_id: min(value.value for value in client.get_metric_history(run.run_id, "val_rmse"))
        for run in again
    }
    best = min(again, key=lambda run: errors[run.run_id])
    config = yaml.safe_load(Path("best.yaml").read_text())
    assert str(config["model"]["optimizer"]["init_args"]["lr"]) == best.params["model.optimizer.init_args.lr"]
    assert config["data"]["loading"]["batch_size"] in (8, 16)
    assert f"val_rmse {errors[best.run_id]:.6g}" in Path("best.yaml").read_text()


@pytest.mark.slow
def test_a_trial_that_falls_behind_is_ended(folder: Path) -> None:
    study = open_study("made", None, seed=0)
    import optuna

    for _ in range(5):  # what others had reached after the first epoch
        trial = optuna.trial.create_trial(
            params={LR: 0.1},
            distributions={LR: optuna.distributions.FloatDistribution(1e-4, 0.3, log=True)},
            intermediate_values={0: 1e-6},
            value=1e-6,
            user_attrs={"values": {LR: 0.1}},
        )
        study.add_trial(trial)
    assert main(["sweep", "--config", "made.yaml", "--space", f"{LR}=1e-4:0.3:log", "--trials", "6"]) == 0
    last = open_study("made", None).trials[-1]
    assert last.state == optuna.trial.TrialState.PRUNED
    assert list(last.intermediate_values) == [0]


def test_space_is_read_from_words_and_files(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text("a.b: [[1, 2], [1]]\nc: 2:8\nd: '0.1:0.2'\n")
    found = read_space([str(file), "e=1e-4:1e-2:log", "f=zero,1,true"])
    assert found == [
        Dimension("a.b", choices=([1, 2], [1])),
        Dimension("c", 2, 8),
        Dimension("d", 0.1, 0.2),
        Dimension("e", 1e-4, 1e-2, log=True),
        Dimension("f", choices=("zero", 1, True)),
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lr"], "'lr' is neither a file nor one of KEY=LOW:HIGH"),
        (["lr=1:0"], "range of lr is 1:0; expected the lower end first"),
        (["lr=0:1:log"], "expected the lower end first, and above 0"),
        (["lr=1:2:cube"], "'1:2:cube' is not a range or a list of values for lr"),
        (["lr=1:2", "lr=1:3"], "lr appears twice in the search space"),
    ],
)
def test_what_is_no_space_is_refused(words, message) -> None:
    with pytest.raises(ConfigError, match=message):
        read_space(words)


def test_values_are_put_where_their_keys_say() -> None:
    config = {"model": {"loss": {"class_path": "A"}}, "seed_everything": 1}
    assert with_values(config, {"model.loss.init_args.delta": 2}) == {
        "model": {"loss": {"class_path": "A", "init_args": {"delta": 2}}},
        "seed_everything": 1,
    }
    assert "init_args" not in config["model"]["loss"]
    with pytest.raises(ConfigError, match="'seed_everything' in the configuration is 1"):
        with_values(config, {"seed_everything.x": 2})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--space", "data.batchsize=1,2"], "Unknown key 'data.batchsize'"),
        (["--space", f"{LR}=1:2", "--metric", "test_rmse"], "expected a validation score"),
        (["--space", f"{LR}=1:2", "--metric", "val_rmsee"], "There is no metric 'val_rmsee'"),
    ],
)
def test_a_sweep_that_cannot_run_says_why(folder: Path, capsys, words, message) -> None:
    assert main(["sweep", "--config", "made.yaml", "--trials", "2", *words]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (
            "postgresql+psycopg2://optuna:secret@127.0.0.1:1/optuna",
            r"optuna:\*\*\*@127.0.0.1:1/optuna, cannot be",
        ),
        ("nosuch://optuna", "nosuch://optuna, cannot be used"),
    ],
)
def test_a_database_that_cannot_be_used_is_named_without_its_password(address, shown) -> None:
    with pytest.raises(TrackingError, match=shown) as told:
        open_study("made", address)
    assert "secret" not in str(told.value)
    assert "Check --storage" in str(told.value)


def test_without_optuna_the_remedy_is_said(folder: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert main(["sweep", "--config", "made.yaml", "--space", f"{LR}=1:2"]) == 1
    assert "pip install 'stconv[sweep]'" in capsys.readouterr().err
