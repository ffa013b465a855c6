"""The data module: its facts before and after setup, its order of windows, its refusals, its YAML."""

import hashlib
import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import xarray as xr
from jsonargparse import ArgumentParser

from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.preparation.harmonics import check_weekly
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.recipes.synthetic import generate
from stconv.datasets.series.splits import SplitSpec
from stconv.datasets.settings import LoadingSettings, SourceSettings, WindowSettings
from stconv.datasets.source.grid_spec import GridSpec
from stconv.datasets.source.static import read_static
from stconv.datasets.source.time_axis import TimeStep
from stconv.datasets.summary import DataSummary
from stconv.errors import ConfigError, GridError, SplitError, VariableError, WindowError
from stconv.results import describe_data


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    made = generate(tmp_path_factory.mktemp("made") / "made.nc", n_steps=200, n_lat=6, n_lon=7)
    with xr.open_dataset(made) as ds:
        ds = ds.load()
    ds["q"] = ds.t2m * 1e-3
    ds.to_netcdf(made)
    return str(made)


def make(path, split=None, **options):
    """A data module of made data; each option goes to the settings that have it."""
    options = {"inputs": ("t2m",), "paths": path, "t_in": 3, "leads": 2, **options}

    def some(kind):
        return kind(**{f.name: options.pop(f.name) for f in fields(kind) if f.name in options})

    settings = [some(kind) for kind in (SourceSettings, PreparationSettings, WindowSettings)]
    module = GridDataModule(*settings, split=split or SplitSpec(), loading=some(LoadingSettings))
    assert not options, options
    return module


def order(datamodule, epoch=0):
    loader = datamodule.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return torch.cat([batch["reference_index"] for batch in loader]).tolist()


def test_sizes_are_known_before_any_file_is_opened():
    datamodule = GridDataModule(
        SourceSettings("absent.nc"),
        PreparationSettings(
            ("a", "b"), targets=("b",), mask_channel=True, static_fields=("position",), time_features=True
        ),
        WindowSettings(input_offsets=[-8, -4, -1, 0], leads=7),
    )
    assert (datamodule.c_in, datamodule.c_out) == (2 + 2 + 2 + 4, 1)
    assert (datamodule.t_in, datamodule.leads) == (4, 7)


def test_an_option_for_a_variable_that_no_file_holds_is_refused(path):
    make(path, inputs=["t2m"], grid=GridSpec(valid_range={"q": [0, None]})).setup("fit")
    with pytest.raises(
        VariableError, match=r"`valid_range` names 'qq', which is no variable; available: t2m, q"
    ):
        make(path, inputs=["t2m"], grid=GridSpec(valid_range={"qq": [0, None]})).setup("fit")


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
    assert counts == {"train": 111, "val": 34, "test": 39}


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

    def validation_step(self, batch, batch_idx):
        pass

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
    assert len(datamodule.references["test"]) == 39


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
    description = json.loads(json.dumps(datamodule.describe().to_json(), allow_nan=False))
    assert description["hash"] == datamodule.series.content_hash
    assert description["files"] == ["made.nc"]
    assert description["units"] == {"t2m": "K"}
    assert (description["step"], description["calendar"], description["purge"]) == ("6h", "standard", 5)
    assert description["grid"]["lat"] == {"size": 6, "first": 30.0, "last": 35.0}
    assert description["periods"]["test"] == {
        "start": "2021-02-10T00:00:00",
        "end": "2021-02-19T18:00:00",
        "n_steps": 40,
        "n_windows": 39,
        "n_left_out": 0,
    }
    assert DataSummary.from_json(description) == datamodule.describe()
    older = {**description, "preparation": {"scaling": "zscore", "usual": False}}
    del older["unknown_months"]
    assert DataSummary.from_json(older) == replace(datamodule.describe(), preparation=None)


