"""Experiments as Python objects: YAML and back, editing, and the data that they refuse."""

import os
import re
import signal
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml

import stconv
from stconv.datasets.settings import WindowSettings
from stconv.datasets.source.grid import open_series
from stconv.errors import (
    ConfigError,
    FileError,
    GridError,
    StconvError,
    TimeAxisError,
    TrackingError,
    VariableError,
    WindowError,
)
from stconv.front.remedies import in_keywords
from stconv.resources import config_path, list_configs
from stconv.task import ForecastTask


def field(n: int = 120, **attrs: str) -> xr.Dataset:
    """A wave over 6 x 7 cells, every six hours."""
    t, y, x = np.ogrid[:n, :6, :7]
    noise = np.random.default_rng(0).normal(0, 0.3, (n, 6, 7))
    values = (280 + 5 * np.sin(0.4 * t - 0.7 * x + 0.3 * y) + noise).astype("float32")
    return xr.Dataset(
        {"t": (("time", "lat", "lon"), values, {"units": "K", **attrs})},
        {
            "time": np.datetime64("2020-01-01", "ns") + np.arange(n) * np.timedelta64(6, "h"),
            "lat": ("lat", np.arange(6.0), {"units": "degrees_north"}),
            "lon": ("lon", np.arange(7.0), {"units": "degrees_east"}),
        },
    )


@pytest.fixture(scope="module")
def suggested() -> stconv.Experiment:
    return stconv.suggest(field(), t_in=3, leads=2, name="wave")


@pytest.mark.parametrize("name", list_configs())
def test_an_experiment_goes_to_yaml_and_back_without_loss(name):
    experiment = stconv.Experiment.from_yaml(name)
    assert yaml.safe_load(experiment.to_yaml()) == yaml.safe_load(config_path(name).read_text())
    assert stconv.Experiment.from_yaml(experiment.to_yaml()) == experiment
    experiment._repr_html_()


def test_reading_a_setting_states_nothing(suggested):
    before = suggested.to_yaml()
    assert suggested.data.window.stride == 1
    assert suggested.trainer.accumulate_grad_batches == 1
    assert suggested.data.source.grid.snap_times is False
    assert suggested.to_yaml() == before


def test_settings_are_set_by_attribute(suggested):
    experiment = suggested.replace()
    experiment.data.window.leads = 4
    experiment.data.source.grid.snap_times = True
    experiment.model.network.network.n_filters = 12
    experiment.trainer.max_epochs = 7
    experiment.seed = 3
    values = yaml.safe_load(experiment.to_yaml())
    assert values["data"]["window"]["leads"] == 4
    assert values["data"]["source"]["grid"]["snap_times"] is True
    assert values["model"]["network"]["init_args"]["network"]["init_args"]["n_filters"] == 12
    assert values["trainer"]["max_epochs"] == 7
    assert values["seed_everything"] == 3
    experiment.data.window = WindowSettings(t_in=2, leads=1)
    assert experiment.data.window.t_in == 2
    assert suggested.data.window.leads == 2, "the copy alone was changed"


def test_settings_are_set_by_keyword(suggested):
    changed = suggested.replace({"model.lr_interval": "step"}, leads=3, lr=1e-4, batch_size=5, seed=9)
    assert changed.data.window.leads == 3
    assert changed.model.optimizer.lr == 1e-4
    assert changed.data.loading.batch_size == 5
    assert changed.model.lr_interval == "step"
    assert changed.seed == 9
    other = suggested.replace(name="other")
    assert other.trainer.logger.experiment_name == "other"


def test_names_are_completed(suggested):
    assert {"t_in", "leads", "input_offsets", "stride", "max_missing", "crop"} == set(
        dir(suggested.data.window)
    )
    assert {"max_epochs", "accelerator", "precision"} <= set(dir(suggested.trainer))
    assert {"n_filters", "dropout", "class_path"} <= set(dir(suggested.model.network.network))
    assert "c_in" not in dir(suggested.model.network.network), "the sizes follow from the data"


