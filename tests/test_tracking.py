"""Runs, artifacts and registered models, against a real SQLite store."""

import json
import math
import sqlite3
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
import torch

from stconv.bundle import Bundle
from stconv.cli.main import main
from stconv.datasets.recipes.synthetic import generate
from stconv.errors import SkillGateError, TrackingError
from stconv.tracking import (
    RunLogger,
    download,
    find_run,
    list_runs,
    promote,
    register,
    resolve_bundle,
    tracking_uri,
)
from stconv.tracking.outbox import Outbox
from stconv.tracking.registry import find_version
from stconv.tracking.store import connect
from waiting import LIMIT_SECONDS, until

CONFIG = """\
seed_everything: 0
data: {paths: made.nc, inputs: [t2m], t_in: 3, leads: 2, scaling: anomaly, batch_size: 16}
model:
  network:
    class_path: Increment
    init_args:
      network: {class_path: Conv3D, init_args: {n_layers: 1, n_filters: 4, kernel: 3}}
  loss: {class_path: MaskedMSE}
  optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 1.0e-2}}
trainer:
  accelerator: cpu
  max_epochs: 2
  enable_progress_bar: false
  enable_model_summary: false
  log_every_n_steps: 2
  logger: {class_path: stconv.tracking.RunLogger, init_args: {experiment_name: made, run_name: small}}
  callbacks:
    - class_path: pytorch_lightning.callbacks.ModelCheckpoint
      init_args: {monitor: val_loss, filename: best, save_last: true}
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an empty SQLite store, which takes seconds to make."""
    folder = tmp_path_factory.mktemp("tracking")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        RunLogger("empty").start()
    return folder


@pytest.fixture(autouse=True)
def in_store(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(store)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="module")
def trained(store: Path) -> str:
    """A run, trained and tested through the command line; its id."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(store)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        generate("made.nc", n_steps=200, n_lat=6, n_lon=6)
        Path("made.yaml").write_text(CONFIG)
        assert main(["fit", "--config", "made.yaml"]) == 0
        assert main(["test", "--config", "made.yaml"]) == 0
        run = find_run("small", "made").run_id
    torch.set_num_threads(threads)
    return run


def test_address_is_read_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracking_uri() == "sqlite:///mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somewhere:5000")
    assert tracking_uri() == "http://somewhere:5000"


def test_reading_does_not_make_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TrackingError, match="No experiments are recorded here"):
        list_runs()
    assert not list(tmp_path.iterdir())


STARTS_A_RUN = """
import sys, time
from pathlib import Path
import mlflow, sqlalchemy
from stconv.tracking import RunLogger

name = sys.argv[1]
Path(name).touch()
while not Path("go").exists():
    time.sleep(0.001)
RunLogger("made", run_name=name).start()
"""


@pytest.mark.slow
def test_processes_open_a_fresh_store_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow alone makes the same tables twice, and then fails ("duplicate column", "No such constraint")."""
    monkeypatch.chdir(tmp_path)
    names = ["a", "b", "c"]
    processes = [
        subprocess.Popen([sys.executable, "-c", STARTS_A_RUN, name], stderr=subprocess.PIPE, text=True)
        for name in names
    ]
    until(lambda: all(Path(name).exists() for name in names))
    Path("go").touch()
    errors = [process.communicate(timeout=LIMIT_SECONDS)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], errors
    assert sorted(run.name for run in list_runs("made")) == names


def test_server_that_does_not_answer_at_the_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError, match=r"Could not start a run at http://127\.0\.0\.1:9"):
        RunLogger("unreachable").start()


def test_parameters_are_named_by_dots_and_long_ones_kept_whole() -> None:
    logger = RunLogger("parameters", "first")
    long = "x" * 7000
    logger.log_hyperparams({"model": {"n_filters": 8, "missing": None}, "offsets": [1, 2], "long": long})
    logger.finalize("success")
    run = find_run(logger.run_id)
    assert run.params == {"model.n_filters": "8", "offsets": "[1, 2]", "long": "see long_parameters.json"}
    assert json.loads(download(run.run_id, "long_parameters.json").read_text()) == {"long": long}
    assert run.status == "FINISHED"
    assert run.tags["stconv.version"]


