"""Training on crops: what a crop sees is what the whole grid sees, and every cell counts by its area."""

from pathlib import Path

import numpy as np
import pytest
import torch

from small_training import trainer
from stconv.compute.tiling import halo_of
from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.recipes.synthetic import generate
from stconv.datasets.series.crops import Crops, Halo
from stconv.datasets.series.dataset import WindowDataset, _cut
from stconv.datasets.settings import LoadingSettings, SourceSettings, WindowSettings
from stconv.errors import ConfigError
from stconv.losses import MaskedMSE
from stconv.models import Conv3D, LinearResidual, ResNet2D
from stconv.task import ForecastTask

ROWS, COLUMNS = 10, 12
SIZES = (1, 1, 3, 2)


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("crops") / "field.nc"
    generate(str(path), n_steps=60, n_lat=ROWS, n_lon=COLUMNS)
    return path


def data_on(path: Path, crop=(4, 5), **settings) -> GridDataModule:
    data = GridDataModule(
        SourceSettings(str(path)),
        PreparationSettings(("t2m",), **settings),
        WindowSettings(t_in=3, leads=2, crop=list(crop)),
        loading=LoadingSettings(batch_size=4),
    )
    data.setup()
    return data


def task_on(data: GridDataModule, network) -> ForecastTask:
    task = ForecastTask(network, MaskedMSE())
    task.preparation = data.preparation
    task.network.eval()  # no dropout, fixed statistics: each loss is that of the same function
    return task


def network_of(space: str) -> Conv3D:
    torch.manual_seed(0)
    return Conv3D(*SIZES, n_layers=2, n_filters=3, kernel=3, space_padding=space).eval()


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("space", ["zero", "replicate", "periodic"])
def test_the_mean_over_all_crops_is_the_loss_of_the_whole_grid(path, space):
    data, network = data_on(path), network_of(space)
    task = task_on(data, network)
    data.crop_with(halo_of(network))
    windows, items = WindowDataset(data.series, data.spec, data.references["train"]), [0, 3]
    crops = data.crops
    closed = space == "periodic"
    columns = range(COLUMNS) if closed else range(1 - 5, COLUMNS)
    widths = [5 if closed else min(c + 5, COLUMNS) - max(c, 0) for c in columns]
    expected = 0.0
    for row, probability in zip(crops.starts, crops.probability, strict=True):
        for column, width in zip(columns, widths, strict=True):
            batch = windows.batch(items, crops.at(int(row), column))
            loss = task.loss_of(batch)
            expected += float(loss.detach()) * probability * width / sum(widths)
    z = data.preparation
    whole = windows.batch(items)
    target, weight = z.targets(whole)
    with torch.no_grad():
        error = (network(z.inputs(whole)) - target) ** 2
    cells = np.cos(np.radians(data.series.lat))[:, None] * np.ones(COLUMNS)
    by_hand = float((error.numpy() * cells).sum() / (cells.sum() * len(items) * 2))
    assert expected == pytest.approx(by_hand, rel=1e-5)
    assert float((error * weight).sum() / weight.sum()) == pytest.approx(by_hand, rel=1e-5)


@pytest.mark.usefixtures("one_thread")
def test_a_crop_is_forecast_as_the_whole_grid_also_with_starts_and_statistics_per_cell(path):
    data = data_on(path, per_cell=True, static_fields=["latitude", "climate"], solar_zenith=True)
    torch.manual_seed(0)
    inner = ResNet2D(data.c_in, *SIZES[1:], n_filters=3, norm="layer", space_padding="periodic")
    network = LinearResidual(inner, grid=[ROWS, COLUMNS]).eval()
    for parameter in network.parameters():
        parameter.data.add_(torch.rand_like(parameter) * 0.2)
    task = task_on(data, network)
    data.crop_with(halo_of(network))
    windows = WindowDataset(data.series, data.spec, data.references["train"])
    whole = windows.batch([2])
    with torch.no_grad():
        expected = data.preparation.physical(network(data.preparation.inputs(whole)), whole)
        for row, column in ((0, 0), (-2, 10), (7, 3)):
            crop = data.crops.at(row, column)
            batch = windows.batch([2], crop)
            members, preparation = task._on_crop(batch)
            found = preparation.physical(members.mean(0), batch)
            part = expected[..., crop.rows.kept, :][..., crop.columns.kept]
            torch.testing.assert_close(found, part, rtol=1e-4, atol=1e-3)
            assert torch.equal(
                batch["targets"], whole["targets"][..., crop.rows.kept, :][..., crop.columns.kept]
            )


