"""Bands hold the share of values that they state, on a period that nothing was fitted on."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import xarray as xr

from stconv.bundle import Bundle, make_bundle
from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.series.dataset import WindowDataset
from stconv.datasets.settings import LoadingSettings, SourceSettings, WindowSettings
from stconv.errors import BundleError, ConfigError
from stconv.evaluation.assessment import Assessment
from stconv.forecast import Forecaster
from stconv.forecast.bounds import without_bands
from stconv.losses import MaskedMSE
from stconv.models import Climatology, Conv3D, Ensemble, MembersInTurn, Persistence, build, describe
from stconv.task import ForecastTask
from stconv.uncertainty.bands import LEVELS, Bands, refuse_names_of_bounds
from stconv.uncertainty.conformal import _power, calibrate

DAYS, LEADS = 1461, 2


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise whose spread differs by cell and by a factor of 4 over the year; two cells are never there."""
    rng = np.random.default_rng(0)
    season = 1 + 0.6 * np.sin(2 * np.pi * np.arange(DAYS) / 365.25)
    cells = np.linspace(0.5, 3, 30).reshape(5, 6)
    values = rng.normal(size=(DAYS, 5, 6)) * season[:, None, None] * cells
    values[:, 0, :2] = np.nan
    rain = np.maximum(values, 0)
    ds = xr.Dataset(
        {
            "t2m": (("time", "lon", "lat"), values.transpose(0, 2, 1).astype("float32"), {"units": "K"}),
            "rain": (("time", "lon", "lat"), rain.transpose(0, 2, 1).astype("float32"), {"units": "mm"}),
        },
        {
            "time": np.datetime64("2011-01-01", "ns") + np.arange(DAYS) * np.timedelta64(1, "D"),
            "lat": np.arange(50.0, 45.0, -1),
            "lon": np.arange(6.0),
        },
    )
    path = tmp_path_factory.mktemp("data") / "noise.nc"
    ds.to_netcdf(path)
    return path


def path_of_noise(folder: Path, rng: np.random.Generator, spread: np.ndarray) -> Path:
    values = rng.normal(size=(len(spread), 5, 6)) * spread[:, None, None]
    times = np.datetime64("2011-01-01", "ns") + np.arange(len(spread)) * np.timedelta64(1, "D")
    axes = {"time": times, "lat": np.arange(45.0, 50.0), "lon": np.arange(6.0)}
    xr.Dataset({"t2m": (("time", "lat", "lon"), values, {"units": "K"})}, axes).to_netcdf(folder / "noise.nc")
    return folder / "noise.nc"


def data_module(path: Path, variables=("t2m",), scaling="anomaly") -> GridDataModule:
    data = GridDataModule(
        SourceSettings(str(path)),
        PreparationSettings(tuple(variables), scaling=scaling),
        WindowSettings(t_in=2, leads=LEADS),
        loading=LoadingSettings(batch_size=64),
    )
    data.setup()
    return data


@pytest.fixture(scope="module")
def task(path: Path) -> ForecastTask:
    """Tested; its forecast is the climatology, so that the noise itself is the error."""
    task = ForecastTask(Climatology(1, 1, 2, LEADS), MaskedMSE())
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False
    )
    trainer.test(task, data_module(path), verbose=False)
    return task


def test_bands_hold_what_they_say_in_another_season(task: ForecastTask) -> None:
    """Validation is May to March, the test period March to December."""
    coverage = task.verification.diagnostics["calibration"]["coverage"]
    assert coverage.sizes == {"variable": 1, "lead": LEADS, "level": 2}
    np.testing.assert_allclose(100 * coverage.sel(level=0.8), 80, atol=2)
    np.testing.assert_allclose(100 * coverage.sel(level=0.95), 95, atol=2)
    logged = task.trainer.callback_metrics
    assert logged["test_coverage_80_lead_2"] == pytest.approx(100 * coverage.values[0, 1, 0])


