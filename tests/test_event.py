"""Events: their definition, frequency, scores of a probability, and an event model through all commands."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
import yaml
from scipy.stats import mannwhitneyu

from service.model.loaded import LoadedModel
from service.model.settings import ModelSettings
from stconv.bundle import Bundle
from stconv.cli.main import main
from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.preparation.event import Event
from stconv.datasets.preparation.event_preparation import EventPreparation
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.preparation.spec import PreparationSpec
from stconv.datasets.settings import SourceSettings, WindowSettings
from stconv.errors import ConfigError, ShapeError
from stconv.losses import EventLoss, MaskedMSE
from stconv.models import Conv3D, Increment, LeNet5
from stconv.task import ForecastTask, check_fit
from stconv.tracking import find_run
from stconv.verification.scores.events import EventScores, area_under_roc, best_csi, event_table

LAT, LON = np.linspace(-10.0, 50.0, 16), np.linspace(-170.0, 130.0, 16)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def write(path, n_steps=120, n_lat=16, n_lon=16, missing=False):
    """Rain that comes and goes every 10 steps, with noise; the north-west corner never has a value."""
    rng = np.random.default_rng(0)
    step = np.arange(n_steps)
    rain = 2 * np.sin(2 * np.pi * step / 10)[:, None, None] + 0.3 * rng.normal(size=(n_steps, n_lat, n_lon))
    if missing:
        rain[:, -1, 0] = np.nan
        rain[5, 3, 3] = np.nan
    lat, lon = (a[0] + (a[1] - a[0]) * np.arange(n) for a, n in ((LAT, n_lat), (LON, n_lon)))
    xr.Dataset(
        {"rain": (("time", "lat", "lon"), rain.astype(np.float32), {"units": "mm"})},
        {
            "time": np.datetime64("2020-01-01", "ns") + step * np.timedelta64(1, "h"),
            "lat": ("lat", lat[:n_lat], {"units": "degrees_north"}),
            "lon": ("lon", lon[:n_lon], {"units": "degrees_east"}),
        },
    ).to_netcdf(path)
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("event") / "rain.nc", missing=True)


def data_module(path, **event):
    event = Event(**({"variable": "rain", "threshold": 0.5, "name": "wet"} | event))
    data = GridDataModule(
        SourceSettings(str(path)),
        PreparationSettings(("rain",)),
        WindowSettings(t_in=2, leads=3),
        event=event,
    )
    data.setup()
    return data


@pytest.mark.parametrize(
    ("region", "rows", "columns"),
    [
        ({}, range(16), range(16)),
        ({"lat": [0, 12]}, [3, 4, 5], range(16)),
        ({"lat": [12, 0], "lon": [-170, -130]}, [3, 4, 5], [0, 1, 2]),
        ({"lon": [100, -140]}, range(16), [0, 1, 14, 15]),  # across the date line
        ({"lon": [190, 215]}, range(16), [0, 1]),  # the same longitudes from 0 to 360
        ({"lon": [0, 360]}, range(16), range(16)),
    ],
)
def test_the_region_is_what_it_says(path, region, rows, columns):
    cells = data_module(path, region=region).preparation.event_cells
    expected = np.zeros((16, 16), dtype=bool)
    expected[np.ix_(list(rows), list(columns))] = True
    expected[-1, 0] = False  # never has a value
    np.testing.assert_array_equal(cells.numpy(), expected)


@pytest.mark.parametrize("side", ["at_least", "at_most"])
@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_what_happened_equals_cell_by_cell_counting(path, side, share):
    preparation = data_module(path, side=side, share=share, region={"lat": [0, 12]}).preparation
    fields = torch.randn(4, 1, 3, 16, 16)
    fields[1] = 1 - fields[1].abs() if side == "at_most" else 1 + fields[1].abs()
    fields[1] = 0.5 if share == 1 else fields[1]  # every known cell passes
    fields[torch.rand(fields.shape) > 0.9] = torch.nan
    fields[2, ..., :, :] = torch.nan
    happened = preparation.happened(fields)
    assert happened.shape == (4, 1, 3, 1, 1)
    unknown = 0
    for window in range(4):
        for step in range(3):
            values = fields[window, 0, step].numpy()[preparation.event_cells.numpy()]
            passing = values >= 0.5 if side == "at_least" else values <= 0.5
            wanted = max(1, int(np.ceil(share * len(values))))
            possible = passing.sum() + np.isnan(values).sum()
            found = float(happened[window, 0, step, 0, 0])
            if passing.sum() >= wanted:
                assert found == 1
            elif possible < wanted:
                assert found == 0
            else:
                assert np.isnan(found)
                unknown += 1
    assert unknown >= 3


def test_several_thresholds_make_classes_that_exclude_each_other(path):
    preparation = data_module(
        path, threshold=[0.5, 1.5], region={"lat": [1, 3], "lon": [-131, -120]}
    ).preparation
    fields = torch.zeros(5, 1, 1, 16, 16)
    for window, value in enumerate([0.0, 0.5, 1.0, 2.0, torch.nan]):
        fields[window, ..., 3, 2] = value
    assert preparation.event_cells.sum() == 1
    classes = preparation.happened(fields)[:, :, 0, 0, 0]
    assert classes[:4].argmax(dim=1).tolist() == [0, 1, 1, 2]
    assert classes[:4].sum(dim=1).tolist() == [1, 1, 1, 1]
    assert classes[4].isnan().all()
    batch = {"target_cycles": torch.rand(2, 3, 3)}
    torch.testing.assert_close(preparation.climatology(batch).sum(dim=1), torch.ones(2, 3, 1, 1))
    torch.testing.assert_close(
        preparation.physical(torch.randn(2, 3, 4, 1, 1), batch).sum(1), torch.ones(2, 4, 1, 1)
    )


def test_frequency_and_persistence_come_from_training_and_newest_frame(path):
    data = data_module(path)
    preparation = data.preparation
    with xr.open_dataset(path) as ds:
        rain = ds.rain.values
    happened = np.nanmax(rain, axis=(1, 2)) >= 0.5
    training = happened[: data.periods.train.stop]
    assert list(preparation.fitted.frequency) == pytest.approx([training.mean()], abs=1e-5)
    batch = next(iter(data.val_dataloader()))
    newest = happened[batch["reference_index"].numpy()]
    np.testing.assert_array_equal(
        preparation.persistence(batch)[:, 0, :, 0, 0].numpy(), np.repeat(newest[:, None], 3, 1)
    )
    future = happened[batch["reference_index"].numpy()[:, None] + [1, 2, 3]]
    np.testing.assert_array_equal(preparation.truth(batch)[:, 0, :, 0, 0].numpy(), future)
    assert data.describe().event.text == "rain at least 0.5 mm in some cell"


def test_persistence_of_an_event_takes_the_newest_value_known_of_each_cell(path):
    """A cell that the newest frame lacks counts as it was the frame before: as the persistence of a field."""
    preparation = data_module(path).preparation
    fields = torch.zeros(3, 1, 2, 16, 16)
    fields[1, 0, 0, 2, 3] = 9.0  # then missing
    fields[:2, 0, 1, 2, 3] = torch.nan
    fields[2, 0, :, 2, 3] = torch.nan  # never known in the window
    batch = {"inputs": fields, "target_cycles": torch.rand(3, 3, 3)}
    found = preparation.persistence(batch)[:, 0, :, 0, 0]
    expected = torch.tensor([0.0, 1.0, torch.nan])[:, None].expand(3, 3)
    torch.testing.assert_close(found, expected, equal_nan=True)


def test_a_preparation_of_an_event_survives_its_specification(path):
    preparation = data_module(path, region={"lat": [0, 12]}).preparation
    spec = PreparationSpec.from_json(json.loads(json.dumps(preparation.spec.to_json())))
    assert spec == preparation.spec
    copy = EventPreparation(spec, preparation.state_dict())
    fields = torch.randn(2, 1, 3, 16, 16)
    torch.testing.assert_close(copy.happened(fields), preparation.happened(fields))
    batch = {"target_cycles": torch.rand(2, 3, 3)}
    torch.testing.assert_close(copy.climatology(batch), preparation.climatology(batch))


def test_the_loss_is_cross_entropy_over_known_outcomes():
    logits, happened = torch.randn(6, 1, 2, 1, 1), (torch.rand(6, 1, 2, 1, 1) > 0.5).float()
    weight = torch.ones_like(happened)
    weight[2] = 0
    p, o = (x[weight > 0].double() for x in (logits.sigmoid(), happened))
    by_hand = -(3 * o * p.log() + (1 - o) * (1 - p).log()).mean()
    torch.testing.assert_close(
        EventLoss(3.0)(logits, happened, weight).double(), by_hand, rtol=1e-5, atol=1e-6
    )
    logits = torch.randn(6, 3, 2, 1, 1)
    classes = torch.randint(3, (6, 2, 1, 1))
    one_hot = torch.nn.functional.one_hot(classes, 3).movedim(-1, 1).float()
    weight = torch.ones_like(logits)
    torch.testing.assert_close(
        EventLoss()(logits, one_hot, weight), torch.nn.functional.cross_entropy(logits, classes)
    )


def test_roc_area_and_csi_against_other_implementations():
    rng = np.random.default_rng(1)
    p, o = rng.random(200).round(1), (rng.random(200) < 0.3).astype(float)
    expected = mannwhitneyu(p[o == 1], p[o == 0]).statistic / (o.sum() * (1 - o).sum())
    assert area_under_roc(p, o) == pytest.approx(expected)
    csi = {t: ((p >= t) & (o == 1)).sum() / ((p >= t) | (o == 1)).sum() for t in np.unique(p)}
    best, warning = best_csi(p, o)
    assert best == pytest.approx(max(csi.values()))
    assert csi[warning] == pytest.approx(best)
    assert np.isnan(area_under_roc(p, np.ones(200)))
    assert np.isnan(best_csi(p, np.zeros(200))[0])


def test_scores_by_hand_with_an_unknown_outcome_and_a_window_twice():
    happened = torch.tensor([1.0, 0.0, 1.0, torch.nan]).view(4, 1, 1, 1, 1)
    model = torch.tensor([0.8, 0.2, 0.4, 0.9]).view(4, 1, 1, 1, 1)
    scores = EventScores(["wet"], 1)
    scores.add(
        happened, {"model": model, "climatology": torch.full_like(model, 0.5)}, torch.tensor([3, 1, 2, 7])
    )
    twice = EventScores(["wet"], 1)
    twice.add(
        happened[:1], {"model": model[:1], "climatology": torch.full_like(model[:1], 0.5)}, torch.tensor([3])
    )
    ds = scores.merge(twice).to_dataset()
    brier = (0.04 + 0.04 + 0.36) / 3
    assert ds["count"].item() == 3
    assert ds["brier"].item() == pytest.approx(brier)
    assert ds["brier_skill_climatology"].item() == pytest.approx(1 - brier / 0.25)
    assert ds["auc"].item() == 1
    assert (ds["csi"].item(), ds["csi_probability"].item()) == (1, pytest.approx(0.4))
    assert event_table(ds, ["1 h"]).row_count == 6


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (
            {"threshold": [2.0, 1.0]},
            r"threshold of event 'wet' is \[2.0, 1.0\]; expected a number, or several",
        ),
        ({"side": "above"}, "side of event 'wet' is 'above'; expected one of: at_least, at_most"),
        ({"share": 1.5}, "share of event 'wet' is 1.5; expected a fraction .* from 0"),
        ({"region": {"lat": [1.0]}}, "region of event 'wet' has 1 numbers along lat; expected two"),
        ({"region": {"x": [1.0, 2.0]}}, "region of event 'wet' names x; the grid has lat and lon"),
        (
            {"region": {"lat": [70, 80]}},
            r"no cell lies in the region .*; the grid has lat -10 to 50, lon -170",
        ),
        (
            {"region": {"lat": [50, 50], "lon": [-170, -165]}},
            "no cell in the region .* ever has a value of rain",
        ),
        ({"variable": "snow"}, "event 'wet' is about 'snow', which is not a target; the targets are: rain"),
        ({"name": "rain"}, "event 'rain' has the name of a variable"),
    ],
)
def test_refused_events(path, event, message):
    with pytest.raises(ConfigError, match=message):
        data_module(path, **event)


def test_network_and_event_have_to_fit(path):
    data = data_module(path)
    check_fit(LeNet5(1, 1, 2, 3, grid=(16, 16)), data)
    with pytest.raises(
        ShapeError, match=r"built for a grid of 16 x 20 cells, the data have 16 x 16\. Set its `grid`"
    ):
        check_fit(LeNet5(1, 1, 2, 3, grid=(16, 20)), data)
    with pytest.raises(ConfigError, match=r"the network is Conv3D, and data.event is 'wet'"):
        check_fit(Conv3D(1, 1, 2, 3), data)
    with pytest.raises(ConfigError, match=r"the network is Increment, and data\.event is 'wet'"):
        check_fit(Increment(LeNet5(1, 1, 2, 3, grid=(16, 16))), data)
    fields = GridDataModule(
        SourceSettings(str(path)), PreparationSettings(("rain",)), WindowSettings(t_in=2, leads=3)
    )
    fields.setup()
    with pytest.raises(ConfigError, match=r"the network is LeNet5, and data.event is not set"):
        check_fit(LeNet5(1, 1, 2, 3, grid=(16, 16)), fields)
    with pytest.raises(ShapeError, match=r"EventLoss needs three tensors of one shape.* found 2\. Check"):
        EventLoss([1.0, 2.0])(*(torch.zeros(1, 1, 1, 1, 1),) * 3)
    with pytest.raises(ConfigError, match="event_weight is 0; expected positive numbers"):
        EventLoss(0)


CONFIG = """\
data:
  paths: rain.nc
  inputs: [rain]
  t_in: 3
  leads: 2
  event: {name: wet, variable: rain, threshold: 0.5, share: 0.5, region: {lat: [10, 30]}}
