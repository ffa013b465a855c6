"""The front door in Python: the ten lines of a notebook on a small field, beside the terminal and HTTP."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import stconv
from stconv.cli.main import main
from stconv.datasets.recipes.synthetic import generate
from stconv.errors import ConfigError, ServiceError, SkillGateError, TrackingError, VariableError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder with a small field, and a tracking store of its own."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        generate("field.nc", n_steps=300, n_lat=8, n_lon=8)
        yield folder


@pytest.fixture(scope="module")
def ds(folder):
    with xr.open_dataset("field.nc") as opened:
        return opened.load()


@pytest.fixture(scope="module")
def experiment(ds):
    suggested = stconv.suggest(ds, inputs=["t2m"], t_in=3, leads=2, name="field")
    return suggested.replace(max_epochs=2, n_filters=4)


@pytest.fixture(scope="module")
def run(experiment):
    return experiment.fit()


@pytest.fixture(scope="module")
def tested(run):
    run.test()
    return run


@pytest.fixture(scope="module")
def version(tested):
    made = tested.register("field")
    made.promote()
    return made


def test_the_run_is_recorded_as_from_the_command_line(run, folder):
    assert run.status == "FINISHED"
    assert run.experiment == "field"
    assert run.folder.parent == folder / "runs" / "field"
    assert (run.folder / "bundle" / "spec.json").is_file()
    assert run.id in {found.id for found in stconv.runs("field")}


def test_fit_in_python_and_in_the_terminal_give_the_same_numbers(experiment, run, ds, folder):
    experiment.to_yaml("field.yaml", data="copy.nc")
    assert main(["fit", "--config", "field.yaml"]) == 0
    other = stconv.runs("field")[0]
    assert other.id != run.id
    ours, theirs = (
        torch.load(found.folder / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
        for found in (run, other)
    )
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) or ours[name].isnan().any() for name in ours)
    losses = [
        [
            {k: v for k, v in json.loads(line).items() if k != "time_ms"}
            for line in (found.folder / "metrics.jsonl").read_text().splitlines()
        ]
        for found in (run, other)
    ]
    assert losses[0] == losses[1], "to the last digit"
    hashes = {found.info.params["data.hash"] for found in (run, other)}
    assert len(hashes) == 1, "the Dataset in memory and its file are the same data"


def test_scores_have_the_verdict_first_and_curves(tested):
    scores = tested.scores
    words = " ".join(repr(scores).split())
    assert words.index(scores.verdict) < words.index("RMSE K")
    assert scores.report.is_file()
    html = scores._repr_html_()
    assert html.index("Beats") < html.index("<table") < html.index("<img")
    figure = scores.plot()
    assert len(figure.axes) == 2
    model = scores.verification.sums.rmse("model")[0]
    drawn = [line.get_ydata() for line in figure.axes[0].lines]
    assert any(np.allclose(line, model) for line in drawn)


def test_every_door_gives_the_same_forecast(version, tested, ds, folder):
    """Python on a Dataset, eager or dask, and on a file, and the terminal: to the last digit."""
    expected = tested.forecast(ds)
    assert set(expected.t2m.dims) == {"lead", "lat", "lon"}
    model = stconv.load("models:/field@champion")
    assert model.version == str(version.number)
    xr.testing.assert_identical(model.forecast("field.nc").drop_attrs(), expected.drop_attrs())
    lazy = xr.open_dataset("field.nc", chunks={"time": 50})
    xr.testing.assert_identical(model.forecast(lazy).drop_attrs(), expected.drop_attrs())
    words = ["--model", "models:/field@champion", "--input", "field.nc", "--output", "out.nc"]
    assert main(["forecast", *words]) == 0
    with xr.open_dataset("out.nc", decode_timedelta=False) as written:
        for name in expected.data_vars:
            assert written[name].values.tobytes() == expected[name].values.tobytes(), name


@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred")  # MLflow's own hints, on its import
def test_mlflow_loads_the_version_and_gives_the_same_forecast(version, ds, folder):
    import mlflow

    expected = stconv.load(version.reference).forecast(ds)
    loaded = mlflow.pyfunc.load_model(version.reference)
    xr.testing.assert_identical(loaded.predict(ds).drop_attrs(), expected.drop_attrs())
    names = {path.name for path in Path(stconv.load(version.reference).folder).parent.rglob("*")}
    assert "MLmodel" in names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".pt", ".pth"))]


@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred")  # MLflow's own hints, on its import
def test_mlflow_models_predict_on_files(version, ds, folder):
    """What `mlflow models predict` does, on JSON that names a NetCDF file, and on JSON that holds fields."""
    from mlflow.pyfunc.scoring_server import _predict

    expected = stconv.load(version.reference).forecast(ds)
    newest = ds.isel(time=slice(-3, None))
    fields = {
        "time": np.datetime_as_string(newest.time.values).tolist(),
        "latitude": newest.lat.values.tolist(),
        "longitude": newest.lon.values.tolist(),
        "variables": {"t2m": {"units": "K", "values": newest.t2m.values.tolist()}},
    }
    table = {"columns": ["file"], "data": [["field.nc"]]}
    for asked in ({"inputs": {"file": "field.nc"}}, {"inputs": fields}, {"dataframe_split": table}):
        Path("asked.json").write_text(json.dumps(asked))
        _predict(version.reference, "asked.json", "answer.json", "json")
        answer = json.loads(Path("answer.json").read_text())["predictions"]["variables"]
        assert set(answer) == set(expected.data_vars)
        for name, found in answer.items():
            values = np.array(found["values"], np.float32)
            assert values.tobytes() == expected[name].values.tobytes(), (name, list(asked))


@pytest.mark.slow
def test_the_command_mlflow_models_predict(version, ds, folder):
    """The real command, in a process of its own, with and without a content type."""
    expected = stconv.load(version.reference).forecast(ds)
    Path("question.json").write_text(json.dumps({"inputs": {"file": "field.nc"}}))
    command = [sys.executable, "-m", "mlflow", "models", "predict", "-m", "models:/field@champion"]
    command += ["-i", "question.json", "--env-manager", "local"]
    for n, more in enumerate(([], ["-t", "json"])):
        done = subprocess.run(
            [*command, *more, "-o", f"{n}.json"], capture_output=True, text=True, check=False, timeout=900
        )
        assert done.returncode == 0, done.stderr[-3000:]
        answer = json.loads(Path(f"{n}.json").read_text())["predictions"]["variables"]
        for name, found in answer.items():
            values = np.array(found["values"], np.float32)
            assert values.tobytes() == expected[name].values.tobytes(), name


def test_a_question_that_mlflow_passes_on_and_nobody_understands(version):
    from stconv.errors import DataError
    from stconv.front.pyfunc import fields_of

    with pytest.raises(DataError, match=r"has the keys path; expected `file`, the path of a NetCDF"):
        fields_of({"path": "field.nc"})


@pytest.mark.slow
def test_a_model_is_served_for_the_length_of_a_block(version, ds, monkeypatch):
    import httpx

    monkeypatch.setenv("STCONV_SERVE_API_KEYS", "0" * 64)  # settings of another service do not apply
    model = stconv.load(version.reference)
    expected = model.forecast(ds)
    with stconv.serve(model) as service:
        assert service.name == "field"
        assert service.url in service._repr_html_()
        answer = service.forecast(ds.isel(time=slice(-3, None)))
    for name in expected.data_vars:
        assert answer[name].values.tobytes() == expected[name].values.tobytes(), name
    with pytest.raises(httpx.TransportError):
        httpx.get(service.url, timeout=5)


def test_settings_of_another_service_do_not_reach_this_one(monkeypatch):
    """Its clients have no key: with the keys of the compose set it answered 401."""
    from stconv.front.serving import _environment

    monkeypatch.setenv("STCONV_SERVE_API_KEYS", "0" * 64)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///elsewhere.db")
    environment = _environment({"max_steps": 7})
    found = {name: value for name, value in environment.items() if name.startswith("STCONV_SERVE_")}
    assert found == {"STCONV_SERVE_MAX_STEPS": "7"}
    assert environment["MLFLOW_TRACKING_URI"] == "sqlite:///elsewhere.db"


def test_a_service_that_does_not_start_says_why(folder):
    with (
        pytest.raises(ServiceError, match=r"The service ended with status 1:\n(.|\n)*nowhere"),
        stconv.serve("nowhere"),
    ):
        pass


def test_a_model_from_its_folder_and_its_card(version, tested):
    model = stconv.load(tested.folder / "bundle")
    assert model.name == "field"
    assert "## Limits" in model.card
    html = model._repr_html_()
    assert "Model card" in html
    assert "Intended use" in html


def test_a_forecast_is_drawn(version, tested, ds):
    model = tested.model()
    forecast = model.forecast(ds)
    figure = model.plot(forecast)
    maps = [axes for axes in figure.axes if axes.images]
    np.testing.assert_allclose(maps[0].images[0].get_array(), forecast.t2m.values[0])


def test_interactive_pictures_show_the_same_numbers(tested, ds):
    pytest.importorskip("plotly")
    model, sums = tested.model(), tested.scores.verification.sums
    forecast = model.forecast(ds)
    drawn = tested.scores.plot(interactive=True)
    curves = {trace.name: trace.y for trace in drawn.data}
    for name in sums.references:
        np.testing.assert_array_equal(curves[name], sums.rmse(name)[0])
        np.testing.assert_array_equal(curves[f"against {name}"], 100 * sums.skill(sums.model, name)[0])
    maps = model.plot(forecast, interactive=True)
    assert [frame.name for frame in maps.frames] == ["6 h", "12 h"]
    for frame, field in zip(maps.frames, forecast.t2m.values, strict=True):
        np.testing.assert_array_equal(frame.data[0].z, field)
    last = stconv.inspect(ds).plot(interactive=True).data[0]
    np.testing.assert_array_equal(last.z, ds.t2m.sortby("lat").values[-1])
    rows = stconv.compare([tested]).plot(interactive=True).data
    assert np.allclose(rows[0].y, sums.rmse(sums.model)[0])


def test_interactive_pictures_without_plotly(tested, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(ConfigError, match=r"pip install 'stconv\[interactive\]', or leave `interactive` out"):
        tested.scores.plot(interactive=True)


def test_a_forecast_without_fields_is_not_drawn(tested, ds):
    model = tested.model()
    forecast = model.forecast(ds).mean(["lat", "lon"], keep_attrs=True)
    with pytest.raises(VariableError, match=r"no field to draw: t2m.* Draw it over the leads"):
        model.plot(forecast)


def test_data_are_not_drawn_as_a_forecast(tested, ds):
    with pytest.raises(
        VariableError, match="no forecast: expected the dimension 'lead', found time, lat, lon"
    ):
        tested.model().plot(ds)


@pytest.mark.parametrize("name", ["", "air/sea", "air:1", "air@champion", 3])
def test_what_is_no_name_of_a_model_is_not_registered(tested, name):
    with pytest.raises(TrackingError, match=r"The name of the registered model is .*; expected text without"):
        tested.register(name)


@pytest.mark.parametrize("number", ["99", "one"])
def test_a_version_that_does_not_exist_names_those_that_do(version, number):
    with pytest.raises(
        TrackingError, match=rf"'field' has no version '{number}'; it has: 1.*models:/field@champ"
    ):
        stconv.load(f"models:/field/{number}")
    with pytest.raises(TrackingError, match="No registered model 'fields'"):
        stconv.load("models:/fields/1")


@pytest.mark.parametrize("what", [3, None, ["runs:/1"]])
def test_what_is_no_reference_to_a_model(what):
    with pytest.raises(ConfigError, match="expected the folder of a bundle, or text such as models:/NAME"):
        stconv.load(what)


def test_a_refused_promotion_says_why(version, tested):
    again = tested.register("field")
    with pytest.raises(SkillGateError, match=r"(?s)was not promoted:.*Train a better one, or use force=True"):
        again.promote()


def test_a_version_that_is_no_longer_the_candidate(version):
    with pytest.raises(TrackingError, match="is not its candidate: version 2 was registered later"):
        version.promote()


def test_a_run_on_a_dataset_in_memory_is_evaluated_again(tested, folder):
    """`stconv evaluate` has no Dataset; Python hands that of the run over, or another that holds the same."""
    scores = stconv.evaluate(tested, thresholds=[280], output="evaluated")
    before, after = (found.verification.sums for found in (tested.scores, scores))
    np.testing.assert_array_equal(after.rmse(after.model), before.rmse(before.model))
    assert Path("evaluated", "report.html").is_file()
    assert "280" in repr(scores)
    with pytest.raises(ConfigError, match="were a Dataset in memory"):
        stconv.evaluate(tested.id)
    with pytest.raises(ConfigError, match="hindcast names forecasts that are stored already"):
        stconv.evaluate(tested, hindcast="h.zarr", forecasts="f.nc")


def test_a_network_is_explained_before_and_after_its_training(experiment, tested, folder):
    untrained, trained = experiment.explain(), tested.model().explain(plot="pictures")
    n = sum(p.numel() for p in tested.model().bundle.network.parameters())
    assert untrained.explanation.parameters == trained.explanation.parameters == n
    assert untrained.explanation.grid == (8, 8)
    assert f"{n:,} parameters" in repr(untrained)
    assert f"{n:,} parameters" in trained._repr_html_()
    assert [path.name for path in trained.pictures] == ["filters.png"]
    with pytest.raises(ConfigError, match="visualize needs plot=DIR"):
        experiment.explain(visualize=[("features.0", 0)])


@pytest.mark.slow
def test_an_exported_network_computes_the_same(tested, folder):
    model = tested.model()
    program = torch.export.load(model.export("field.pt2")).module()
    network = model.bundle.network.eval()
    x = torch.randn(2, network.c_in, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(program(x), network(x))
    with pytest.raises(ConfigError, match=r"'field.tar' ends in '.tar'; expected .onnx or .pt2"):
        model.export("field.tar")


@pytest.mark.slow
def test_a_sweep_on_a_dataset_in_memory(experiment, folder, ds):
    pytest.importorskip("optuna")
    space = {"lr": "1e-4:1e-2:log", "n_filters": [2, 4]}
    found = experiment.replace(max_epochs=1).sweep(space, trials=2, progress=False, seed=1)
    assert [trial.score for trial in found.trials] == sorted(found.table["val_rmse"])
    best = stconv.Experiment.from_yaml(found.config, data=ds)
    assert best.model.optimizer.lr == found.trials[0].values[experiment._key("lr")]
    assert "Best configuration" in repr(found)
    assert "<table" in found._repr_html_()
    with pytest.raises(ConfigError, match="metric is test_rmse; expected a validation score"):
        experiment.sweep(space, metric="test_rmse")


def test_installation_and_data_sets_in_python():
    found = stconv.diagnose()
    assert found.fit_for_work == all(finding["state"] != "fault" for finding in found.to_json())
    assert found.findings[0].check in repr(found)
    assert found.findings[0].check in found._repr_html_()
    assert "ncep_air_temperature" in stconv.recipes()


def test_runs_side_by_side(tested):
    comparison = stconv.compare("field")
    table = comparison.table
    assert list(table["rmse"]) == sorted(table["rmse"])
    model = comparison.entries[0].result.sums
    expected = float(np.sqrt(np.mean(model.pooled_rmse(model.model) ** 2)))
    assert table["rmse"].iloc[0] == expected
    assert "skill 6 h" in table.columns
    assert "<img" in comparison._repr_html_()
    assert len(stconv.compare([tested])) == 1


def test_an_experiment_without_its_dataset_says_how_to_go_on(experiment, folder):
    lonely = stconv.Experiment.from_yaml(experiment.to_yaml())
    with pytest.raises(ConfigError, match=r"were a Dataset in memory.*Experiment.from_yaml\(FILE, data=ds\)"):
        lonely.fit()


STATE = """\
import logging, os, random, signal, sys, warnings
import numpy as np, torch, xarray as xr
torch.set_num_threads(1)
random.seed(1); np.random.seed(2); torch.manual_seed(3)