def test_arguments_come_from_yaml(path, tmp_path):
    parser = ArgumentParser()
    parser.add_class_arguments(GridDataModule, "data")
    config = tmp_path / "config.yaml"
    config.write_text(
        f"data:\n  source: {{paths: {path}, grid: {{units: {{t2m: degC}}}}}}\n"
        "  window: {t_in: 3, leads: 2}\n"
        "  preparation: {inputs: [t2m], scaling: anomaly, static_fields: [latitude], transforms: {}}\n"
        "  split: {fractions: [0.5, 0.25, 0.25], purge: 0}\n"
    )
    parser.add_argument("--config", action="config")
    datamodule = parser.instantiate_classes(parser.parse_args(["--config", str(config)])).data
    datamodule.setup()
    assert (datamodule.c_in, datamodule.periods.train) == (2, range(0, 100))
    assert datamodule.series.units == {"t2m": "degC"}
    with pytest.raises(SystemExit):
        parser.parse_args(["--config", str(config), "--data.preparation.scaling", "robust"])


def test_refusals(path):
    with pytest.raises(ConfigError, match="either paths or recipe; found neither"):
        GridDataModule(SourceSettings(), PreparationSettings(("t2m",)))
    with pytest.raises(ConfigError, match="found both"):
        GridDataModule(SourceSettings(path, recipe="x"), PreparationSettings(("t2m",)))
    with pytest.raises(ConfigError, match="batch_size is 0"):
        make(path, batch_size=0)
    with pytest.raises(ConfigError, match="are inputs but q are not"):
        make(path, targets=["t2m", "q"])
    with pytest.raises(WindowError, match="t_in is 0"):
        make(path, t_in=0)
    inside = SplitSpec([0.85, 0.05, 0.1], purge=0, inputs_before=False)
    with pytest.raises(WindowError, match=r"the val period has 10 steps .* one spans 14 steps without a gap"):
        make(path, t_in=9, split=inside, leads=5).setup()
    with pytest.raises(SplitError, match="the val period is empty"):
        make(path, t_in=40, leads=20).setup()


def test_absent_variable_is_refused_by_name(path):
    with pytest.raises(VariableError, match="rain"):
        make(path, targets=["rain"], inputs=["q"]).setup()


def test_windows_with_too_little_in_them_are_left_out(path, tmp_path):
    with xr.open_dataset(path) as ds:
        ds = ds.load()
    rows = np.arange(6) < 3
    ds["t2m"][{"time": slice(20, 22)}] = np.nan
    ds["t2m"][{"time": 60, "lat": np.flatnonzero(rows)}] = np.nan
    ds["t2m"][{"time": slice(None), "lat": 5}] = np.nan  # never valid: does not count
    ds.to_netcdf(tmp_path / "holes.nc")
    whole = make(str(tmp_path / "holes.nc"), mask_channel=True)
    whole.setup()
    some = make(str(tmp_path / "holes.nc"), mask_channel=True, max_missing=0.25)
    some.setup()
    # 3 in, 2 out. Step 60 misses 3 of 5 rows: 0.2 of three inputs, 0.3 of two targets.
    inputs = {20, 21, 22, 23}
    targets = {18, 19, 20, 58, 59}
    assert set(whole.references["train"]) - set(some.references["train"]) == inputs | targets
    assert some.describe().periods["train"].n_left_out == 8
    assert whole.describe().periods["train"].n_left_out == 0
    ds["t2m"][{"lat": 1, "time": slice(0, None, 2)}] = np.nan
    ds.to_netcdf(tmp_path / "none.nc")
    with pytest.raises(WindowError, match=r"the train period .* each misses more than max_missing 0"):
        make(str(tmp_path / "none.nc"), max_missing=0.0).setup()
    with pytest.raises(ConfigError, match=r"max_missing is 1\.5; expected a fraction"):
        make(path, max_missing=1.5)


