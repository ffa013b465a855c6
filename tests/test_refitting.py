"""`stconv refit` and `stconv refresh`: a verified experiment on all data, and renewed as they grow."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
import yaml

import stconv
from service_server import NETCDF, Server
from stconv.bundle import Bundle
from stconv.cli.main import main
from stconv.datasets.series.splits import SplitSpec
from stconv.errors import ConfigError, DataError, FileError, SkillGateError, SplitError, TrackingError
from stconv.experiments import refitting
from stconv.experiments.evaluating import evaluate
from stconv.experiments.refreshing import Occasion, refresh
from stconv.experiments.trained_model import find_trained_model
from stconv.front.run import Run
from stconv.tracking import promote, register
from stconv.tracking.store import connect, find_run
from waiting import until

N, GROWN = 260, 320
"""Steps of the series when it is verified, and later."""
SOURCE = "data.nc"


def write(n: int, change: float = 0.0) -> None:
    """Write the first steps of a wave that travels, with noise."""
    rng, (t, y, x) = np.random.default_rng(0), np.ogrid[:GROWN, :6, :7]
    values = 280 + 4 * np.sin(0.5 * t - 0.8 * x + 0.2 * y) + rng.normal(0, 0.5, (GROWN, 6, 7))
    values[3] += change
    times = np.datetime64("2020-01-01", "ns") + np.arange(GROWN) * np.timedelta64(6, "h")
    axes = {"time": times, "lat": 30.0 + np.arange(6), "lon": np.arange(7.0)}
    ds = xr.Dataset({"t2m": (("time", "lat", "lon"), values.astype("f4"), {"units": "K"})}, axes)
    ds.isel(time=slice(n)).to_netcdf(SOURCE)


def configuration() -> dict:
    network = {"class_path": "stconv.models.ResNet2D", "init_args": {"n_filters": 4, "dilations": [1]}}
    return {
        "seed_everything": 0,
        "data": {
            "source": {"paths": SOURCE},
            "window": {"t_in": 4, "leads": 2},
            "preparation": {"inputs": ["t2m"], "scaling": "anomaly"},
            "loading": {"batch_size": 16},
        },
        "model": {
            "network": {
                "class_path": "stconv.models.LinearResidual",
                "init_args": {"network": network, "neighbors": True},
            },
            "loss": {"class_path": "stconv.losses.MaskedMSE"},
            "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.003}},
            "lr_scheduler": {"class_path": "stconv.schedules.WarmupCosine"},
        },
        "trainer": {
            "max_epochs": 3,
            "accelerator": "cpu",
            "num_sanity_val_steps": 0,
            "enable_model_summary": False,
            "enable_progress_bar": False,
            "logger": {"class_path": "stconv.tracking.RunLogger", "init_args": {"experiment_name": "wave"}},
            "callbacks": [
                {
                    "class_path": "pytorch_lightning.callbacks.ModelCheckpoint",
                    "init_args": {"monitor": "val_loss", "filename": "best", "save_last": True},
                }
            ],
        },
    }


@dataclass
class Made:
    """A verified run and its refit, in a folder with its own store."""

    folder: Path
    verified: Run
    refit: Run
    said: list[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("refit")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        write(N)
        run = stconv.Experiment.from_yaml(yaml.safe_dump(configuration())).fit(progress=False)
        run.test()
        said: list[str] = []
        yield Made(folder, run, run.refit(say=said.append), said)
    torch.set_num_threads(threads)


def bundle_of(run: Run) -> Bundle:
    return Bundle.load(run.folder / "bundle")


def test_a_refit_has_the_steps_and_weights_of_the_verified_run_and_all_data(made: Made) -> None:
    verified, found = bundle_of(made.verified), bundle_of(made.refit)
    assert made.refit.experiment == made.verified.experiment == "wave"
    assert made.refit.info.tags["stconv.refit_of"] == made.verified.id
    assert find_run(made.verified.id).tags["stconv.refit"] == made.refit.id
    checkpoint = torch.load(made.verified.folder / "checkpoints" / "best.ckpt", weights_only=True)
    assert found.spec["refit"]["steps"] == checkpoint["global_step"] > 0
    assert made.refit.info.metrics.keys() & {"val_loss", "val_rmse"} == set()
    for name in ("start_weight", "residual_weight"):
        assert torch.equal(getattr(found.network, name), getattr(verified.network, name))
    assert not torch.equal(found.network.climatology_start.factor, verified.network.climatology_start.factor)
    periods = found.data.periods
    assert list(periods) == ["train"]
    assert (periods["train"].n_steps, periods["train"].end) == (N, verified.data.periods["test"].end)
    assert found.spec["scores"] == verified.spec["scores"]
    with xr.open_dataset(SOURCE) as ds:
        values = ds["t2m"].values
    np.testing.assert_allclose(found.spec["ranges"]["t2m"], [values.min(), values.max()], rtol=1e-6)


def test_the_bands_of_a_refit_come_from_windows_that_their_models_did_not_see(made: Made) -> None:
    verified, found = bundle_of(made.verified), bundle_of(made.refit)
    periods = SplitSpec().apply(range(N), 6)
    unseen = (len(periods.val) - 1) + (N - periods.val.stop - 1)  # windows with two leads inside each part
    assert found.bands is not None
    assert found.bands.n_windows == unseen > verified.bands.n_windows
    assert (found.bands.quantiles[:, 1] > found.bands.quantiles[:, 0]).all()


def test_the_model_card_and_the_schema_say_whose_scores_these_are(made: Made) -> None:
    card = (made.refit.folder / "bundle" / "MODEL_CARD.md").read_text()
    assert (
        f"This model is a refit and was not tested itself. It has the configuration of run {made.verified.id}"
        in card
    )
    assert "**Training period:** 2020-01-01 00:00 to 2020-03-05 18:00" in card
    assert "Validation period" not in card
    assert "of the verified model (" in card
    from stconv.forecast.schema import input_schema

    assert input_schema(bundle_of(made.refit))["refit"] in card
    assert input_schema(bundle_of(made.verified))["refit"] is None
    assert any("to compare with the verified model on later ones" in sentence for sentence in made.said)


def test_a_refit_has_no_test_period(made: Made) -> None:
    with pytest.raises(SplitError, match="There is no test period: this is a refit"):
        made.refit.test()
    with pytest.raises(SplitError, match="trained on all data of its configuration"):
        evaluate(find_trained_model(made.refit.id))


@pytest.mark.slow
def test_the_gate_asks_the_verified_run_and_a_grown_series_refreshes_the_champion(
    made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    register(made.verified.id, "wave")
    promote("wave")
    register(made.refit.id, "wave")
    promotion = promote("wave")
    assert (promotion.version, promotion.previous) == (2, 1)
    assert any("not tested itself" in sentence for sentence in promotion.evidence)
    assert any("version 1, has the same configuration and less data" in word for word in promotion.evidence)
    assert connect().get_model_version("wave", "2").tags["stconv.refit_of"] == made.verified.id

    assert main(["refresh", "wave"]) == 1
    assert "have grown from 260 to 260 steps (+0.0 %): no reason to refresh" in capsys.readouterr().err
    write(GROWN)
    with pytest.raises(DataError, match=r"from 260 to 320 steps \(\+23\.1 %\): no reason.*grown by 50 %"):
        refresh("wave", Occasion(grown=0.5))
    with followed("wave", Path(SOURCE)) as answers:
        assert main(["refresh", "wave", "--grown", "0.2"]) == 0
    assert {status for status, _ in answers} == {200}
    versions = [version for _, version in answers]
    assert versions == sorted(versions)
    assert set(versions) == {"2", "3"}
    said = capsys.readouterr().out
    assert "The data have grown from 260 to 320 steps (+23.1 %)." in said
    assert "Training on the first 290 of 320 steps, to compare with the champion, version 2" in said
    assert "models:/wave@champion is version 3 (was version 2)." in said
    renewed = Bundle.load(
        made.folder / connect().get_run(_champion("wave")).data.tags["stconv.folder"] / "bundle"
    )
    assert renewed.data.periods["train"].n_steps == GROWN
    assert renewed.spec["refit"]["sibling"] == made.verified.id
    assert "against" in renewed.spec["refit"]["evidence"][0]
    write(N)


@contextmanager
def followed(name: str, source: Path) -> Iterator[list[tuple[int, str]]]:
    """Ask a server that follows the champion all the while, and until it has changed over.

    Yields:
        Status and version of each answer so far.
    """
    server = Server("--model", f"models:/{name}@champion", "--follow-alias", follow_seconds="1")
    answers: list[tuple[int, str]] = []
    over = threading.Event()
    with xr.open_dataset(source) as ds:
        body = bytes(ds.isel(time=slice(-4, None)).load().to_netcdf(engine="h5netcdf"))

    def ask() -> None:
        with server.client(headers={"Content-Type": NETCDF}) as client:
            while not over.is_set():
                found = client.post("/v1/forecasts", content=body)
                answers.append((found.status_code, found.headers.get("Stconv-Model-Version", "")))
                over.wait(0.1)

    asker = threading.Thread(target=ask)
    try:
        asker.start()
        until(lambda: answers)
        before = answers[-1][1]
        yield answers
        until(lambda: answers[-1][1] != before, says=lambda: server.output)
    finally:
        over.set()
        asker.join()
        server.kill()


def _champion(name: str) -> str:
    client = connect()
    return str(client.get_model_version_by_alias(name, "champion").run_id)


@pytest.mark.slow
def test_a_refit_that_is_worse_is_refused_and_said(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = len(stconv.runs("wave"))
    monkeypatch.setattr(refitting, "NOT_WORSE", -0.9)  # it would have to be far better
    with pytest.raises(
        SkillGateError, match=r"(?s)is worse than the verified model and was not made:.*RMSE of t2m"
    ):
        made.verified.refit()
    assert len(stconv.runs("wave")) == runs


def test_a_source_that_has_changed_or_is_too_short_is_refused(made: Made) -> None:
    write(N, change=1.0)
    with pytest.raises(DataError, match="first 260 steps of the source are not those: values, times or grid"):
        made.verified.refit()
    write(200)
    with pytest.raises(DataError, match=r"had 260 steps, and there are 200 now\. Give all files"):
        made.verified.refit()
    write(N)


def test_a_run_that_was_not_trained_or_not_tested_is_refused(made: Made) -> None:
    client = connect()
    experiment = client.get_experiment_by_name("wave").experiment_id
    run = client.create_run(experiment, run_name="stopped").info.run_id
    client.set_terminated(run, "KILLED")
    with pytest.raises(TrackingError, match=r"has no bundle: its training did not finish \(KILLED\)"):
        refitting.refit(run)
    client.set_tag(run, "stconv.trained", "true")
    with pytest.raises(TrackingError, match="was not tested, so that nothing is known about the skill"):
        refitting.refit(run)
    client.log_metric(run, "test_rmse", 1.0)
    with pytest.raises(TrackingError, match="has no best checkpoint, which says after how many steps"):
        refitting.refit(run)
    client.delete_run(run)


@pytest.mark.slow
def test_an_interrupted_refit_registers_nothing_and_says_how_to_begin_again(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(refitting.ExportRefit, "on_train_batch_start", interrupted)
    with pytest.raises(
        KeyboardInterrupt, match=f"nothing was registered. Begin again: stconv refit {made.verified.id}"
    ):
        made.verified.refit()
    newest = stconv.runs("wave")[0]
    assert newest.status == "KILLED"
    assert newest.id != made.refit.id


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*lie outside the training range")
def test_a_refit_is_better_on_what_comes_later(made: Made) -> None:
    write(GROWN)
    with xr.open_dataset(SOURCE) as ds:
        later = ds.isel(time=slice(N - 4, None)).load()
    truth = later["t2m"]
    errors = {}
    for name, run in (("verified", made.verified), ("refit", made.refit)):
        model = run.model()
        squares = []
        for start in range(0, len(truth) - 6):
            forecast = model.forecast(later.isel(time=slice(start, start + 4)))["t2m"]
            squares.append(float(((forecast.values - truth[start + 4 : start + 6].values) ** 2).mean()))
        errors[name] = np.sqrt(np.mean(squares))
    write(N)
    assert errors["refit"] < errors["verified"]


def test_settings_of_a_refresh_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--grown is 0; expected a share above 0"):
        Occasion(grown=0)
    with pytest.raises(ConfigError, match="--scores and --least-skill belong together"):
        Occasion(least_skill=0.1)
    scores = tmp_path / "scores.nc"
    scores.write_text("nothing")
    with pytest.raises(FileError, match="holds no scores of a live verification"):
        Occasion(0.1, scores, 0.1).reason(100, 101)


def test_live_skill_below_a_level_is_a_reason(made: Made, tmp_path: Path) -> None:
    from stconv.experiments.refreshing import live_skill

    sums = made.verified.scores.verification.sums
    sums.to_dataset().to_netcdf(tmp_path / "scores.nc", engine="h5netcdf")
    skill = live_skill(tmp_path / "scores.nc")
    expected = 1 - np.sqrt(sums.mse(sums.model).mean() / sums.mse("persistence").mean())
    assert skill == pytest.approx(expected, rel=1e-6)
    above, below = (Occasion(0.5, tmp_path / "scores.nc", skill + gap) for gap in (0.01, -0.01))
    assert above.reason(100, 101) == f"The live skill over persistence is {skill:.3f}, below {skill + 0.01}."
    with pytest.raises(DataError, match=f"and the live skill over persistence is {skill:.3f}: no reason"):
        below.reason(100, 101)


def test_a_period_for_a_refit_is_checked() -> None:
    assert SplitSpec(refit_steps=7).apply(range(10), 3).items() == [("train", range(7))]
    with pytest.raises(SplitError, match="refit_steps is 11, and the series has 10 steps"):
        SplitSpec(refit_steps=11).apply(range(10), 3)
    with pytest.raises(SplitError, match="refit_steps is 0; expected 1 or more"):
        SplitSpec(refit_steps=0)
    assert json.dumps(SplitSpec(refit_steps=7).apply(range(10), 3).to_json()) == '{"train": [0, 7]}'