def state():
    return (
        random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().numpy().tobytes(),
        torch.get_num_threads(), torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled(),
        list(warnings.filters), warnings.showwarning, warnings.formatwarning, dict(os.environ), os.getcwd(),
        signal.getsignal(signal.SIGINT), sys.excepthook, logging.root.level, list(logging.root.handlers),
        [name for name, logger in logging.root.manager.loggerDict.items()
         if isinstance(logger, logging.Logger) and (logger.handlers or logger.filters)],
    )

import stconv
ds = xr.open_dataset("field.nc")
before = state()
experiment = stconv.suggest(ds, inputs=["t2m"], t_in=3, leads=2, name="state")
experiment = experiment.replace(max_epochs=1, n_filters=4)
stconv.inspect(ds)._repr_html_()
run = experiment.fit()
run.test()._repr_html_()
run.forecast(ds)
run.register("state")
stconv.compare([run]).plot()
after = state()
for k, (a, b) in enumerate(zip(before, after)):
    assert a == b, (k, a if k not in (0, 1, 2) else "", b if k not in (0, 1, 2) else "")
"""


@pytest.mark.slow
def test_as_a_library_nothing_prints_and_no_state_changes(folder):
    done = subprocess.run([sys.executable, "-c", STATE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == ""
    assert done.stderr == ""


PLAIN = """\
import sys, torch
from stconv.nn import Convolution, DepthwiseSeparable, Factored, residual_block
from stconv.models import UNet
blocks = Convolution(1, 8, 3), residual_block(Factored, 8, 8, 3), DepthwiseSeparable(8, 8, 3)
net = torch.nn.Sequential(*blocks)
assert net(torch.randn(2, 1, 5, 8, 8)).shape == (2, 8, 5, 8, 8)
assert UNet(2, 1, 5, 3)(torch.randn(1, 2, 5, 8, 8)).shape == (1, 1, 3, 8, 8)
print(*sorted({"xarray", "pytorch_lightning", "mlflow", "pandas", "matplotlib"} & set(sys.modules)))
"""


@pytest.mark.parametrize(
    ("code", "loaded"),
    [
        (PLAIN, set()),
        ("import stconv, sys; stconv.errors; print(*{'torch', 'numpy', 'xarray'} & set(sys.modules))", set()),
        (
            "import stconv, sys, numpy as np; stconv.inspect(np.arange(36.).reshape(9, 2, 2), step='1d'); "
            "print(*{'torch', 'mlflow', 'pytorch_lightning', 'matplotlib'} & set(sys.modules))",
            set(),
        ),
    ],
)
def test_what_is_not_needed_is_not_loaded(code, loaded):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) == loaded


def test_names_of_the_front_door():
    assert {"inspect", "suggest", "Experiment", "load", "serve", "compare", "runs", "errors"} <= set(
        dir(stconv)
    )
    stub = Path(stconv.__file__).with_suffix(".pyi").read_text()
    for name in stconv.__all__:
        assert getattr(stconv, name) is not None
        assert f"as {name}\n" in stub or name == "__version__"
    with pytest.raises(AttributeError, match="no attribute 'forecaster'"):
        stconv.forecaster  # noqa: B018