def test_bands_follow_cell_and_season(path: Path, task: ForecastTask) -> None:
    data = data_module(path)
    winter, summer = (np.argmin(abs(data.series.cycles[:, 1] - day)) for day in (0.75, 0.25))
    members = torch.zeros(1, 2, 1, LEADS, 5, 6)
    cycles = torch.tensor(data.series.cycles[[winter, summer]], dtype=torch.float32)
    bounds = task.bands.normalized(
        members, cycles[:, None].expand(-1, LEADS, -1), torch.full((2, 1), torch.nan)
    )
    width = (bounds[0, 1] - bounds[0, 0])[:, 0, 0]
    # the sine is -1 in autumn and 1 in spring: spreads of 0.4 and 1.6
    assert (width[1] / width[0])[1:].median().item() == pytest.approx(4, rel=0.25)
    # normal quantiles of 80 %: 2 * 1.2816 standard deviations, with a spread from 0.5 to 3 over the cells
    scale = data.preparation.scale[0].squeeze().expand(5, 6)
    south_up = np.linspace(0.5, 3, 30).reshape(5, 6)[::-1]
    np.testing.assert_allclose((width[1] * scale)[:4], 2 * 1.2816 * 1.6 * south_up[:4], rtol=0.2)


def test_calibration_does_not_look_at_the_test_period(path: Path) -> None:
    data, spoiled = data_module(path), data_module(path)
    spoiled.series.values = spoiled.series.values.copy()
    spoiled.series.values[spoiled.periods.test.start :] = 1e6
    network = Climatology(1, 1, 2, LEADS)
    ours, theirs = (calibrate(network, d.preparation, d) for d in (data, spoiled))
    for name, tensor in ours.tensors().items():
        assert torch.equal(tensor, theirs.tensors()[name]), name


def test_bounds_keep_their_order_and_stay_possible(path: Path) -> None:
    data = data_module(path, ("rain", "t2m"), scaling="zscore")
    network = Persistence(2, 2, 2, LEADS)
    bands = calibrate(network, data.preparation, data)
    batch = next(iter(data.val_dataloader()))
    members = network.members(data.preparation.inputs(batch))
    (low_80, high_80), (low_95, high_95) = bands.physical(members, batch, data.preparation)
    missing = low_80.isnan()
    assert missing[:, :, :, -1, :2].all()
    assert missing.sum() == missing[:, :, :, -1, :2].sum()
    known = ~missing
    for less, more in ((low_95, low_80), (low_80, high_80), (high_80, high_95)):
        assert (less <= more)[known].all()
    assert low_95[:, 0][known[:, 0]].min() == 0
    assert low_95[:, 1][known[:, 1]].min() < 0


def test_spread_of_members_widens_the_bands(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = data_module(path, scaling="zscore")
    network = Ensemble([Persistence(1, 1, 2, LEADS), Persistence(1, 1, 2, LEADS)])

    def members(x: torch.Tensor) -> torch.Tensor:
        return x[:, :, -1:].repeat(1, 1, LEADS, 1, 1) + torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1, 1, 1)

    monkeypatch.setattr(network, "members", members)
    bands = calibrate(network, data.preparation, data)
    assert bands.spread == pytest.approx(torch.ones(1, LEADS))
    assert not bands.spread_power.any()  # all members differ by the same: nothing follows from that
    bands = replace(bands, spread_power=torch.full((1, LEADS), 0.5))
    narrow = torch.zeros(2, 1, 1, LEADS, 5, 6)
    wide = narrow + torch.tensor([-3.0, 3.0]).view(2, 1, 1, 1, 1, 1)
    cycles, recent_change = torch.zeros(1, LEADS, 3), torch.full((1, 1), torch.nan)
    widths = [
        (b[1, 1] - b[1, 0]) for b in (bands.normalized(m, cycles, recent_change) for m in (narrow, wide))
    ]
    # spread 3 and 0, both with 0.2 added in squares, and a power of one half
    np.testing.assert_allclose(widths[1] / widths[0], (9.04 / 0.04) ** 0.25, rtol=1e-4)


