"""Every shipped configuration runs through the real command line, on a few windows."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml

from made_data import made_recipe
from stconv import results
from stconv.cli.main import main
from stconv.datasets.recipes.synthetic import generate
from stconv.tracking import find_run
from stconv.verification import Verification

CONFIGS = sorted((Path(__file__).resolve().parents[1] / "configs").glob("*.yaml"))
QUICK = (
    *("quickstart", "chirps", "bikenyc_next_hour"),
    *(
        f"ncep_air_temperature_{name}"
        for name in ("persistence", "climatology", "stconvs2s_r", "event_lenet5")
    ),
)
"""One of each kind: a residual, a paper's files, counts, references, a network of a paper, an event."""
SHORT = [
    *("--trainer.check_val_every_n_epoch", "1"),
    *("--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2", "--trainer.limit_val_batches", "2"),
    *(
        "--trainer.limit_test_batches",
        "2",
        "--trainer.enable_progress_bar",
        "false",
        "--trainer.accelerator",
        "cpu",
    ),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("configs")
    generate(made / "quickstart.nc", n_steps=300, n_lat=8, n_lon=8)
    write_cut_windows(made / "dataset-ucar-1979-2015-seq5-ystep5.nc", 32)
    write_cut_windows(made / "dataset-chirps-1981-2019-seq5-ystep5.nc", 50)
    return made


def write_cut_windows(path: Path, n_cells: int, n_samples: int = 80) -> None:
    """A file in the form of those published with STConvS2S: windows one step apart, without times."""
    field = np.random.default_rng(0).normal(20, 5, (n_samples + 9, n_cells, n_cells)).astype("f4")
    dims = ("sample", "time", "lat", "lon", "channel")
    axes = {"lat": np.arange(n_cells) - 39.0, "lon": np.arange(n_cells) - 84.0}
    cut = np.arange(n_samples)[:, None]
    x, y = field[cut + np.arange(5)][..., None], field[cut + 5 + np.arange(5)][..., None]
    xr.Dataset({"x": (dims, x), "y": (dims, y)}, axes).to_netcdf(path)


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=() if path.stem in QUICK else pytest.mark.slow) for path in CONFIGS],
    ids=lambda path: path.stem,
)
def test_runs_through_the_command_line(
    path: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    one_thread: None,
) -> None:
    content = yaml.safe_load(path.read_text())
    if path.stem != "quickstart":  # one picture of a forecast is enough, it takes longer than the rest
        monkeypatch.setattr(results, "draw_case", lambda *_: [])
    data = []
    if recipe := content["data"]["source"].get("recipe"):
        monkeypatch.setenv("STCONV_DATA_MIRROR", str(folder))
        data = ["--data.source.recipe", str(made_recipe(recipe, folder))]
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("STCONV_CACHE", str(folder / "cache"))
    logger = content["trainer"]["logger"]["init_args"]
    learns = "init_args" in content["model"]["network"]
    if learns:
        assert main(["fit", "--config", str(path), *data, *SHORT]) == 0
    assert main(["test", "--config", str(path), *data, *SHORT]) == 0
    run = find_run(logger["run_name"], logger["experiment_name"])
    assert run.tested
    assert run.status == "FINISHED"
    assert np.isfinite([value for name, value in run.metrics.items() if name.startswith("test_")]).all()
    assert ("train_loss" in run.metrics) == learns
    scores = Verification.from_netcdf(Path(run.tags["stconv.folder"], "verification", "scores.nc"))
    event = content["data"].get("event")
    assert list(scores.sums.variables) == (
        [event["name"]] if event else content["data"]["preparation"]["inputs"]
    )
    assert scores.sums.n_leads == content["data"]["window"]["leads"]
    model, persistence = (scores.sums.pooled_rmse(who) for who in ("model", "persistence"))
    assert np.isfinite(model).all()
    assert ("persistence" in path.stem) == np.allclose(model, persistence, rtol=1e-5), (
        "what is scored is the network"
    )


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_says_what_an_experiment_needs(path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    assert path.read_text().startswith("# "), "a configuration begins with what it is"
    assert content["seed_everything"] is not None
    assert content["trainer"]["accelerator"] == "auto"
    name = content["trainer"]["logger"]["init_args"]
    assert (
        path.stem == name["experiment_name"] or path.stem == f"{name['experiment_name']}_{name['run_name']}"
    )
    if "init_args" in content["model"]["network"]:
        assert content["trainer"]["gradient_clip_val"] > 0
        callbacks = {entry["class_path"].rpartition(".")[2] for entry in content["trainer"]["callbacks"]}
        assert "ModelCheckpoint" in callbacks
        schedule = str(content["model"].get("lr_scheduler"))
        planned = "WarmupCosine" in schedule or "OneCycleLR" in schedule
        assert planned or "EarlyStopping" in callbacks, "an end that is planned, or found"


def test_experiments_that_are_compared_are_tested_on_the_same_windows() -> None:
    groups: dict[str, set[str]] = {}
    for path in CONFIGS:
        content = yaml.safe_load(path.read_text())
        data = content["data"]
        windows = {key: data[key] for key in ("window", "split")} | {"inputs": data["preparation"]["inputs"]}
        experiment = content["trainer"]["logger"]["init_args"]["experiment_name"]
        groups.setdefault(experiment, set()).add(str(windows))
    assert all(len(windows) == 1 for windows in groups.values()), groups