def test_a_streamed_batch_is_cut_alike(path):
    data = data_on(path)
    data.crop_with(Halo((1, 1), (1, 1), closed=True))
    windows, crop = WindowDataset(data.series, data.spec, data.references["train"]), data.crops.at(-1, 9)
    expected, found = windows.batch([1, 4], crop), _cut(windows.batch([1, 4]), crop)
    assert set(found) == set(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_crops_are_drawn_by_area_and_close_the_longitude():
    lat = np.linspace(-85, 85, 18)
    weight = np.cos(np.radians(lat))[:, None] * np.ones(36)
    crops = Crops([6, 8], weight, Halo((2, 2), (2, 2), period=2, closed=True))
    drawn = [crops.draw([i, 7]) for i in range(4000)]
    counts = np.zeros(18)
    for crop in drawn:
        kept = crop.rows.kept
        counts[kept] += weight[kept, 0] / weight[kept, 0].sum()  # what a cell counts in the loss of its crop
        assert crop.rows.read[0] % 2 == 0
        assert len(crop.columns.kept) == 8
        assert len(crop.columns.read) in (12, 14)
    np.testing.assert_allclose(counts / counts.sum(), weight[:, 0] / weight[:, 0].sum(), atol=0.01)
    assert any(crop.columns.kept[0] > crop.columns.kept[-1] for crop in drawn)  # across the date line
    again = crops.draw([5, 7])
    assert (again.rows.read == drawn[5].rows.read).all()
    with pytest.raises(ConfigError, match=r"36 columns.*a multiple of 8"):
        Crops([6, 8], weight, Halo((2, 2), (2, 2), period=8, closed=True))


@pytest.mark.usefixtures("one_thread")
def test_a_training_sees_crops_alone_and_validates_on_the_whole_grid(path, tmp_path):
    data, network, sizes = data_on(path), network_of("zero").train(), {True: [], False: []}
    network.register_forward_pre_hook(
        lambda module, args: sizes[module.training].append(tuple(args[0].shape[-2:]))
    )
    before = next(network.parameters()).detach().clone()
    task = ForecastTask(network, MaskedMSE())
    trainer(tmp_path, 6, limit_val_batches=1, num_sanity_val_steps=0, val_check_interval=6).fit(task, data)
    assert len(sizes[True]) == 6
    assert min(rows * columns for rows, columns in sizes[True]) < ROWS * COLUMNS
    assert sizes[False][-1] == (ROWS, COLUMNS)
    assert not torch.equal(before, next(network.parameters()))


@pytest.mark.parametrize(
    ("crop", "message"), [([0, 4], r"crop is \[0, 4\]"), ([4], "expected two sizes of 1 or more")]
)
def test_a_crop_has_two_sizes(crop, message):
    with pytest.raises(ConfigError, match=message):
        WindowSettings(crop=crop)


def test_a_network_that_sees_the_whole_grid_is_not_cropped(path, tmp_path):
    network = ResNet2D(*SIZES, n_filters=4)  # a group normalization
    with pytest.raises(ConfigError, match="sees the whole grid at once"):
        trainer(tmp_path, 1).fit(ForecastTask(network, MaskedMSE()), data_on(path))