def test_land_stays_missing_from_the_file_to_the_forecast(shared_data):
    """ERSST: cells on land are imputed for the network, weigh nothing, and are missing again in the end."""
    sst = GridDataModule(
        SourceSettings(str(shared_data / "benchmark" / "ersst_v5_2010_2020.nc")),
        PreparationSettings(("sst",), impute="climatology", mask_channel=True, scaling="anomaly"),
        WindowSettings(t_in=3, leads=2, max_missing=0.0),
    )
    sst.setup()
    assert sum(sst.left_out.values()) == 0
    batch = next(iter(sst.test_dataloader()))
    land = np.isnan(sst.series.values[:, 0]).all(axis=0)
    assert 0.25 < land.mean() < 0.35
    x = sst.preparation.inputs(batch)
    assert torch.isfinite(x).all()
    np.testing.assert_array_equal(x[0, 1, 0].numpy() == 0, land)
    _, weight = sst.preparation.targets(batch)
    assert (weight[..., torch.from_numpy(land)] == 0).all()
    forecast = sst.preparation.physical(x[:, :1, :2] * 0, batch)
    np.testing.assert_array_equal(torch.isnan(forecast[0, 0, 0]).numpy(), land)
    torch.testing.assert_close(forecast, sst.preparation.climatology(batch), equal_nan=True)
    batch["inputs"][:, :, 1, 44, 90] = torch.nan  # an ocean cell
    assert not land[44, 90]
    imputed = sst.preparation.inputs(batch)
    assert imputed[:, 0, 1, 44, 90].abs().max() < 1e-6, "an anomaly of zero is the climatology"
    assert (imputed[:, 1, 1, 44, 90] == 0).all()


def test_recipe_is_fetched_and_read(path, tmp_path, monkeypatch):
    content = Path(path).read_bytes()
    recipe = tmp_path / "own.yaml"
    recipe.write_text(
        "title: A\nlicense: B\ncitation: C\ngrid: {units: {t2m: degC}}\nfiles:\n  - {url: 'http://host/a', "
        f"path: made.nc, sha256: {hashlib.sha256(content).hexdigest()}}}\n"
    )
    monkeypatch.setenv("STCONV_DATA_MIRROR", str(Path(path).parent))
    ours = make(None, recipe=str(recipe))
    ours.prepare_data()
    ours.setup()
    plain = make(path)
    plain.setup()
    np.testing.assert_allclose(ours.series.values, plain.series.values - 273.15, atol=1e-3)
    assert ours.describe().units == {"t2m": "degC"}
    assert ours.describe().recipe == str(recipe)


def test_static_fields_from_files(path, tmp_path):
    with xr.open_dataset(path) as ds:
        lat, lon = ds.lat.values, ds.lon.values
    height = np.arange(8.0 * 9).reshape(8, 9) ** 2
    south = np.concatenate([[lat.min() - 1], np.sort(lat), [lat.max() + 1]])
    east = np.concatenate([[lon.min() - 1], np.sort(lon), [lon.max() + 1]]) % 360
    field = xr.Dataset({"orog": (("lat", "lon"), height)}, {"lat": south, "lon": east})
    field.isel(lat=slice(None, None, -1)).to_netcdf(tmp_path / "orog.nc")
    ours = make(path, static_files={"orog": str(tmp_path / "orog.nc")}, solar_zenith=True)
    assert ours.c_in == 1 + 1 + 1
    ours.setup()
    inner = height[1:-1, 1:-1]
    x = ours.preparation.inputs(next(iter(ours.val_dataloader())))
    assert x.shape[1] == 3
    np.testing.assert_allclose(x[2, 1, 0].numpy(), (inner - inner.mean()) / inner.std(), atol=1e-5)
    assert ours.describe().static_files == {"orog": "orog.nc"}
    with pytest.raises(VariableError, match=r"no variable 'mask'; available: orog"):
        make(path, static_files={"mask": str(tmp_path / "orog.nc")}).setup()
    field.isel(lat=slice(3, None)).to_netcdf(tmp_path / "part.nc")
    with pytest.raises(GridError, match=r"part\.nc: no latitude .*which the series has; the nearest is"):
        make(path, static_files={"orog": str(tmp_path / "part.nc")}).setup()


def test_a_real_orography_is_put_on_the_grid(shared_data):
    file = shared_data / "formats" / "orog_mod1_rectilinear_grid_2D.nc"
    with xr.open_dataset(file) as ds:
        part = ds.orog.isel(lat=slice(40, 50), lon=slice(0, 12)).load()
        grid = xr.Dataset(coords={"lat": part.lat.values, "lon": part.lon.values})
        np.testing.assert_array_equal(read_static({"orog": file}, grid)["orog"], part.values)
        seam = xr.Dataset(coords={"lat": ds.lat.values[:2], "lon": [-1.875, 0.0]})
        expected = ds.orog.isel(lat=[0, 1], lon=[191, 0]).values
        np.testing.assert_array_equal(read_static({"orog": file}, seam)["orog"], expected)


