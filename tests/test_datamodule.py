"""The data module: what it knows before and after set-up, its order, its refusals, its YAML."""

import json

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import xarray as xr
from jsonargparse import ArgumentParser

from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.splits import SplitSpec
from stconv.datasets.synthetic import generate
from stconv.errors import ConfigError, SplitError, VariableError, WindowError


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    made = generate(tmp_path_factory.mktemp("made") / "made.nc", n_steps=200, n_lat=6, n_lon=7)
    with xr.open_dataset(made) as ds:
        ds = ds.load()
    ds["q"] = ds.t2m * 1e-3
    ds.to_netcdf(made)
    return str(made)


def make(path, **options):
    return GridDataModule(**({"inputs": ["t2m"], "paths": path, "t_in": 3, "leads": 2} | options))


def order(datamodule, epoch=0):
    loader = datamodule.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return torch.cat([batch["reference_index"] for batch in loader]).tolist()


def test_sizes_are_known_before_any_file_is_opened():
    datamodule = GridDataModule(
        inputs=["a", "b"],
        targets=["b"],
        paths="absent.nc",
        input_offsets=[-8, -4, -1, 0],
        leads=7,
        mask_channel=True,
        static_fields=["position"],
        time_features=True,
    )
    assert (datamodule.c_in, datamodule.c_out) == (2 + 2 + 2 + 4, 1)
    assert (datamodule.t_in, datamodule.leads) == (4, 7)


def test_setup_keeps_its_promises(path):
    datamodule = make(path, inputs=["q", "t2m"], targets=["t2m"], mask_channel=True, time_features=True)
    datamodule.setup("fit")
    series = datamodule.series
    datamodule.setup("test")
    assert datamodule.series is series, "a second set-up reads nothing"
    batch = next(iter(datamodule.val_dataloader()))
    x = datamodule.preparation.inputs(batch)
    assert x.shape == (15, datamodule.c_in, 3, 6, 7)
    assert datamodule.preparation.c_in == datamodule.c_in
    assert datamodule.preparation.targets(batch)[0].shape == (15, datamodule.c_out, 2, 6, 7)
    assert datamodule.periods.to_json() == {"train": [0, 115], "val": [120, 155], "test": [160, 200]}
    counts = {name: len(references) for name, references in datamodule.references.items()}
    assert counts == {"train": 111, "val": 31, "test": 36}


def test_order_follows_seed_and_epoch_alone(path):
    datamodule = make(path)
    datamodule.setup()
    first = order(datamodule)
    assert sorted(first) == datamodule.references["train"]
    assert order(datamodule) == first
    assert order(datamodule, epoch=1) != first
    resumed = make(path)
    resumed.setup()
    assert order(resumed, epoch=1) == order(datamodule, epoch=1)
    other = make(path, seed=1000)
    other.setup()
    assert order(other) != first
    validation = torch.cat([batch["reference_index"] for batch in datamodule.val_dataloader()])
    assert validation.tolist() == datamodule.references["val"]


class Recorder(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.epochs = {}

    def training_step(self, batch, _):
        self.epochs.setdefault(self.current_epoch, []).extend(batch["reference_index"].tolist())
        return self.weight.sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters())


def test_lightning_tells_the_epoch(path, tmp_path):
    datamodule, recorder = make(path), Recorder()
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = pl.Trainer(max_epochs=2, accelerator="cpu", default_root_dir=tmp_path, **quiet)
    trainer.fit(recorder, datamodule=datamodule)
    assert recorder.epochs[0] == order(datamodule, epoch=0)
    assert recorder.epochs[1] == order(datamodule, epoch=1)


@pytest.mark.slow
def test_workers_give_the_same_batches(path):
    batches = []
    for num_workers in (0, 2):
        datamodule = make(path, num_workers=num_workers)
        datamodule.setup()
        batches.append(list(datamodule.train_dataloader()))
    for ours, theirs in zip(*batches, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_worker_processes_are_not_forked(path):
    datamodule = make(path, num_workers=2)
    datamodule.setup()
    assert datamodule.train_dataloader().multiprocessing_context.get_start_method() == "spawn"


def test_stride_thins_training_only(path):
    datamodule = make(path, stride=4)
    datamodule.setup()
    assert len(datamodule.references["train"]) == 28
    assert len(datamodule.references["test"]) == 36


def test_prediction_starts_at_the_newest_frame(path):
    datamodule = make(path)
    datamodule.setup()
    (batch,) = datamodule.predict_dataloader()
    assert batch["reference_index"].tolist() == [199]
    assert "targets" not in batch
    assert torch.equal(batch["inputs"][0, 0], torch.from_numpy(datamodule.series.values[197:200, 0]))
    np.testing.assert_allclose(batch["target_cycles"][0, :, 0], [0.0, 0.25])
    np.testing.assert_allclose(batch["target_cycles"][0, :, 1], [50 / 365, 50.25 / 365], rtol=1e-6)


def test_description_is_json(path):
    datamodule = make(path)
    datamodule.setup()
    description = json.loads(json.dumps(datamodule.describe(), allow_nan=False))
    assert description["hash"] == datamodule.series.content_hash
    assert description["files"] == ["made.nc"]
    assert description["units"] == {"t2m": "K"}
    assert (description["step"], description["calendar"], description["purge"]) == ("6h", "standard", 5)
    assert description["grid"]["lat"] == {"size": 6, "first": 30.0, "last": 35.0}
    assert description["periods"]["test"] == {
        "start": "2021-02-10T00:00:00",
        "end": "2021-02-19T18:00:00",
        "n_steps": 40,
        "n_windows": 36,
    }


def test_arguments_come_from_yaml(path, tmp_path):
    parser = ArgumentParser()
    parser.add_class_arguments(GridDataModule, "data")
    config = tmp_path / "config.yaml"
    config.write_text(
        f"data:\n  inputs: [t2m]\n  paths: {path}\n  t_in: 3\n  leads: 2\n  scaling: anomaly\n"
        "  static_fields: [latitude]\n  transforms: {}\n  grid: {units: {t2m: degC}}\n"
        "  split: {fractions: [0.5, 0.25, 0.25], purge: 0}\n"
    )
    parser.add_argument("--config", action="config")
    datamodule = parser.instantiate_classes(parser.parse_args(["--config", str(config)])).data
    datamodule.setup()
    assert (datamodule.c_in, datamodule.periods.train) == (2, range(0, 100))
    assert datamodule.series.units == {"t2m": "degC"}
    with pytest.raises(SystemExit):
        parser.parse_args(["--config", str(config), "--data.scaling", "robust"])


def test_refusals(path):
    with pytest.raises(ConfigError, match="either paths or recipe; found neither"):
        GridDataModule(["t2m"])
    with pytest.raises(ConfigError, match="found both"):
        GridDataModule(["t2m"], paths=path, recipe="x")
    with pytest.raises(ConfigError, match="batch_size is 0"):
        make(path, batch_size=0)
    with pytest.raises(ConfigError, match="are inputs but q are not"):
        make(path, targets=["t2m", "q"])
    with pytest.raises(WindowError, match="t_in is 0"):
        make(path, t_in=0)
    with pytest.raises(WindowError, match=r"the val period has 10 steps .* one spans 14 steps without a gap"):
        make(path, t_in=9, split=SplitSpec([0.85, 0.05, 0.1], purge=0), leads=5).setup()
    with pytest.raises(SplitError, match="the val period is empty"):
        make(path, t_in=40, leads=20).setup()


def test_absent_variable_is_refused_by_name(path):
    with pytest.raises(VariableError, match="rain"):
        make(path, targets=["rain"], inputs=["q"]).setup()
