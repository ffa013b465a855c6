"""The loss of a period is that of all its values, however they fall into batches; the oracle is NumPy."""

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import xarray as xr
from torch import nn

from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.series.dataset import WindowDataset
from stconv.datasets.settings import LoadingSettings, SourceSettings, WindowSettings
from stconv.losses import MaskedMAE, MaskedMSE, RootMSE
from stconv.losses.pooling import batch_weight
from stconv.models import Conv3D, Persistence
from stconv.nn.masking import Masking
from stconv.pretraining import MaskedFrames
from stconv.task import ForecastTask
from stconv.verification.scores.pooled import PooledMean

pytestmark = pytest.mark.usefixtures("one_thread")
LAT = np.array([0.0, 25.0, 50.0, 75.0])


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A series of which some frames miss most of their cells, others none."""
    draw = np.random.default_rng(0)
    values = draw.normal(0, 1, (120, 4, 5)).cumsum(0).astype("f4")
    values[draw.random(values.shape) < draw.choice([0, 0.3, 0.9], (120, 1, 1))] = np.nan
    time = np.datetime64("2001-01-01", "ns") + np.arange(120) * np.timedelta64(6, "h")
    axes = {
        "time": time,
        "lat": ("lat", LAT, {"units": "degrees_north"}),
        "lon": ("lon", np.arange(5.0), {"units": "degrees_east"}),
    }
    file = tmp_path_factory.mktemp("gappy") / "gappy.nc"
    xr.Dataset({"z": (("time", "lat", "lon"), values, {"units": "m"})}, axes).to_netcdf(file)
    return file


def module(path, batch_size=5):
    return GridDataModule(
        SourceSettings(str(path)),
        PreparationSettings(("z",), scaling="zscore"),
        WindowSettings(t_in=2, leads=2, max_missing=0.95),
        loading=LoadingSettings(batch_size),
    )


def validated(task, data, tmp_path):
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        default_root_dir=tmp_path,
    )
    trainer.validate(task, data, verbose=False)
    return trainer.callback_metrics["val_loss"].item()


EXPECTED = {
    "mean": (MaskedMSE(), lambda error, area, target: (area * error**2).sum() / area.sum()),
    "root": (RootMSE(), lambda error, area, target: np.sqrt((area * error**2).sum() / area.sum() + 1e-6)),
    "some": (
        MaskedMAE(at_least=0.5),
        lambda error, area, target: (area * abs(error))[target >= 0.5].sum() / area[target >= 0.5].sum(),
    ),
}


@pytest.mark.parametrize("kind", EXPECTED)
def test_the_loss_of_the_validation_is_that_of_all_its_values(path, tmp_path, kind):
    loss, of_all = EXPECTED[kind]
    task, data = ForecastTask(Persistence(1, 1, 2, 2), loss), module(path)
    found = validated(task, data, tmp_path)
    references = data.references["val"]
    assert len(references) % 5, "an uneven last batch"
    batch = WindowDataset(data.series, data.spec, references).batch(range(len(references)))
    prediction = task.network(task.preparation.inputs(batch)).numpy().astype(float)
    truth = np.stack([data.series.values[i + 1 : i + 3, 0] for i in references]).astype(float)[:, None]
    known = data.series.values[data.periods.train.start : data.periods.train.stop, 0].astype(float)
    target = (truth - np.nanmean(known)) / np.nanstd(known)
    area = np.isfinite(target) * np.cos(np.radians(LAT))[:, None]
    target = np.nan_to_num(target)
    assert found == pytest.approx(of_all(prediction - target, area, target), rel=1e-5)
    parts = [slice(start, start + 5) for start in range(0, len(references), 5)]
    means = [of_all((prediction - target)[part], area[part], target[part]) for part in parts]
    assert abs(np.mean(means) / found - 1) > 1e-3, "the control: the mean of the batches' means"


def test_the_loss_of_a_reconstruction_does_not_depend_on_the_batches(path, tmp_path):
    torch.manual_seed(0)
    network = Conv3D(1, 1, 2, 2, n_layers=1, n_filters=2, kernel=3)
    task = MaskedFrames(ForecastTask(network, RootMSE()), 1, Masking(share=0.5))
    found = [validated(task, module(path, size), tmp_path) for size in (5, 1000)]
    assert found[0] == pytest.approx(found[1], rel=1e-5)


class Mean(nn.Module):
    """A loss of the user, which knows nothing of pooling."""

    def forward(self, prediction, target, weight):
        return (weight * (prediction - target)).sum() / weight.sum()


def test_a_batch_weighs_the_area_of_the_values_that_count():
    area = torch.tensor([1.0, 0.5])[:, None].expand(2, 3)
    weight = torch.tensor([[2.0, 0, 2], [1, 1, 0]])  # proportional to the area, with a mean of its own
    assert batch_weight(Mean(), weight, weight, area) == 3.0
    assert batch_weight(Mean(), weight, weight, None) == 4.0
    target = torch.tensor([[1.0, 1, 0], [1, 0, 1]])
    assert batch_weight(MaskedMAE(at_least=1), target, weight, area) == 1.5


def test_a_batch_without_a_value_has_no_weight():
    found = PooledMean(exponent=2)
    found.add(3.0, 8)
    found.add(float("nan"), 0)
    found.add(4.0, 4)
    assert found.mean == pytest.approx(np.sqrt((8 * 9 + 4 * 16) / 12))
    assert PooledMean(2).merge(found).mean == found.mean
