"""The Lightning task: one step, scores against NumPy, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import xarray as xr

from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.recipes.synthetic import generate
from stconv.datasets.settings import LoadingSettings, SourceSettings, WindowSettings
from stconv.errors import ConfigError, ShapeError
from stconv.losses import MaskedMSE
from stconv.models import (
    Bounded,
    Climatology,
    Conv3D,
    DampedPersistence,
    Increment,
    LinearResidual,
    Network,
    Persistence,
)
from stconv.nn.regression import Windows
from stconv.task import ForecastTask, WeightAveraging
from stconv.verification import ScoreSums
from stconv.verification.scores.metrics import score_metrics

LEADS = 3


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("data") / "made.nc", n_steps=160, n_lat=6, n_lon=7)


def data_module(path: Path, scaling: str = "anomaly") -> GridDataModule:
    return GridDataModule(
        SourceSettings(str(path)),
        PreparationSettings(("t2m",), scaling=scaling),
        WindowSettings(t_in=4, leads=LEADS),
        loading=LoadingSettings(batch_size=8),
    )  # type: ignore[arg-type]


def trainer(tmp_path: Path, epochs: int = 1) -> pl.Trainer:
    return pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        default_root_dir=tmp_path,
    )


def small() -> Network:
    return Increment(Conv3D(1, 1, 4, LEADS, n_layers=1, n_filters=4, kernel=3))


def test_training_lowers_the_loss_and_logs_scores_per_lead(path: Path, tmp_path: Path) -> None:
    pl.seed_everything(0)
    task = ForecastTask(small(), MaskedMSE(), lambda p: torch.optim.AdamW(p, lr=1e-2))
    data = data_module(path)
    first, further = trainer(tmp_path), trainer(tmp_path, epochs=4)
    first.fit(task, data)
    further.fit(task, data)
    after = further.callback_metrics
    assert after["train_loss"] < 0.9 * first.callback_metrics["train_loss"]
    assert {"val_rmse", *(f"val_rmse_lead_{lead}" for lead in (1, 2, 3))} <= set(after)
    assert {"val_skill_persistence", "val_skill_climatology"} <= set(after)


def test_scores_of_persistence_equal_numpy(path: Path, tmp_path: Path) -> None:
    task = ForecastTask(Persistence(1, 1, 4, LEADS), MaskedMSE())
    data = data_module(path, "zscore")
    trainer(tmp_path).test(task, data, verbose=False)
    assert task.verification is not None
    sums = task.verification.sums

    values = data.series.values[:, 0].astype(np.float64)
    weight = np.cos(np.deg2rad(data.series.lat))[:, None] * np.ones(values.shape[2])
    references = np.array(data.references["test"])
    for lead in range(1, LEADS + 1):
        error = values[references + lead] - values[references]
        expected = np.sqrt((error**2 * weight).sum() / (weight.sum() * len(references)))
        assert sums.rmse("model")[0, lead - 1] == pytest.approx(expected, rel=1e-4)
    assert sums.rmse("model") == pytest.approx(sums.rmse("persistence"), rel=1e-4)
    assert task.verification.period[0] == str(data.series.times[references[0] + 1])[:10]


def test_climatology_as_a_network_equals_the_baseline(path: Path, tmp_path: Path) -> None:
    task = ForecastTask(Climatology(1, 1, 4, LEADS), MaskedMSE())
    trainer(tmp_path).test(task, data_module(path), verbose=False)
    assert task.verification is not None
    sums = task.verification.sums
    # its normalized anomaly is exactly 0, the mean anomaly of training only nearly
    assert sums.rmse("model") == pytest.approx(sums.rmse("climatology"), rel=1e-2)


def test_preparation_travels_in_the_checkpoint(path: Path, tmp_path: Path) -> None:
    task = ForecastTask(small(), MaskedMSE())
    run = trainer(tmp_path)
    run.fit(task, data_module(path))
    run.save_checkpoint(tmp_path / "a.ckpt")
    stored = torch.load(tmp_path / "a.ckpt", weights_only=True)["state_dict"]
    assert torch.equal(stored["preparation.scale"], task.preparation.scale)


def test_network_of_another_size_is_refused(path: Path, tmp_path: Path) -> None:
    task = ForecastTask(Persistence(1, 1, 4, LEADS + 2), MaskedMSE())
    with pytest.raises(ShapeError, match="The network has leads 5, the data have 3"):
        trainer(tmp_path).test(task, data_module(path), verbose=False)


def test_climatology_without_anomalies_is_refused(path: Path, tmp_path: Path) -> None:
    task = ForecastTask(Climatology(1, 1, 4, LEADS), MaskedMSE())
    with pytest.raises(ConfigError, match=r"Set `data\.preparation\.scaling` to `anomaly`"):
        trainer(tmp_path).test(task, data_module(path, "zscore"), verbose=False)


def test_fitting_a_baseline_is_refused(path: Path, tmp_path: Path) -> None:
    task = ForecastTask(Persistence(1, 1, 4, LEADS), MaskedMSE())
    with pytest.raises(ConfigError, match="no parameters, there is nothing to fit"):
        trainer(tmp_path).fit(task, data_module(path))


def test_schedule_on_plateau_watches_what_it_names(path: Path, tmp_path: Path) -> None:
    from pytorch_lightning.cli import ReduceLROnPlateau

    task = ForecastTask(
        small(),
        MaskedMSE(),
        lr_scheduler=lambda o: ReduceLROnPlateau(o, monitor="val_loss"),
        lr_interval="epoch",
    )
    made = task.configure_optimizers()
    assert made["lr_scheduler"]["monitor"] == "val_loss"


def test_names_of_metrics_carry_the_variable_only_where_there_are_several() -> None:
    truth = torch.zeros(1, 2, 1, 2, 2)
    forecasts = {"model": truth + 3, "persistence": truth + 6, "climatology": truth + 12}
    sums = ScoreSums(["a", "b"], 1)
    sums.add(truth, forecasts, None, [0])
    metrics = score_metrics(sums, "test", detailed=True)
    assert metrics["test_rmse_a_lead_1"] == pytest.approx(3)
    assert metrics["test_skill_persistence"] == pytest.approx(0.5)
    assert metrics["test_climatology_rmse_b_lead_1"] == pytest.approx(12)
    assert metrics["test_bias_a_lead_1"] == pytest.approx(3)
    one = ScoreSums(["a"], 1)
    one.add(truth[:, :1], {name: field[:, :1] for name, field in forecasts.items()}, None, [0])
    assert "test_rmse_lead_1" in score_metrics(one, "test")


def test_display_name_looks_through_a_wrapper() -> None:
    assert small().display_name == "Conv3D"


def test_averaged_weights_are_the_moving_average_of_all_steps(path: Path, tmp_path: Path) -> None:
    seen: list[torch.Tensor] = []

    class Watch(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
            seen.append(next(pl_module.network.parameters()).detach().clone())

    task = ForecastTask(small(), MaskedMSE(), lambda p: torch.optim.SGD(p, lr=1e-2))
    average = next(task.network.parameters()).detach().clone()
    run = trainer(tmp_path)
    run.callbacks += [Watch(), WeightAveraging(decay=0.5)]
    run.fit(task, data_module(path))
    for weights in seen:
        average = 0.5 * average + 0.5 * weights
    torch.testing.assert_close(next(task.network.parameters()).detach(), average, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(average, seen[-1], rtol=1e-4, atol=1e-6)
    assert "preparation.center" in task.state_dict()


def test_decay_beyond_its_range_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"decay of WeightAveraging is 1\.0; expected at least 0 and below 1"
    ):
        WeightAveraging(decay=1.0)


def test_history_of_targets_that_are_no_inputs_is_refused(tmp_path: Path) -> None:
    both = generate(tmp_path / "both.nc", n_steps=160, n_lat=6, n_lon=7)
    with xr.open_dataset(both) as ds:
        ds.assign(other=ds["t2m"] + 1).to_netcdf(tmp_path / "two.nc")
    data = GridDataModule(
        SourceSettings(str(tmp_path / "two.nc")),
        PreparationSettings(("other",), ("t2m",)),
        WindowSettings(t_in=4, leads=LEADS),
    )
    task = ForecastTask(Bounded(small(), lower=-9), MaskedMSE())
    with pytest.raises(ConfigError, match=r"Increment starts from the targets' newest frame, .* not among"):
        trainer(tmp_path).fit(task, data)


def test_checkpoint_of_another_network_is_refused(path: Path, tmp_path: Path) -> None:
    run = trainer(tmp_path)
    run.fit(ForecastTask(small(), MaskedMSE()), data_module(path))
    run.save_checkpoint(tmp_path / "a.ckpt")
    wider = Increment(Conv3D(1, 1, 4, LEADS, n_layers=1, n_filters=8, kernel=3))
    with pytest.raises(ConfigError, match=r"The checkpoint does not fit this configuration: size mismatch"):
        trainer(tmp_path).test(
            ForecastTask(wider, MaskedMSE()),
            data_module(path),
            ckpt_path=str(tmp_path / "a.ckpt"),
            verbose=False,
        )


def test_training_starts_from_the_damping_of_the_training_period(path: Path, tmp_path: Path) -> None:
    task = ForecastTask(DampedPersistence(1, 1, 4, LEADS), MaskedMSE(), lambda p: torch.optim.SGD(p, lr=0.0))
    data = data_module(path)
    trainer(tmp_path).fit(task, data)
    cycles = torch.from_numpy(data.series.cycles)[None].float()
    frames = data.series.values - data.preparation.harmonics(cycles)[0].transpose(0, 1).numpy()
    now = np.array(data.references["train"])
    weight = data.preparation.cell_weight.numpy()
    x = frames[now, 0]
    expected = [
        (weight * x * frames[now + lead, 0]).sum() / (weight * x**2).sum() for lead in range(1, LEADS + 1)
    ]
    factor = task.network.damping.factor.detach().flatten()  # type: ignore[union-attr]
    np.testing.assert_allclose(factor, expected, rtol=1e-3)


def test_loss_in_physical_units_is_that_of_the_forecast_as_it_goes_out(path: Path, tmp_path: Path) -> None:
    data = GridDataModule(
        SourceSettings(str(path)),
        PreparationSettings(
            ("t2m",), scaling="anomaly", transforms={"t2m": "sqrt"}, bounds={"t2m": [None, 285]}
        ),
        WindowSettings(t_in=4, leads=LEADS),
        loading=LoadingSettings(batch_size=8),
    )
    task = ForecastTask(small(), MaskedMSE(), loss_units="physical")
    run = trainer(tmp_path)
    run.test(task, data, verbose=False)
    batch = next(iter(data.test_dataloader()))
    batch["targets"][0, 0, 1, 2, 3] = float("nan")
    loss = task.loss_of(batch)
    forecast, truth = (x.detach().double().numpy() for x in (task.forecast(batch), batch["targets"]))
    assert forecast.max() == 285
    weight = np.isfinite(truth) * data.preparation.cell_weight.double().numpy()
    expected = (weight * np.nan_to_num(forecast - truth) ** 2).sum() / weight.sum()
    assert loss.item() == pytest.approx(expected, rel=1e-4)


class Offset(Network):
    """A network that nobody in the package knows: it adds what it measured in the training period."""

    def __init__(self, c_in: int, c_out: int, t_in: int, leads: int) -> None:
        super().__init__(c_in, c_out, t_in, leads)
        self.offset = torch.nn.Parameter(torch.zeros(()))
        self.heard: list[str] = []

    def compute(self, x: torch.Tensor) -> torch.Tensor:
        return self.offset.expand(len(x), self.c_out, self.leads, *x.shape[-2:])

    def before_training(self, training: Windows, validation: Windows) -> None:
        self.heard.append("before training")
        with torch.no_grad():
            self.offset.copy_(torch.cat([y.flatten() for _, y, _ in training()]).mean())

    def after_epoch(self, validation: Windows) -> None:
        assert not self.training
        self.heard.append(f"after epoch: {sum(len(x) for x, _, _ in validation())}")


class Around(Network):
    """A network around another one."""

    def __init__(self, network: Network) -> None:
        super().__init__(network.c_in, network.c_out, network.t_in, network.leads)
        self.network = network

    def compute(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x)


def test_a_network_fits_itself_before_the_training_and_after_an_epoch(path: Path, tmp_path: Path) -> None:
    network = Offset(1, 1, 4, LEADS)
    task = ForecastTask(Around(network), MaskedMSE(), lambda p: torch.optim.SGD(p, lr=0.0))
    data = data_module(path, scaling="none")
    run = trainer(tmp_path, epochs=2)
    run.fit(task, data)
    in_validation = len(data.references["val"])
    epochs = [word for word in network.heard if word == f"after epoch: {in_validation}"]
    assert network.heard[0] == "before training"
    assert len(epochs) == len(network.heard) - 1 >= 2
    rows = [i + lead for i in data.references["train"] for lead in range(1, LEADS + 1)]
    assert network.offset.item() == pytest.approx(data.series.values[rows, 0].mean(dtype=float), rel=1e-5)
    run.save_checkpoint(tmp_path / "offset.ckpt")
    network.heard.clear()
    trainer(tmp_path, epochs=3).fit(task, data, ckpt_path=str(tmp_path / "offset.ckpt"))
    assert "before training" not in network.heard


def test_a_network_without_a_loss_is_tested_and_not_trained(path: Path, tmp_path: Path) -> None:
    run = trainer(tmp_path)
    run.test(ForecastTask(small(), None), data_module(path), verbose=False)
    assert "test_rmse" in run.callback_metrics
    assert "test_loss" not in run.callback_metrics
    with pytest.raises(ConfigError, match=r"There is no loss to train with\. Set `model\.loss`"):
        trainer(tmp_path).fit(ForecastTask(small(), None), data_module(path))


def test_a_network_of_another_grid_is_refused(path: Path, tmp_path: Path) -> None:
    inner = Conv3D(1, 1, 4, LEADS, n_layers=1, n_filters=2, kernel=3)
    task = ForecastTask(Bounded(LinearResidual(inner, grid=(5, 5)), lower=-9), MaskedMSE())
    with pytest.raises(
        ShapeError, match=r"LinearResidual was built for a grid of 5 x 5 cells, the data have 6 x 7\."
    ):
        trainer(tmp_path).fit(task, data_module(path))