@pytest.mark.parametrize(
    ("edit", "kind", "message"),
    [
        (
            lambda e: setattr(e.data.window, "leeds", 3),
            ConfigError,
            "no setting 'leeds'. Did you mean 'leads'",
        ),
        (lambda e: setattr(e.data.window, "leads", 0), WindowError, "leads is 0; expected 1 or more"),
        (lambda e: e.replace(batchsize=3), ConfigError, "Did you mean `batch_size`"),
        (lambda e: e.replace(leads=0), WindowError, "leads is 0; expected 1 or more"),
        (lambda e: e.data.window.leeds, AttributeError, "It has: t_in, leads"),
        (lambda e: stconv.Experiment.from_yaml("trainer: {}\n"), ConfigError, "has no section `data`"),
        (lambda e: stconv.Experiment.from_yaml("missing.yaml"), FileError, "No experiment 'missing.yaml'"),
        (lambda e: stconv.Experiment.from_yaml("data: [\n"), ConfigError, "is not YAML"),
    ],
)
def test_an_edit_that_is_refused(suggested, edit, kind, message):
    before = suggested.to_yaml()
    with pytest.raises(kind, match=message):
        edit(suggested)
    assert suggested.to_yaml() == before


def test_a_dataset_is_read_like_its_file(tmp_path):
    """Eager, dask, a path, a pattern and a Zarr store: one experiment but for the source."""
    ds = field()
    ds.to_netcdf(tmp_path / "a.nc")
    ds.to_zarr(tmp_path / "a.zarr")
    lazy = ds.chunk({"time": 30})
    paths = (tmp_path / "a.nc", str(tmp_path / "*.nc"), tmp_path / "a.zarr", [tmp_path / "a.nc"])
    expected, _ = open_series(tmp_path / "a.nc")
    suggested = []
    for data in (ds, lazy, *paths):
        found = stconv.inspect(data, t_in=3, leads=2)
        xr.testing.assert_equal(found.dataset.compute(), expected)
        values = yaml.safe_load(stconv.suggest(data, t_in=3, leads=2, name="a").to_yaml())
        assert values["data"].pop("source").keys() <= {"paths", "in_memory", "name"}
        suggested.append(values)
    assert all(values == suggested[0] for values in suggested)
    assert lazy.t.chunks is not None, "the user's Dataset is left as it is"


def test_arrays_without_coordinates(tmp_path):
    ds = field()
    found = stconv.inspect(ds.t.values, step="6h", names="t")
    assert "2000-01-01T00:00" in repr(found)
    assert any("state `start`" in sentence for sentence in found.advice)
    np.testing.assert_array_equal(found.dataset.t.values, ds.t.values)
    np.save(tmp_path / "a.npy", np.stack([ds.t.values, 2 * ds.t.values], axis=1))
    both = stconv.inspect(tmp_path / "a.npy", step="6h", start="2020-01-01", names="t u")
    np.testing.assert_array_equal(both.dataset.u.values, 2 * ds.t.values)
    np.testing.assert_array_equal(both.dataset.time.values, ds.time.values)
    np.savez(tmp_path / "a.npz", t=ds.t.values, lat=ds.lat.values, lon=ds.lon.values, time=ds.time.values)
    whole = stconv.inspect(tmp_path / "a.npz")
    xr.testing.assert_equal(whole.dataset, open_series(ds)[0])
    turned = stconv.inspect(ds.t.values.transpose(1, 2, 0), step="6h", dims="lat lon time")
    np.testing.assert_array_equal(turned.dataset.field.values, ds.t.values)