def test_published_offsets_of_bike_nyc(shared_data):
    """Hours -73..-69, -49..-45, -25..-21, -3..0 in, one out; the last 864 h are the test, 431 before it."""
    offsets = [*range(-73, -68), *range(-49, -44), *range(-25, -20), *range(-3, 1)]
    bikes = GridDataModule(
        SourceSettings(str(shared_data / "benchmark" / "bikenyc.nc")),
        PreparationSettings(("new_flow", "end_flow"), weekly_cycle=True, time_features=True),
        WindowSettings(input_offsets=offsets, leads=1),
        split=SplitSpec(last_steps=[431, 864], purge=0),
    )
    assert (bikes.t_in, bikes.c_in, bikes.c_out, bikes.leads) == (19, 2 + 6, 2, 1)
    bikes.setup()
    assert len(bikes.periods.test) == 864
    assert {name: len(found) for name, found in bikes.references.items()} == {
        "train": 3097 - 74,
        "val": 431,
        "test": 864,
    }
    batch = next(iter(bikes.test_dataloader()))
    i = int(batch["reference_index"][0])
    assert i == 4392 - 864 - 1
    with xr.open_dataset(shared_data / "benchmark" / "bikenyc.nc") as ds:
        raw = np.stack([ds[name].values for name in ("new_flow", "end_flow")])
    np.testing.assert_array_equal(batch["inputs"][0].numpy(), raw[:, [i + k for k in offsets]])
    np.testing.assert_array_equal(batch["targets"][0].numpy(), raw[:, [i + 1]])
    seen = bikes.preparation.inputs(batch)[0, 2:, -1, 0, 0].numpy()
    hour, weekday = 23, 0  # the newest input of the first window: Monday 2014-08-25, 23 h
    week, day = (weekday + hour / 24) / 7, hour / 24
    assert str(bikes.series.times[i])[:13] == "2014-08-25T23"
    np.testing.assert_allclose(
        seen[[0, 2, 3, 5]], [f(2 * np.pi * x) for f in (np.sin, np.cos) for x in (day, week)], atol=1e-4
    )
    climatology = [bikes.preparation.climatology(b).numpy()[:, :, 0] for b in bikes.test_dataloader()]
    errors = np.concatenate(climatology) - raw[:, 4392 - 864 :].swapaxes(0, 1)
    assert float(np.sqrt((errors**2).mean())) == pytest.approx(6.82, abs=0.05)


@pytest.mark.parametrize(
    ("step", "calendar", "n_training", "message"),
    [
        (
            TimeStep("fixed", 3600),
            "360_day",
            9999,
            "calendar is 360_day, whose dates have no day of the week",
        ),
        (TimeStep("month"), "standard", 9999, "a step is 1month, more than half a week"),
        (TimeStep("fixed", 3600), "standard", 336, "training period is 2.0 weeks, expected 4 or more"),
    ],
)
def test_weekly_cycle_that_cannot_be_is_refused(step, calendar, n_training, message):
    with pytest.raises(ConfigError, match=message):
        check_weekly(step, calendar, n_training)


def test_a_season_that_only_the_test_has_is_known_and_said(tmp_path):
    def daily(n, calendar):
        times = xr.date_range("2001-01-01", periods=n, freq="D", calendar=calendar, use_cftime=True)
        values = np.random.default_rng(0).normal(size=(n, 3, 4)).astype("float32")
        axes = {"time": times, "lat": [1.0, 2.0, 3.0], "lon": [1.0, 2.0, 3.0, 4.0]}
        made = xr.Dataset({"t2m": (("time", "lat", "lon"), values, {"units": "K"})}, axes)
        made.to_netcdf(tmp_path / "a.nc")
        module = make(str(tmp_path / "a.nc"))
        module.setup()
        return module.describe()

    for calendar in ("standard", "noleap", "360_day"):
        found = daily(300, calendar)  # the test begins with September
        assert found.unknown_months == [9, 10]
        assert describe_data(found)["Season"].startswith(
            "no step of training or validation lies in September and October, unlike the test"
        )
    found = daily(800, "standard")
    assert found.unknown_months == []
    assert "Season" not in describe_data(found)