def test_bands_follow_the_spread_as_far_as_the_error_does(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Members that differ by what the noise of the cell is, and members that differ at random."""
    data = data_module(path, scaling="zscore")
    network = Ensemble([Climatology(1, 1, 2, LEADS), Climatology(1, 1, 2, LEADS)])
    generator = torch.Generator().manual_seed(0)
    noise = torch.linspace(0.5, 3, 30).view(5, 6).flip(0) ** 2
    for spread, power in (
        (lambda x: noise.expand(len(x), 1, LEADS, 5, 6), 0.5),  # of the second power of the noise
        (lambda x: torch.rand(len(x), 1, LEADS, 5, 6, generator=generator) + 0.1, 0.0),
    ):
        monkeypatch.setattr(network, "members", lambda x, spread=spread: torch.stack([-spread(x), spread(x)]))
        bands = calibrate(network, data.preparation, data)
        np.testing.assert_allclose(bands.spread_power, power, atol=0.1)


def test_bands_are_wide_where_the_frames_before_are_unsettled(tmp_path: Path) -> None:
    """Ten calm and ten stormy days in turn, whose length nothing but the frames tells."""
    rng = np.random.default_rng(0)
    stormy = np.repeat(rng.permutation(np.tile([False, True], DAYS // 20 + 1)), 10)[:DAYS]
    data = data_module(path_of_noise(tmp_path, rng, np.where(stormy, 2.0, 0.5)), scaling="zscore")
    network = Climatology(1, 1, 2, LEADS)
    bands = calibrate(network, data.preparation, data)
    assert (bands.change_power > 0.5).all()
    inside: dict[bool, list[float]] = {False: [], True: []}
    for batch in data.test_dataloader():
        lower, upper = bands.physical(
            network.members(data.preparation.inputs(batch)), batch, data.preparation
        )[0]
        held = ((batch["targets"] >= lower) & (batch["targets"] <= upper)).float().mean((1, 2, 3, 4))
        for index, share in zip(batch["reference_index"].tolist(), held.tolist(), strict=True):
            if len(set(stormy[index - 2 : index + 3])) == 1:
                inside[bool(stormy[index])].append(share)
    for shares in inside.values():
        assert 100 * np.mean(shares) == pytest.approx(80, abs=8)


def test_powers_by_hand() -> None:
    x = np.array([1.0, 2.0, 4.0, 0.0, np.nan])
    assert _power(x, 3 * x**0.5) == pytest.approx(0.5)
    assert _power(x, x**3) == 1
    assert _power(x, 1 / x[[0, 1, 2, 0, 0]]) == 0
    assert _power(np.ones(3), np.arange(3.0)) == 0
    assert _power(np.zeros(3), np.arange(3.0)) == 0


@pytest.fixture(scope="module")
def bundle(path: Path, task: ForecastTask) -> Bundle:
    return make_bundle(task, data_module(path), name="noise")


def test_bands_travel_in_the_bundle(bundle: Bundle, tmp_path: Path) -> None:
    again = Bundle.load(bundle.save(tmp_path / "bundle"))
    assert isinstance(again.bands, Bands)
    assert again.spec["bands"] == bundle.bands.to_spec()
    for name, tensor in bundle.bands.tensors().items():
        assert torch.equal(tensor, again.bands.tensors()[name])
    again.spec["bands"] = {"levels": [50]}
    spec = {**bundle.bands.to_spec(), "levels": [50]}
    with pytest.raises(ConfigError, match=r"the bands have the levels \[50\], expected \[80, 95\]"):
        Bands.from_spec(spec, bundle.bands.tensors())


def test_bands_of_version_2_are_read(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 2 called three of the tensors calm, after_unrest and after_spread."""
    present = bundle.bands.tensors()
    former = {"typical_change": "calm", "change_power": "after_unrest", "spread_power": "after_spread"}
    renamed = {former.get(name, name): tensor for name, tensor in present.items()}
    assert set(former.values()) < set(renamed)
    with monkeypatch.context() as then:
        then.setattr(Bands, "tensors", lambda self: renamed)
        then.setattr("stconv.bundle.bundle.FORMAT_VERSION", 2)
        folder = bundle.save(tmp_path / "bundle")
    assert json.loads((folder / "spec.json").read_text())["format_version"] == 2
    again = Bundle.load(folder)
    assert again.spec["format_version"] == 3
    for name, tensor in present.items():
        assert torch.equal(tensor, again.bands.tensors()[name])


def test_bands_of_earlier_bundles_are_not_widened(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = {name: tensor for name, tensor in bundle.bands.tensors().items() if name != "widening"}
    monkeypatch.setattr(Bands, "tensors", lambda self: tensors)
    assert Bundle.load(bundle.save(tmp_path / "bundle")).bands.widening.tolist() == [[[0.0] * LEADS]] * 2


def test_damaged_bands_are_refused(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = {name: tensor for name, tensor in bundle.bands.tensors().items() if name != "scale"}
    monkeypatch.setattr(Bands, "tensors", lambda self: tensors)
    folder = bundle.save(tmp_path / "bundle")
    with pytest.raises(BundleError, match="the bands lack scale; export the model again"):
        Bundle.load(folder)


def test_bands_are_variables_of_the_forecast(path: Path, bundle: Bundle) -> None:
    ds = xr.open_dataset(path)[["t2m"]].isel(time=slice(-30, None))
    forecast = Forecaster(bundle).forecast(ds)
    names = [f"t2m_{side}_{level}" for level in LEVELS for side in ("lower", "upper")]
    assert list(forecast.data_vars) == ["t2m", *names]
    assert forecast["t2m"].attrs["ancillary_variables"] == " ".join(names)
    for name in names:
        assert forecast[name].dims == forecast["t2m"].dims
        assert forecast[name].attrs["units"] == "K"
        assert (forecast[name].isnull() == forecast["t2m"].isnull()).all()
    assert forecast["t2m_lower_80"].attrs["long_name"] == "t2m, lower bound of the 80 % band"
    assert not (forecast["t2m_lower_95"] > forecast["t2m_upper_80"]).any()

    alone = Forecaster(bundle).forecast(ds, bands=False)
    assert list(alone.data_vars) == ["t2m"]
    xr.testing.assert_identical(without_bands(forecast)["t2m"], alone["t2m"])


def test_bands_are_in_the_units_of_the_input(path: Path, bundle: Bundle) -> None:
    ds = xr.open_dataset(path)[["t2m"]].isel(time=slice(-30, None))
    celsius = (ds - 273.15).assign(t2m=lambda d: d["t2m"].assign_attrs(units="degC"))
    kelvin = Forecaster(bundle).forecast(ds)
    converted = Forecaster(bundle).forecast(celsius, convert_units=True)
    np.testing.assert_allclose(converted["t2m_upper_95"], kelvin["t2m_upper_95"] - 273.15, atol=1e-3)


def test_beyond_the_trained_leads_bands_are_missing(path: Path, bundle: Bundle) -> None:
    ds = xr.open_dataset(path)[["t2m"]].isel(time=slice(-30, None))
    forecast = Forecaster(bundle).forecast(ds, steps=3)
    known = forecast["t2m_lower_80"].notnull().any(["lat", "lon"])
    assert known.values.tolist() == [True, True, False]
    assert forecast["t2m"].notnull().any(["lat", "lon"]).all()
    first, second = (block for block, _ in zip(Forecaster(bundle).rollout(ds), range(2), strict=False))
    assert list(first.data_vars) == list(second.data_vars) == list(forecast.data_vars)
    assert second["t2m_upper_95"].isnull().all()


def test_networks_in_turn_train_one_per_batch_and_forecast_together():
    torch.manual_seed(0)
    network = MembersInTurn(Conv3D(1, 1, 3, 2, n_layers=1, n_filters=2, kernel=3), n_members=3)
    x, seen = torch.randn(2, 1, 3, 4, 5), []

    def gradient(member):
        return any(weight.grad is not None for weight in member.parameters())

    for _ in range(6):
        network.zero_grad()
        network.train().members(x).sum().backward()
        seen += [i for i, member in enumerate(network.networks) if gradient(member)]
    assert seen == [1, 2, 0, 1, 2, 0]
    network.eval()
    alone = torch.stack([member(x) for member in network.networks])
    torch.testing.assert_close(network(x), alone.mean(0))
    torch.testing.assert_close(network.members(x), alone.sort(dim=0).values)
    assert (alone[0] - alone[1]).abs().max() > 1e-3
    twin = build(describe(network))
    twin.load_state_dict(network.state_dict())
    torch.testing.assert_close(twin.eval()(x), network(x))
    with pytest.raises(ConfigError, match="n_members"):
        MembersInTurn(Conv3D(1, 1, 3, 2), n_members=1)


def test_bands_go_out_in_every_form(path: Path, bundle: Bundle, tmp_path: Path) -> None:
    from service.formats.answers import chosen, to_json, to_netcdf
    from service.formats.coverage import to_coverage
    from service.model.point import point_answer

    ds = xr.open_dataset(path)[["t2m"]].isel(time=slice(-30, None))
    forecaster = Forecaster(bundle)
    forecast = forecaster.forecast(ds)
    names = list(forecast.data_vars)
    expected = forecast["t2m_upper_95"].sel(lat=48, lon=3).values
    point = json.loads(point_answer(forecast, forecaster.step, 48, 3))
    np.testing.assert_allclose(point["daily"]["t2m_upper_95"], expected, rtol=1e-6)
    assert list(json.loads(to_json(forecast))["variables"]) == names
    assert list(json.loads(to_coverage(forecast))["ranges"]) == names
    back = xr.load_dataset(to_netcdf(forecast))
    np.testing.assert_array_equal(back["t2m_upper_95"], forecast["t2m_upper_95"])
    assert back["t2m"].attrs["ancillary_variables"] == " ".join(names[1:])
    assert list(chosen(forecast, ["t2m"]).data_vars) == ["t2m"]
    alone = chosen(forecast, None, bands=False)
    assert list(alone.data_vars) == ["t2m"]
    assert "ancillary_variables" not in alone["t2m"].attrs
    assert list(forecast.data_vars) == names
    assert forecaster.input_schema()["bands"] == [name.removeprefix("t2m") for name in names[1:]]


def test_a_target_with_the_name_of_a_bound_is_refused_before_training():
    refuse_names_of_bounds(["t2m", "t2m_lower", "lower_80", "t2m_lower_90"])
    with pytest.raises(ConfigError, match=r"target 't2m_upper_95' has the name.*bound.*Rename the variable"):
        refuse_names_of_bounds(["t2m_upper_95", "t2m"])


def test_bands_of_a_test_adapt_to_no_truth_after_the_reference_time(path: Path, task: ForecastTask) -> None:
    """Change the truth from one time on: the bands of all forecasts up to that time stay."""
    data = data_module(path)
    bands = calibrate(task.network, task.preparation, data)
    windows = WindowDataset(data.series, data.spec, list(data.references["test"])[:40])
    batch, change = windows.batch(range(40)), int(data.references["test"][0]) + 20
    valid = batch["reference_index"][:, None] + torch.arange(1, LEADS + 1)
    later = (valid > change)[:, None, :, None, None].expand_as(batch["targets"])
    found = []
    for targets in (batch["targets"], torch.where(later, 99.0, batch["targets"])):
        seen = {**batch, "targets": targets}
        bounds = bands.physical(task.network.members(task.preparation.inputs(batch)), batch, task.preparation)
        found.append(Assessment(data, task.preparation, None, bands)._adapted(bounds, seen))
    before, after = (bounds.nan_to_num() for bounds in found)
    known = int((batch["reference_index"] <= change).sum())
    assert torch.equal(before[:, :, :known], after[:, :, :known])
    assert (after[:, 1, known + LEADS :] > before[:, 1, known + LEADS :]).any()