def test_arrays_at_the_command_line(tmp_path, capsys, monkeypatch):
    from stconv.cli.main import main

    monkeypatch.chdir(tmp_path)
    np.save("a.npy", field().t.values)
    words = ["--step", "6h", "--start", "2020-01-01", "--names", "t", "--t-in", "3", "--leads", "2"]
    assert main(["inspect", "a.npy", *words, "--write-config", "a.yaml"]) == 0
    assert "2020-01-01T00:00 to 2020-01-30T18:00, step 6h" in capsys.readouterr().out
    grid = yaml.safe_load(Path("a.yaml").read_text())["data"]["source"]["grid"]
    assert (grid["step"], grid["names"]) == ("6h", ["t"])


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: stconv.inspect(np.zeros((9, 3, 3))), TimeAxisError, "an array has no times. State `step`"),
        (lambda: stconv.inspect(np.zeros((9, 3)), step="6h"), GridError, "'field' has 2 dimensions"),
        (lambda: stconv.inspect(np.zeros(9), step="6h"), GridError, r"expected an array \(time, y, x\)"),
        (
            lambda: stconv.inspect(np.zeros((9, 3, 3)), step="6h", dims="time y"),
            GridError,
            "`dims` names time, y. Name each dimension once",
        ),
        (
            lambda: stconv.inspect(np.zeros((9, 2, 3, 3)), step="6h", names="a b c"),
            VariableError,
            "`names` gives 3 name",
        ),
        (
            lambda: stconv.inspect(np.zeros((9, 3, 3), complex), step="6h"),
            VariableError,
            "holds complex128; expected numbers",
        ),
        (
            lambda: stconv.inspect(np.zeros((9, 3, 3)), step="6h", start="soon"),
            TimeAxisError,
            "start is 'soon'; expected a time such as",
        ),
        (lambda: stconv.inspect(3.5), ConfigError, "Data are expected as an xarray Dataset.*found float"),
        (lambda: stconv.inspect(field(), stop="6h"), ConfigError, "no keyword `stop`. Did you mean `step`"),
        (
            lambda: stconv.inspect(field(), lead=5),
            ConfigError,
            "no keyword `lead`. Did you mean `leads`\\? `inspect` has data, variables, t_in, leads; those",
        ),
        (lambda: stconv.suggest(field(), input=["t"]), ConfigError, "Did you mean `inputs`.*`suggest` has"),
        (lambda: stconv.inspect("missing.nc"), FileError, "No file 'missing.nc'"),
        (lambda: stconv.suggest(field(), inputs=["air"]), VariableError, "no variable 'air'; available: t"),
        (lambda: stconv.suggest(field(), targets=["air"], inputs=["t"]), VariableError, "no variable 'air'"),
        (
            lambda: stconv.suggest(field(12), t_in=5, leads=5),
            ConfigError,
            "leave no training window of 5 . 5 steps. Give more files, or reduce t_in= or leads=",
        ),
        (
            lambda: stconv.suggest(field(42), t_in=5, leads=5),
            ConfigError,
            "of its 42 steps the validation has 4 and the test 8, fewer than the 5 leads.*or reduce leads=",
        ),
    ],
)
def test_data_that_are_not_understood(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize(
    ("keyword", "value", "expected"),
    [
        ("time", 5, "text or None"),
        ("start", 2001, "text or None"),
        ("step", 6, "text or None"),
        ("names", 3, "a list of texts"),
        ("select", "lev=3", "a mapping from names to any values"),
        ("valid_range", (0, 300), "a mapping from names to lists of numbers or None"),
        ("valid_range", {"t": 3}, "a mapping from names to lists of numbers or None"),
        ("units", {"t": 4}, "a mapping from names to texts"),
        ("fill_gaps", "2", "a whole number"),
        ("snap_times", "yes", "True or False"),
        ("sources", {"t": "a.nc"}, "a list of settings by name"),
        ("variables", 3, "names of variables, such as"),
        ("variables", [], "names of variables, such as"),
    ],
)
def test_a_keyword_of_another_type_says_what_is_expected(keyword, value, expected):
    with pytest.raises(ConfigError, match=f"^{keyword} is .*; expected {expected}"):
        stconv.inspect(field(), **{keyword: value})


@pytest.mark.parametrize(
    ("step", "start"),
    [
        (pd.Timedelta("6h"), pd.Timestamp("2001-02-03T06:00")),
        (np.timedelta64(6, "h"), np.datetime64("2001-02-03T06:00")),
        (timedelta(hours=6), datetime(2001, 2, 3, 6)),
    ],
)
def test_times_of_an_array_may_be_objects(step, start):
    values = np.zeros((12, 3, 3))
    found = stconv.inspect(values, step=step, start=start)
    expected = stconv.inspect(values, step="6h", start="2001-02-03T06:00")
    assert found.description.first == expected.description.first == "2001-02-03T06:00"
    assert found.description.step == expected.description.step
    with pytest.raises(ConfigError, match="expected whole minutes"):
        stconv.inspect(values, step=timedelta(seconds=90))
    with pytest.raises(TimeAxisError, match=r"State `step`.*found '0h'"):
        stconv.inspect(values, step="0h")


@pytest.mark.parametrize(
    ("option", "stated"),
    [
        ("valid_range", {"air": [0, None]}),
        ("units", {"air": "K"}),
        ("accumulated", {"air": "1d"}),
    ],
)
def test_an_option_for_a_variable_that_is_not_there(option, stated):
    with pytest.raises(VariableError, match=f"`{option}` names 'air', which is no variable; available: t"):
        stconv.inspect(field(), **{option: stated})


def test_what_was_inspected_is_not_read_again_with_other_options():
    with pytest.raises(ConfigError, match="inspected already, so `units` has no effect"):
        stconv.suggest(stconv.inspect(field()), units={"t": "degC"})


def test_a_damaged_array_file(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00 not an array")
    with pytest.raises(FileError, match=r"cannot be read as arrays of numbers"):
        stconv.inspect(tmp_path / "a.npy", step="6h")
    np.save(tmp_path / "b.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(FileError, match=r"cannot be read as arrays of numbers: .*Python objects"):
        stconv.inspect(tmp_path / "b.npy", step="6h")


def test_the_remedy_of_a_dataset_is_a_keyword(tmp_path):
    """The same error as at the command line, with `valid_range=` for `--valid-range`."""
    ds = field()
    ds["t"][5, 0, 0] = -9999.0
    ds.to_netcdf(tmp_path / "a.nc")
    in_memory, on_disk = stconv.inspect(ds), stconv.inspect(tmp_path / "a.nc")
    assert in_memory.advice == on_disk.advice
    assert any('valid_range={"t": [LOW, HIGH]}' in sentence for sentence in in_memory.advice)
    assert "--" not in repr(in_memory)


def test_options_become_keywords():
    said = in_keywords
    assert said("Mark it with `--valid-range t=0,`.") == 'Mark it with `valid_range={"t": [0, None]}`.'
    assert said("Choose with `--select DIM=VALUE`.") == 'Choose with `select={"DIM": VALUE}`.'
    assert said("Reduce --t-in or --leads, or") == "Reduce t_in= or leads=, or"
    assert said("state `--time-units`") == "state `time_units=`"
    assert said("with `time` of the grid specification; a") == "with `time=`; a"
    assert said("Run `stconv register --name air` with a tested run.") == (
        'Run `run.register("air")` with a tested run.'
    )
    both = "forecast(..., convert_units=True), on the command line --convert-units."
    assert said(both) == "forecast(..., convert_units=True)."
    assert said("no option here") == "no option here"
    both = "snap them with `--snap-times`, or `snap_times: true` of the grid specification."
    assert said(both) == "snap them with `snap_times=True`."
    wanted = "with `select: {level: VALUE}` of the grid specification"
    assert said(wanted) == 'with `select={"level": VALUE}`'
    assert said("`units: {t: deg C}` of the grid specification") == '`units={"t": "deg C"}`'
    assert said("State `step` in the grid specification.") == "State `step`."
    assert said("--grown is -1; give --plot DIR") == "grown is -1; give plot=DIR"


def test_the_command_line_keeps_its_options(tmp_path, capsys, monkeypatch):
    """Its commands call the same functions, and say remedies as options."""
    from stconv.cli.main import main

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    assert main(["register", "--name", "air"]) == 1
    assert "in which you ran `stconv fit`" in capsys.readouterr().err
    with pytest.raises(TrackingError, match=r"in which you ran `experiment\.fit\(\)`"):
        stconv.runs()


def test_a_file_that_changes_under_a_lazy_dataset(tmp_path):
    path = tmp_path / "a.nc"
    field(400).to_netcdf(path, engine="h5netcdf", encoding={"t": {"chunksizes": (10, 6, 7), "zlib": True}})
    lazy = xr.open_dataset(path, engine="h5netcdf")
    content = path.read_bytes()
    half = len(content) // 2
    path.write_bytes(content[:half] + bytes(len(content) - half))
    with pytest.raises(FileError, match=r"a\.nc opens but its values cannot be read.*open the Dataset again"):
        stconv.inspect(lazy)
    lazy.close()


@pytest.mark.parametrize("form", ["NETCDF4", "NETCDF3_64BIT"])
@pytest.mark.parametrize("chunks", [None, {}])
def test_a_file_that_becomes_shorter_under_a_lazy_dataset(tmp_path, form, chunks):
    """The libraries return zeros for what is gone, without a word."""
    path = tmp_path / "a.nc"
    field(400).to_netcdf(path, format=form)
    with xr.open_dataset(path, chunks=chunks) as lazy:
        os.truncate(path, path.stat().st_size // 2)
        with pytest.raises(FileError, match=r"a\.nc' is truncated: .* Then open the Dataset again"):
            stconv.inspect(lazy)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda ds: stconv.suggest(ds, minutes="5"), "minutes is '5'; expected a number above zero"),
        (lambda ds: stconv.suggest(ds, t_in="a"), "t_in is 'a'; expected 1 or more input steps"),
        (lambda ds: stconv.inspect(ds, leads=2.5), "leads is 2.5; expected 1 or more steps to forecast"),
        (lambda ds: stconv.suggest(ds).replace(t_in="a"), "data.window.t_in is 'a'; expected a whole number"),
    ],
)
def test_what_is_no_number(wrong, message):
    with pytest.raises(StconvError, match=re.escape(message)):
        wrong(field())


def test_a_file_that_is_closed_and_gone_under_a_lazy_dataset(tmp_path):
    path = tmp_path / "a.nc"
    field().to_netcdf(path)
    lazy = xr.open_dataset(path)
    lazy.close()
    path.unlink()
    with pytest.raises(FileError, match=r"a\.nc opens but its values cannot be read.*`ds\.load\(\)`"):
        stconv.suggest(lazy, t_in=3, leads=2).fit()


def test_an_interrupted_training(tmp_path, monkeypatch, suggested):
    """As by Ctrl-C: the run is KILLED, its best checkpoint is kept, and the next training is clean."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    experiment = suggested.replace(max_epochs=3, n_filters=2)
    handler = signal.getsignal(signal.SIGINT)

    def press(task) -> None:
        if task.current_epoch == 1:
            os.kill(os.getpid(), signal.SIGINT)

    said = r"interrupted in epoch 2; run \w+ is marked KILLED. Its best checkpoint is kept: .*best\.ckpt"
    with monkeypatch.context() as patch:
        patch.setattr(ForecastTask, "on_train_epoch_start", press, raising=False)
        with pytest.raises(KeyboardInterrupt, match=said):
            experiment.fit()
    assert signal.getsignal(signal.SIGINT) is handler
    killed = stconv.runs("wave")[0]
    assert killed.status == "KILLED"
    assert (killed.folder / "checkpoints" / "best.ckpt").is_file()
    remarks: list[str] = []
    again = experiment.replace(max_epochs=1).fit(say=remarks.append)
    assert any(re.search(r"epoch.* takes? about|about .* for 1 epoch|1 epoch", text) for text in remarks), (
        remarks
    )
    assert again.status == "FINISHED"
    assert again.id != killed.id