model:
  network: {class_path: stconv.models.LeNet5, init_args: {grid: [16, 16]}}
  loss: {class_path: stconv.losses.EventLoss, init_args: {event_weight: 1.5}}
  optimizer: {class_path: torch.optim.Adam, init_args: {lr: 0.003}}
trainer:
  accelerator: cpu
  max_epochs: 8
  num_sanity_val_steps: 0
  enable_progress_bar: false
  logger: {class_path: stconv.tracking.RunLogger, init_args: {experiment_name: rain, run_name: wet}}
  callbacks:
    - class_path: pytorch_lightning.callbacks.ModelCheckpoint
      init_args: {monitor: val_loss, filename: best}
"""


def test_an_event_goes_from_a_configuration_to_a_map_of_probabilities(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    write("rain.nc", missing=True)
    write("large.nc", n_steps=30, n_lat=24, n_lon=16)
    Path("c.yaml").write_text(CONFIG)
    assert main(["fit", "--config", "c.yaml"]) == 0
    assert main(["test", "--config", "c.yaml"]) == 0
    out = capsys.readouterr().out
    assert "Brier skill vs climatology" in out
    run = find_run("wet", "rain")
    assert run.status == "FINISHED"
    assert run.metrics["test_brier"] == pytest.approx(run.metrics["test_brier_lead_1"], abs=0.5)
    assert run.metrics["test_brier_skill_climatology"] > 0.3
    assert {"val_loss", "val_brier", "test_auc_lead_2", "test_csi", "test_loss"} <= set(run.metrics)
    folder = Path(run.tags["stconv.folder"])
    scores = json.loads((folder / "verification" / "scores.json").read_text())
    assert scores["diagnostics"]["event"]["brier"]["dims"] == ["variable", "lead"]
    assert (folder / "verification" / "event.png").stat().st_size > 10_000
    assert main(["evaluate", "wet"]) == 0

    bundle = str(folder / "bundle")
    assert main(["forecast", "--model", bundle, "--input", "rain.nc", "--output", "f.nc"]) == 0
    with xr.open_dataset("f.nc") as ds:
        assert ds.wet.dims == ("lead",)
        assert ds.wet.attrs["units"] == "1"
        assert ds.wet.attrs["long_name"].startswith(
            "probability of rain at least 0.5 mm in 50 % of the cells"
        )
        assert float(ds.wet.min()) >= 0
        assert float(ds.wet.max()) <= 1
    assert (
        main(["forecast", "--model", bundle, "--input", "rain.nc", "--output", "f.nc", "--steps", "9"]) == 1
    )
    assert "cannot be rolled out beyond its 2 leads: it forecasts the probability" in capsys.readouterr().err

    assert main(["forecast", "--model", bundle, "--input", "large.nc", "--output", "m.nc", "--slide"]) == 0
    with xr.open_dataset("m.nc") as ds, xr.open_dataset("large.nc") as large:
        assert ds.wet.dims == ("lead", "lat", "lon")
        np.testing.assert_allclose(ds.lat, [20, 36, 52])  # the middle of the region, every 4 rows
        cut = large.isel(lat=slice(4, 20)).load()
        want = ds.wet.isel(lat=1, lon=0).values
    cut = cut.assign_coords(lat=("lat", LAT, large.lat.attrs))
    cut.to_netcdf("cut.nc")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert main(["forecast", "--model", bundle, "--input", "cut.nc", "--output", "c.nc"]) == 0
    with xr.open_dataset("c.nc") as ds:
        np.testing.assert_allclose(ds.wet.values, want, atol=1e-5)

    with pytest.raises(
        ConfigError, match="'wet' forecasts the probability of an event, but the service serves fields"
    ):
        LoadedModel(ModelSettings(str(bundle)))
    assert Bundle.load(bundle).preparation.event.name == "wet"
    task = ForecastTask(LeNet5(1, 1, 3, 2, grid=(16, 16)), MaskedMSE())
    assert task.has_parameters
    assert yaml.safe_load((folder / "config.yaml").read_text())["data"]["event"]["share"] == 0.5