def test_infinite_metrics_stay_in_the_folder() -> None:
    logger = RunLogger("metrics")
    logger.log_metrics({"a": 1.5, "b": math.inf}, step=3)
    logger.finalize("success")
    assert find_run(logger.run_id).metrics == {"a": 1.5}
    line = json.loads(Path(logger.log_dir, "metrics.jsonl").read_text())
    assert (line["step"], line["b"]) == (3, math.inf)


def test_a_variable_with_any_name_is_logged() -> None:
    logger = RunLogger("names")
    logger.log_metrics(
        {"rmse_O3 [ppb]_lead_1": 1.5, "rmse_a/../b": 2.0, "rmse_PM2.5": 3.0, "rmse_\u00fc": 4.0}
    )
    logger.log_hyperparams({"bounds": {"O3 [ppb]": [0, None]}, "t_in": 5})
    logger.finalize("success")
    run = find_run(logger.run_id)
    assert run.metrics == {
        "rmse_O3 _ppb__lead_1": 1.5, "rmse_a_.._b": 2.0, "rmse_PM2.5": 3.0, "rmse_\u00fc": 4.0
    }  # fmt: skip
    assert run.params == {"bounds.O3 _ppb_": "[0, null]", "t_in": "5"}
    assert "rmse_O3 [ppb]_lead_1" in Path(logger.log_dir, "metrics.jsonl").read_text()


@pytest.mark.parametrize(("interrupted", "status"), [(False, "FAILED"), (True, "KILLED")])
def test_failed_run_says_so(interrupted: bool, status: str) -> None:
    logger = RunLogger("failing")
    logger.start()
    logger.interrupted = interrupted
    logger.finalize("failed")
    assert find_run(logger.run_id).status == status


def lose_server() -> None:
    with sqlite3.connect("mlflow.db") as database:
        database.execute("ALTER TABLE runs RENAME TO runs_away")


def bring_server_back() -> None:
    with sqlite3.connect("mlflow.db") as database:
        database.execute("ALTER TABLE runs_away RENAME TO runs")


def test_lost_server_is_said_once_and_what_it_missed_is_sent_later(caplog: pytest.LogCaptureFixture) -> None:
    logger = RunLogger("lost")
    logger.log_metrics({"a": 1.0}, step=0)
    lose_server()
    try:
        logger.log_metrics({"a": 2.0}, step=1)
        logger.log_metrics({"a": 3.0}, step=2)
        logger.log_text("note.txt", "kept")
    finally:
        bring_server_back()
    assert caplog.text.count("does not answer") == 1
    assert len(Path(logger.log_dir, "metrics.jsonl").read_text().splitlines()) == 3
    logger.finalize("success")
    assert "answers again" in caplog.text
    assert logger.run_id is not None
    history = connect().get_metric_history(logger.run_id, "a")
    assert [metric.value for metric in history] == [1, 2, 3]
    assert download(logger.run_id, "note.txt").read_text() == "kept"


def test_server_that_stays_lost_leaves_a_complete_folder(caplog: pytest.LogCaptureFixture) -> None:
    logger = RunLogger("lost")
    logger.start()
    folder = Path(logger.log_dir)
    lose_server()
    try:
        logger.log_metrics({"a": 2.0}, step=1)
        logger.finalize("success")
    finally:
        bring_server_back()
    assert "never reached sqlite:///mlflow.db" in caplog.text
    assert json.loads((folder / "not_sent.json").read_text()) == ["metrics of step 1", "status FINISHED"]
    assert json.loads((folder / "metrics.jsonl").read_text())["a"] == 2


def test_outbox_keeps_the_order_and_waits_before_it_tries_again() -> None:
    answers = False
    sent: list[str] = []

    def send(word: str) -> None:
        if not answers:
            raise ConnectionError("gone")
        sent.append(word)

    outbox = Outbox("server", retry_seconds=1000)
    for word in ("a", "b"):
        outbox.put(word, lambda word=word: send(word))  # type: ignore[misc]
    answers = True
    outbox.put("c", lambda: send("c"))
    assert sent == []
    assert outbox.flush()
    assert sent == ["a", "b", "c"]


def test_training_survives_a_lost_server(trained: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from stconv.task import ForecastTask

    original = ForecastTask.on_validation_epoch_start

    def lose_at_the_second_epoch(task: ForecastTask) -> None:
        if task.current_epoch == 1 and not task.trainer.sanity_checking:
            lose_server()
        original(task)

    monkeypatch.setattr(ForecastTask, "on_validation_epoch_start", lose_at_the_second_epoch)
    folders = set(Path("runs/lost_training").glob("*"))
    try:
        status = main(
            ["fit", "--config", "made.yaml", "--trainer.logger.init_args.experiment_name", "lost_training"]
        )
    finally:
        bring_server_back()
    assert status == 0
    (folder,) = set(Path("runs/lost_training").glob("*")) - folders
    assert (folder / "bundle" / "manifest.json").is_file()
    assert (folder / "checkpoints" / "best.ckpt").is_file()
    assert "artifact bundle" in json.loads((folder / "not_sent.json").read_text())


def test_run_holds_everything(trained: str) -> None:
    run = find_run(trained)
    assert run.status == "FINISHED"
    assert run.params["model.network.init_args.network.init_args.n_filters"] == "4"
    assert len(run.params["data.hash"]) == 64
    assert {
        "train_loss",
        "train_loss_step",
        "val_loss",
        "val_rmse_lead_2",
        "test_rmse_lead_1",
        "test_skill_persistence",
    } <= set(run.metrics)
    client = connect()
    assert {item.path for item in client.list_artifacts(trained)} >= {
        "config.yaml",
        "data.json",
        "bundle",
        "checkpoints",
        "verification",
    }
    pictures = {Path(item.path).name for item in client.list_artifacts(trained, "verification")}
    assert {"scores.nc", "scores.json", "skill.png", "forecast_t2m.png"} <= pictures


def test_recorded_configuration_trains_again(trained: str) -> None:
    config = download(trained, "config.yaml")
    assert main(["fit", "--config", str(config), "--trainer.max_epochs", "1"]) == 0
    again = find_run(None, "made")
    assert again.run_id != trained
    first = connect().get_metric_history(trained, "val_loss")[0]
    assert again.metrics["val_loss"] == pytest.approx(first.value, rel=1e-4)


def test_resumed_training_continues_the_run(trained: str) -> None:
    before = find_run(trained)
    n_runs = len(list_runs("made"))
    last = Path(before.tags["stconv.folder"], "checkpoints", "last.ckpt")
    assert main(["fit", "--config", "made.yaml", "--ckpt_path", str(last), "--trainer.max_epochs", "3"]) == 0
    assert len(list_runs("made")) == n_runs
    after = find_run(trained)
    assert after.status == "FINISHED"
    assert after.metrics["epoch"] == before.metrics["epoch"] + 1 or after.metrics["epoch"] == 2
    assert download(trained, "config_fit_2.yaml").exists()


def test_failed_training_is_marked(trained: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from stconv.task import ForecastTask

    def fail(task: ForecastTask, batch: object, batch_idx: int) -> None:
        raise FloatingPointError("diverged")

    monkeypatch.setattr(ForecastTask, "training_step", fail)
    with pytest.raises(FloatingPointError):
        main(["fit", "--config", "made.yaml", "--trainer.logger.init_args.run_name", "diverging"])
    run = find_run("diverging")
    assert run.status == "FAILED"
    assert run.tags["stconv.error"] == "FloatingPointError: diverged"


def test_test_without_a_training_is_refused(trained: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["test", "--config", "made.yaml", "--trainer.logger.init_args.run_name", "never_trained"])
    assert status == 1
    assert "No finished training of experiment 'made', run name 'never_trained'" in capsys.readouterr().err


def test_a_training_that_was_never_validated_has_no_best_weights(
    trained: str, capsys: pytest.CaptureFixture[str]
) -> None:
    unvalidated = [
        "--trainer.logger.init_args.run_name",
        "unvalidated",
        "--trainer.check_val_every_n_epoch",
        "5",
    ]
    assert main(["fit", "--config", "made.yaml", *unvalidated]) == 0
    assert main(["test", "--config", "made.yaml", *unvalidated]) == 1
    message = capsys.readouterr().err
    assert "has no best checkpoint: a training without validation" in message
    assert "--ckpt_path last" in message


def test_baseline_is_tested_without_training(trained: str) -> None:
    text = CONFIG.replace("class_path: Increment", "class_path: Persistence").replace(
        "run_name: small", "run_name: pers"
    )
    text = text.replace("scaling: anomaly", "scaling: zscore")
    text = "\n".join(
        line for line in text.splitlines() if "Conv3D" not in line and line.strip() != "init_args:"
    )
    Path("persistence.yaml").write_text(text)
    assert main(["test", "--config", "persistence.yaml"]) == 0
    run = find_run("pers")
    assert run.tested
    assert run.tags["stconv.test_reads"] == "1"
    assert run.status == "FINISHED"
    assert run.metrics["test_skill_persistence"] == pytest.approx(0, abs=1e-4)
    assert Bundle.load(resolve_bundle("runs:/" + run.run_id)).name == "pers"


def test_a_run_without_a_name_is_named_after_network_and_time_its_model_after_the_experiment(
    trained: str,
) -> None:
    """MLflow names such a run at random, and all of them alike, because the configuration sets the seed."""
    nameless = "--trainer.logger.init_args.run_name=null"
    only = "--trainer.logger.init_args.experiment_name=nameless"
    began = datetime.now().replace(microsecond=0)
    assert main(["test", "--config", "persistence.yaml", nameless, only]) == 0
    run = find_run(None, "nameless")
    network, _, when = run.name.partition(" ")
    assert network == "Persistence"
    assert began <= datetime.fromisoformat(when) <= datetime.now()
    assert Bundle.load(resolve_bundle("runs:/" + run.run_id)).name == "nameless"


def test_registry_from_candidate_to_champion(trained: str) -> None:
    assert register(trained, "air") == 1
    assert (
        find_version("models:/air@candidate").version == 1
        or find_version("models:/air@candidate").version == "1"
    )
    promotion = promote("air", force=True)
    assert (promotion.version, promotion.previous) == (1, None)
    for reference in ("models:/air@champion", "models:/air/1", "models:/air", f"runs:/{trained}"):
        assert (resolve_bundle(reference) / "manifest.json").is_file()
    with pytest.raises(TrackingError, match="'air' has no candidate"):
        promote("air")


def test_champion_of_equal_skill_is_kept(trained: str) -> None:
    register(trained, "equal")
    promote("equal", force=True)
    register(trained, "equal")
    with pytest.raises(SkillGateError, match=r"was not promoted:(.|\n)*of the champion, version 1"):
        promote("equal")
    forced = promote("equal", force=True)
    assert (forced.version, forced.previous) == (2, 1)
    assert "the champion, version 1" in find_version("models:/equal@champion").tags["forced"]


def test_persistence_does_not_pass_the_gate(trained: str) -> None:
    register("pers", "poor")
    with pytest.raises(SkillGateError, match=r"against .* of persistence, \d+ windows"):
        promote("poor")


def test_untested_run_is_not_registered() -> None:
    logger = RunLogger("untested")
    logger.finalize("success")
    logger.start()
    assert logger.run_id is not None
    with pytest.raises(TrackingError, match="has no scores on the test period"):
        register(logger.run_id, "untested")


def test_unknown_names_are_answered_with_those_there_are(trained: str) -> None:
    with pytest.raises(TrackingError, match=r"No experiment 'nowhere'.*There are: .*made"):
        list_runs("nowhere")
    with pytest.raises(TrackingError, match=r"No run 'nobody'.*Runs there: .*small"):
        find_run("nobody")
    with pytest.raises(TrackingError, match=r"No registered model 'nothing'"):
        resolve_bundle("models:/nothing@champion")
    with pytest.raises(TrackingError, match=r"There is no 'nothing.nc' with"):
        download(trained, "nothing.nc")
