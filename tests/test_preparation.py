"""Preparation: its statistics against NumPy, its inverse, the channels it shows and the values it hides."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from full_preparation import FULL
from stconv.datasets.preparation.features import cos_zenith
from stconv.datasets.preparation.preparation import Preparation
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.preparation.spec import PreparationSpec
from stconv.datasets.series.dataset import WindowDataset
from stconv.datasets.series.store import Series
from stconv.datasets.series.windows import WindowSpec
from stconv.datasets.source.time_axis import TimeStep
from stconv.errors import ConfigError, DataError, MissingValuesError, ShapeError

TRAIN = range(0, 200)
SPEC = WindowSpec.consecutive(t_in=3, leads=2)
NEVER = (1, 2)
"""Cell of the first channel that never has a value."""


def make_series(missing=True, geographic=True, variables=("t", "q"), n_targets=1, positive=False, hours=6):
    generator = np.random.default_rng(0)
    n_time, shape = 300, (4, 5)
    times = np.datetime64("2020-01-01", "ns") + np.arange(n_time) * np.timedelta64(hours, "h")
    day = np.cos(2 * np.pi * (np.arange(n_time) % 4) / 4)[:, None, None, None]
    values = generator.gamma(2.0, 1.5, (n_time, len(variables), *shape))
    if not positive:
        values += 280 + 5 * day
        values[:, 1:] *= 1e-3
    if missing:
        values[generator.random(values.shape) < 0.1] = np.nan
        values[:, 0, *NEVER] = np.nan
    return Series(
        values=values.astype(np.float32),
        times=times,
        variables=variables,
        n_targets=n_targets,
        units=dict.fromkeys(variables, "K"),
        lat=np.array([0.0, 30.0, 60.0, 90.0]),
        lon=np.arange(5.0),
        geographic=geographic,
        step=TimeStep("fixed", seconds=3600 * hours),
    )


def fit(series, period, inputs=None, **settings):
    """A preparation of all variables of the series, unless told otherwise."""
    targets = series.variables[: series.n_targets]
    return Preparation.fit(
        series, period, PreparationSettings(inputs or series.variables, targets, **settings)
    )


def make_batch(series, references=(10, 150, 250)):
    samples = [*map(WindowDataset(series, SPEC, references).__getitem__, range(len(references)))]
    return {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}


def test_zscore_is_that_of_numpy_over_training_alone():
    series = make_series()
    preparation = fit(series, TRAIN)
    training = series.values[:200].astype(np.float64)
    mean, std = np.nanmean(training, axis=(0, 2, 3)), np.nanstd(training, axis=(0, 2, 3))
    batch = make_batch(series)
    expected = np.nan_to_num((batch["inputs"].numpy() - mean[:, None, None, None]) / std[:, None, None, None])
    np.testing.assert_allclose(preparation.inputs(batch).numpy(), expected, atol=2e-5)

    later = make_series()
    later.values[200:] *= 7
    changed = fit(later, TRAIN).state_dict()
    for name, tensor in preparation.state_dict().items():
        torch.testing.assert_close(changed[name], tensor, rtol=0, atol=0, equal_nan=True, msg=name)


@pytest.mark.parametrize("per_cell", [False, True])
@pytest.mark.parametrize(
    ("scaling", "transforms"),
    [
        ("zscore", {}),
        ("minmax", {}),
        ("none", {}),
        ("anomaly", {}),
        ("zscore", {"t": "log1p"}),
        ("minmax", {"t": "sqrt", "q": "log1p"}),
        ("anomaly", {"t": "sqrt", "q": "log1p"}),
    ],
)
def test_physical_undoes_the_normalization(scaling, per_cell, transforms):
    series = make_series(n_targets=2, positive=bool(transforms))
    preparation = fit(series, TRAIN, scaling=scaling, per_cell=per_cell, transforms=transforms)
    batch = make_batch(series)
    normalized, weight = preparation.targets(batch)
    assert torch.isfinite(normalized).all()
    back = preparation.physical(normalized, batch)
    valid = torch.isfinite(batch["targets"])
    torch.testing.assert_close(back[valid], batch["targets"][valid], rtol=1e-5, atol=1e-5)
    assert torch.equal(weight > 0, valid & (preparation.cell_weight > 0))
    assert back[:, 0, :, *NEVER].isnan().all()
    assert int(back[:, :, 0].isnan().sum()) == 3, "only the never valid cell is missing in a forecast"


def test_training_period_is_standard_after_scaling():
    series = make_series(missing=False)
    for scaling, per_cell in (("zscore", False), ("anomaly", False), ("zscore", True), ("anomaly", True)):
        preparation = fit(series, TRAIN, scaling=scaling, per_cell=per_cell)
        batch = make_batch(series, range(2, 198, 3))
        z = preparation.inputs(batch).numpy()
        np.testing.assert_allclose(z.mean((0, 2, 3, 4)), 0, atol=0.05)
        np.testing.assert_allclose(z.std((0, 2, 3, 4)), 1, atol=0.05)
    unit = fit(series, TRAIN, scaling="minmax")
    z = unit.inputs(make_batch(series, range(2, 198)))
    assert z.min() >= -1e-5
    assert z.max() <= 1 + 1e-5


def test_anomaly_takes_the_cycle_out():
    series = make_series(missing=False)
    hourly = [
        fit(series, TRAIN, scaling=s).inputs(make_batch(series, range(2, 198, 4)))
        for s in ("zscore", "anomaly")
    ]
    spread = [float(z[:, 0].mean((0, 2, 3)).std()) for z in hourly]
    assert spread[0] > 0.5
    assert spread[1] < 0.1


def test_climatology_and_persistence_by_hand():
    series = make_series(missing=False)
    preparation = fit(series, TRAIN)
    batch = make_batch(series)
    references = batch["reference_index"].tolist()
    assert torch.equal(
        preparation.persistence(batch)[:, 0, 1], torch.from_numpy(series.values[references, 0])
    )
    climatology = preparation.climatology(batch)
    assert climatology.shape == (3, 1, 2, 4, 5)
    hour = [(i + 2) % 4 for i in references]
    means = np.stack([series.values[h:200:4, 0].mean(axis=0, dtype=np.float64) for h in hour])
    np.testing.assert_allclose(climatology[:, 0, 1].numpy(), means, atol=1e-3)


def test_persistence_is_what_the_window_last_knew():
    series = make_series(missing=False)
    preparation = fit(series, TRAIN)
    batch = make_batch(series)
    expected = batch["inputs"][:, 0, -1].clone()
    batch["inputs"][:, 0, -1, 1, 2] = torch.nan
    expected[:, 1, 2] = batch["inputs"][:, 0, -2, 1, 2]
    batch["inputs"][:, 0, :, 3, 3] = torch.nan
    expected[:, 3, 3] = torch.nan
    found = preparation.persistence(batch)[:, 0, 1]
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


def test_weights_follow_area_and_validity():
    series = make_series()
    batch = make_batch(series)
    preparation = fit(series, TRAIN)
    np.testing.assert_allclose(preparation.cell_weight[:, 0].numpy(), [1, 0.75**0.5, 0.5, 0], atol=1e-6)
    _, weight = preparation.targets(batch)
    valid = torch.isfinite(batch["targets"])
    assert float(weight[valid].mean()) == pytest.approx(1, rel=1e-5)
    assert not weight[~valid].any()
    assert float(weight[0, 0, 0, 0, 0] / weight[0, 0, 0, 2, 0]) == pytest.approx(2, rel=1e-5)
    flat = fit(make_series(geographic=False), TRAIN)
    assert torch.equal(flat.cell_weight, torch.ones(4, 5))


@pytest.mark.parametrize("impute", ["mean", "climatology"])
def test_missing_inputs_are_imputed(impute):
    series = make_series()
    batch = make_batch(series)
    gap = torch.isnan(batch["inputs"])
    for scaling in ("zscore", "minmax", "none", "anomaly"):
        preparation = fit(series, TRAIN, scaling=scaling, impute=impute)
        x = preparation.inputs(batch)
        assert torch.isfinite(x).all()
        if impute == "climatology":
            filled = dict(
                batch, inputs=torch.where(gap, preparation.harmonics(batch["input_cycles"]), batch["inputs"])
            )
            torch.testing.assert_close(x, preparation.inputs(filled), rtol=1e-4, atol=1e-4)
        elif scaling != "anomaly":
            means = torch.from_numpy(
                np.nanmean(series.values[:200].astype(np.float64), axis=(0, 2, 3))
            ).float()
            filled = dict(batch, inputs=torch.where(gap, means.view(-1, 1, 1, 1), batch["inputs"]))
            torch.testing.assert_close(x, preparation.inputs(filled), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scaling", ["zscore", "anomaly"])
def test_what_the_window_last_knew_stands_in_for_a_missing_input(scaling):
    """Against pandas, which fills forward and then backward, on the normalized values."""
    series = make_series()
    series.values[::3, 0, 2, 1:3] = np.nan
    series.values[:, 0, 3, 4] = np.nan
    series.values[0, 0, 3, 4] = 281.0  # known once, long before the windows
    batch = make_batch(series)
    preparation = fit(series, TRAIN, scaling=scaling, impute="persistence")
    z = preparation.normalize(batch["inputs"], batch["input_cycles"])
    assert z.isnan().any()
    found = preparation.inputs(batch)
    for window, channel, row, column in np.ndindex(*z.shape[:2], *z.shape[3:]):
        cell = pd.Series(z[window, channel, :, row, column].numpy()).ffill().bfill()
        expected = cell.fillna(preparation.fill[channel].item()).to_numpy()
        np.testing.assert_array_equal(found[window, channel, :, row, column], expected)


def test_a_cell_hidden_in_the_whole_window_gets_the_departure_of_the_cells_around_it():
    """And not the mean of the training period, from which the whole field has moved away."""
    series = make_series()
    series.values[200:, 0] += 40.0
    batch = make_batch(series)
    hidden = batch["inputs"].clone()
    hidden[:, 0, :, 1:3, 2] = torch.nan
    preparation = fit(series, TRAIN, scaling="anomaly", impute="neighbors")
    shown, found = preparation.inputs(batch)[:, 0], preparation.inputs(dict(batch, inputs=hidden))[:, 0]
    around = [(i, j) for i in (0, 1, 2) for j in (1, 3)] + [(0, 2)]
    expected = torch.stack([shown[..., i, j] for i, j in around]).mean(0)
    torch.testing.assert_close(found[..., 1, 2], expected)
    in_field = torch.ones(4, 5, dtype=torch.bool)
    in_field[1:3, 2] = False
    torch.testing.assert_close(found[..., in_field], shown[..., in_field])


@pytest.mark.parametrize(("hours", "whole_year"), [(6, False), (54, True)])
def test_extra_channels_in_their_order(hours, whole_year):
    series = make_series(hours=hours)
    preparation = fit(
        series,
        TRAIN,
        mask_channel=True,
        static_fields=["latitude", "longitude", "position", "valid"],
        time_features=True,
    )
    batch = make_batch(series)
    x = preparation.inputs(batch)
    assert preparation.c_in == x.shape[1] == 2 + 2 + 6 + 4
    assert torch.equal(x[:, 2:4], torch.isfinite(batch["inputs"]).float())
    lat, lon = np.deg2rad(series.lat), np.deg2rad(series.lon)
    np.testing.assert_allclose(x[0, 4, 0, :, 3].numpy(), np.sin(lat), atol=1e-6)
    np.testing.assert_allclose(x[2, 5, 1, 1].numpy(), np.cos(lon), atol=1e-6)
    np.testing.assert_allclose(x[2, 6, 1, 1].numpy(), np.sin(lon), atol=1e-6)
    np.testing.assert_allclose(x[0, 7, 0, :, 0].numpy(), [-1, -1 / 3, 1 / 3, 1], atol=1e-6)
    valid = np.ones((4, 5))
    valid[NEVER] = 0
    np.testing.assert_array_equal(x[1, 9, 2].numpy(), valid)
    day, year = (2 * np.pi * batch["input_cycles"][..., k].numpy() for k in (0, 1))
    year = year * whole_year  # 50 days of training do not tell what a season is
    for channel, expected in enumerate([np.sin(day), np.sin(year), np.cos(day), np.cos(year)], start=10):
        np.testing.assert_allclose(x[:, channel, :, 3, 4].numpy(), expected, atol=1e-6)


def test_climate_of_the_training_period_as_static_fields():
    series = make_series(missing=False)
    preparation = fit(series, TRAIN, scaling="anomaly", static_fields=["climate"])
    assert preparation.c_in == 2 + 2 * 4
    x = preparation.inputs(make_batch(series))[0, 2:, 0].numpy()
    steps = slice(TRAIN.start, TRAIN.stop)
    values, cycles = series.values[steps].astype(np.float64), series.cycles[steps, :2]
    terms = preparation.harmonics.terms
    basis = np.stack([np.cos(2 * np.pi * (cycles @ term[:2]) - term[2] * np.pi / 2) for term in terms], 1)
    yearly, daily = ([i for i, term in enumerate(terms) if term[c] and not term[1 - c]] for c in (1, 0))
    for channel in range(2):
        flat = values[:, channel].reshape(len(values), -1)
        solved = np.linalg.lstsq(basis, flat, rcond=None)[0]
        expected = [
            solved[0],
            np.sqrt((solved[yearly] ** 2).sum(0) / 2),
            np.sqrt((solved[daily] ** 2).sum(0) / 2),
            (flat - basis @ solved).std(0),
        ]
        for field, got in zip(expected, x[4 * channel : 4 * channel + 4], strict=True):
            spread = field.std() or 1
            np.testing.assert_allclose(got.ravel(), (field - field.mean()) / spread, atol=5e-3)


def test_anomalies_of_a_transformed_variable_by_hand():
    series = make_series(missing=False, positive=True)
    preparation = fit(series, TRAIN, scaling="anomaly", transforms={"t": "sqrt"})
    batch = make_batch(series)
    climatology = preparation.harmonics(batch["input_cycles"]).double().numpy()
    x = batch["inputs"].double().numpy()
    departure = np.sqrt(x[:, 0]) - np.sqrt(climatology[:, 0].clip(0))
    z = preparation.inputs(batch)[:, 0].numpy()
    slope, intercept = np.polyfit(departure.ravel(), z.ravel(), 1)
    np.testing.assert_allclose(z, slope * departure + intercept, atol=1e-4)
    values = torch.from_numpy(series.values[TRAIN.start : TRAIN.stop])[None].transpose(1, 2)
    cycles = torch.from_numpy(series.cycles[TRAIN.start : TRAIN.stop])[None].float()
    training = preparation.normalize(values, cycles)
    assert training[:, 0].mean().item() == pytest.approx(0, abs=1e-4)
    assert training[:, 0].std().item() == pytest.approx(1, abs=1e-3)


def test_climate_is_zero_where_nothing_was_ever_measured():
    series = make_series()
    preparation = fit(series, TRAIN, static_fields=["climate"])
    assert torch.isfinite(preparation.static).all()
    assert not preparation.static[:4, *NEVER].any()
    assert preparation.static[0].std() > 0.5


def test_targets_that_are_no_inputs_are_hidden():
    series = make_series()
    preparation = fit(series, TRAIN, inputs=["q"])
    batch = make_batch(series)
    x = preparation.inputs(batch)
    assert (preparation.c_in, preparation.c_out, preparation.targets_are_inputs) == (1, 1, False)
    batch["inputs"][:, 0] = 1e6
    assert torch.equal(preparation.inputs(batch), x)
    assert fit(series, TRAIN).targets_are_inputs


def test_nothing_after_the_reference_time_is_in_the_inputs():
    series, changed = make_series(), make_series()
    changed.values[251:] = 1e6
    preparation = fit(series, TRAIN, mask_channel=True, time_features=True, scaling="anomaly")
    a, b = make_batch(series, (250,)), make_batch(changed, (250,))
    assert not torch.equal(a["targets"], b["targets"])
    assert torch.equal(preparation.inputs(a), preparation.inputs(b))
    torch.testing.assert_close(preparation.persistence(a), preparation.persistence(b), equal_nan=True)
    changed.values[250] = 1e6
    assert not torch.equal(preparation.inputs(a), preparation.inputs(make_batch(changed, (250,))))


@pytest.mark.parametrize("scaling", ["zscore", "anomaly"])
def test_spec_and_state_rebuild_it(scaling):
    series = make_series()
    preparation = fit(
        series,
        TRAIN,
        scaling=scaling,
        per_cell=True,
        mask_channel=True,
        static_fields=["valid"],
        impute="climatology",
    )
    spec = PreparationSpec.from_json(json.loads(json.dumps(preparation.spec.to_json(), allow_nan=False)))
    assert spec == preparation.spec
    twin = Preparation(spec, preparation.state_dict())
    batch = make_batch(series)
    assert torch.equal(twin.inputs(batch), preparation.inputs(batch))
    y = torch.zeros(3, 1, 2, 4, 5)
    torch.testing.assert_close(
        twin.physical(y, batch), preparation.physical(y, batch), rtol=0, atol=0, equal_nan=True
    )
    with pytest.raises(ConfigError, match="lacks 'center'"):
        Preparation(spec, {})


def test_constant_channel_stays_finite():
    series = make_series(missing=False)
    series.values[:, 1] = 3.0
    for scaling in ("zscore", "minmax", "anomaly"):
        for per_cell in (False, True):
            preparation = fit(series, TRAIN, scaling=scaling, per_cell=per_cell)
            assert preparation.inputs(make_batch(series))[:, 1].abs().max() <= 1e-3


def test_refusals():
    series = make_series()
    with pytest.raises(MissingValuesError, match=r"'t' has \d+\.\d+% missing .* impute 'none' expects no"):
        fit(series, TRAIN, impute="none")
    with pytest.raises(ConfigError, match="scaling 'robust' is unknown; expected one of zscore, minmax"):
        fit(series, TRAIN, scaling="robust")
    with pytest.raises(ConfigError, match="static field 'soil' is unknown"):
        PreparationSettings(("t",), static_fields=("soil",))
    with pytest.raises(ConfigError, match="needs a geographic grid"):
        fit(make_series(geographic=False), TRAIN, static_fields=["latitude"])
    with pytest.raises(ConfigError, match="names variable 'rain'; the variables are: t, q"):
        fit(series, TRAIN, transforms={"rain": "log1p"})
    with pytest.raises(ConfigError, match="transform 'exp' of 't' is unknown"):
        fit(series, TRAIN, transforms={"t": "exp"})
    with pytest.raises(ConfigError, match="targets t are inputs but q are not"):
        fit(make_series(variables=("t", "q", "u"), n_targets=2), TRAIN, inputs=["t", "u"])
    batch = make_batch(series)
    batch["inputs"] = batch["inputs"][..., :3]
    with pytest.raises(ShapeError, match=r"expected \(batch, 2, time, 4, 5\)"):
        fit(series, TRAIN).inputs(batch)
    series.values[3, 0, 0, 0] = -1
    with pytest.raises(DataError, match="expects values of 0 or more; the training period has -1"):
        fit(series, TRAIN, transforms={"t": "sqrt"})
    series.values[:200, 1] = np.nan
    with pytest.raises(MissingValuesError, match="'q' has no valid value in the training period"):
        fit(series, TRAIN)


def test_height_of_the_sun():
    """At the June solstice, noon UTC, Greenwich; against hand values and the mean over the globe."""
    noon_june = torch.tensor([[[0.5, 171.5 / 365.0]]])
    lat = torch.deg2rad(torch.tensor([23.44, 0.0, -66.6, 90.0]))
    lon = torch.deg2rad(torch.tensor([0.0, 180.0]))
    found = cos_zenith(noon_june, lat, lon)
    assert found.shape == (1, 1, 4, 2)
    expected = [1.0, np.cos(np.deg2rad(23.44)), np.cos(np.deg2rad(90.04)), np.sin(np.deg2rad(23.44))]
    np.testing.assert_allclose(found[0, 0, :, 0].numpy(), expected, atol=2e-3)
    assert found[0, 0, 1, 1] < -0.9, "midnight on the other side"
    day = torch.stack([torch.arange(24) / 24, torch.full((24,), 0.2)], dim=-1)[None]
    turn = cos_zenith(day, lat, torch.deg2rad(torch.tensor([0.0, 15.0])))
    torch.testing.assert_close(turn[0, 1:, :, 0], turn[0, :-1, :, 1], atol=1e-5, rtol=0)
    equator = cos_zenith(torch.tensor([[[0.25, 79.5 / 365]]]), torch.zeros(1), torch.tensor([np.pi / 2]))
    assert equator.item() > 0.999, "noon in Bangladesh at the equinox"


def test_sun_is_an_input_on_geographic_grids_only():
    series = make_series()
    preparation = fit(series, TRAIN, solar_zenith=True)
    batch = make_batch(series)
    x = preparation.inputs(batch)
    assert preparation.c_in == x.shape[1] == 3
    lat, lon = (torch.deg2rad(torch.from_numpy(axis)).float() for axis in (series.lat, series.lon))
    torch.testing.assert_close(x[:, 2], cos_zenith(batch["input_cycles"], lat, lon))
    again = Preparation(preparation.spec, preparation.state_dict())
    torch.testing.assert_close(again.inputs(batch), x)
    with pytest.raises(ConfigError, match="solar_zenith needs a geographic grid"):
        fit(make_series(geographic=False), TRAIN, solar_zenith=True)


def test_statistics_do_not_depend_on_the_blocks(monkeypatch):
    """A series on disk is fitted block by block."""
    series = make_series()
    for options in ({}, {"scaling": "anomaly", "per_cell": True}, {"scaling": "minmax", "per_cell": True}):
        whole = fit(series, TRAIN, **options).state_dict()
        with monkeypatch.context() as patch:
            patch.setattr("stconv.datasets.preparation.fitting.BYTES_AT_ONCE", 3000)
            patch.setattr("stconv.datasets.preparation.harmonics._BYTES_AT_ONCE", 3000)
            blocks = fit(series, TRAIN, **options).state_dict()
        for name, tensor in whole.items():
            torch.testing.assert_close(blocks[name], tensor, equal_nan=True, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scaling", ["zscore", "anomaly"])
def test_a_forecast_keeps_to_its_bounds(scaling):
    series = make_series(missing=False, variables=("t", "q"), n_targets=2, positive=True)
    free = fit(series, TRAIN, scaling=scaling)
    held = fit(series, TRAIN, scaling=scaling, bounds={"t": [0, None], "q": [None, 2.5]})
    batch = make_batch(series)
    y = 4 * torch.randn(3, 2, 2, 4, 5)
    before, after = free.physical(y, batch), held.physical(y, batch)
    assert before[:, 0].min() < 0
    assert before[:, 1].max() > 2.5
    np.testing.assert_array_equal(after[:, 0], np.maximum(before[:, 0], 0))
    np.testing.assert_array_equal(after[:, 1], np.minimum(before[:, 1], 2.5))
    spec = PreparationSpec.from_json(json.loads(json.dumps(held.spec.to_json())))
    twin = Preparation(spec, held.state_dict())
    assert torch.equal(twin.physical(y, batch), after)


@pytest.mark.parametrize("scaling", ["zscore", "anomaly"])
def test_members_are_drawn_into_bounds_around_the_forecast(scaling):
    """In physical units they keep to the bounds, and their mean is the forecast."""
    series = make_series(missing=False, variables=("t", "q", "r"), n_targets=3, positive=True)
    held = fit(series, TRAIN, scaling=scaling, bounds={"t": [0, None], "q": [0.5, 2.5]}, per_cell=True)
    batch = make_batch(series)
    members = 2 * torch.randn(12, 3, 3, 2, 4, 5)
    drawn = held.members_in_bounds(members, batch)
    torch.testing.assert_close(drawn.mean(0), members.mean(0), atol=1e-5, rtol=0)
    fields = held.physical(drawn, batch)
    torch.testing.assert_close(fields.mean(0), held.physical(members.mean(0), batch), atol=1e-4, rtol=1e-5)
    clipped = held.physical(members, batch).mean(0)
    assert (clipped[:, 0] - fields.mean(0)[:, 0]).max() > 0.1, "without it the mean would be too high"
    assert torch.equal(drawn[:, :, 2], members[:, :, 2])
    assert torch.equal(held.members_in_bounds(members[:1], batch), members[:1])


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"q": [0, None]}, "bounds names 'q', which is not a target; the targets are t"),
        ({"t": [1, 0]}, r"bounds of 't' are \[1, 0\]; expected the lowest and the highest"),
        ({"t": [None, None]}, "expected the lowest and the highest value, null for no limit"),
        ({"t": [0]}, r"bounds of 't' are \[0\]"),
    ],
)
def test_bounds_that_are_none_are_refused(bounds, message):
    with pytest.raises(ConfigError, match=message):
        fit(make_series(), TRAIN, bounds=bounds)


@pytest.mark.parametrize("scaling", ["zscore", "anomaly"])
def test_members_become_physical_as_each_of_them_would(scaling):
    series = make_series(variables=("t", "q"), n_targets=2, positive=True)
    preparation = fit(
        series, TRAIN, scaling=scaling, transforms={"q": "sqrt"}, bounds={"t": [1, 4]}, per_cell=True
    )
    batch = make_batch(series)
    members = torch.randn(2, 4, 3, 2, 2, 4, 5)
    together = preparation.physical(members, batch)
    alone = [preparation.physical(member, batch) for member in members.flatten(0, 1)]
    torch.testing.assert_close(together.flatten(0, 1), torch.stack(alone), equal_nan=True)


@pytest.mark.parametrize(("leads", "t_in"), [(2, 3), (3, 2)])
def test_climatology_at_the_leads_is_shown_in_the_newest_frames(leads, t_in):
    series = make_series(n_targets=1, positive=True)
    preparation = fit(series, TRAIN, scaling="anomaly", transforms={"t": "sqrt"}, climatology_at_leads=True)
    windows = WindowDataset(series, WindowSpec.consecutive(t_in, leads), [10, 150])
    batch = windows.batch(range(2))
    x = preparation.inputs(batch)
    assert preparation.c_in == x.shape[1] == 3
    usual = np.sqrt(preparation.harmonics(batch["target_cycles"])[:, 0].numpy())
    training = torch.from_numpy(series.cycles[:200]).float()[:, None]
    climatology = np.sqrt(preparation.harmonics(training)[:, 0, 0].numpy())
    expected = np.nan_to_num((usual - np.nanmean(climatology)) / np.nanstd(climatology))
    shown = min(leads, t_in)
    np.testing.assert_allclose(x[:, 2, -shown:].numpy(), expected[:, -shown:], atol=1e-4)
    assert not x[:, 2, :-shown].any()


def test_each_channel_holds_what_its_name_says():
    series = make_series(missing=False, positive=True)
    series.static["height"] = np.arange(20.0).reshape(4, 5)
    batch = make_batch(series)
    x = Preparation.fit(series, TRAIN, FULL).inputs(batch).numpy()
    names = [name for block in FULL.channels.values() for name in block]
    assert len(names) == len(set(names)) == FULL.c_in == x.shape[1]
    shown = dict(zip(names, x.swapaxes(0, 1), strict=True))
    day = 2 * np.pi * batch["input_cycles"][..., 0].numpy()
    lat, lon = np.deg2rad(series.lat), np.deg2rad(series.lon)
    expected = {
        "t known": np.ones_like(shown["t"]),
        "sin lat": np.sin(lat)[:, None] * np.ones(5),
        "cos lon": np.ones(4)[:, None] * np.cos(lon),
        "column": np.ones(4)[:, None] * np.linspace(-1, 1, 5),
        "ever valid": np.ones((4, 5)),
        "height": (np.arange(20).reshape(4, 5) - 9.5) / np.arange(20).std(),
        "sin day": np.sin(day)[..., None, None],
        "cos day": np.cos(day)[..., None, None],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(shown[name], np.broadcast_to(values, shown[name].shape), atol=1e-5)
    assert (
        np.corrcoef(shown["mean of q"][0, 0].ravel(), np.nanmean(series.values[:200, 1], 0).ravel())[0, 1]
        > 0.999
    )
    assert np.abs(shown["cos zenith"]).max() <= 1
    assert list(FULL.channels) == ["values", "validity", "static", "time", "sun", "climatology"]


def test_a_series_with_other_variables_is_refused():
    series = make_series()
    with pytest.raises(ConfigError, match=r"variables q with 1 target\(s\), the series holds t, q with 1"):
        Preparation.fit(series, TRAIN, PreparationSettings(("q",)))
    with pytest.raises(ConfigError, match="static_files names 'height', which was not read"):
        Preparation.fit(
            series, TRAIN, PreparationSettings(("t", "q"), ("t",), static_files={"height": "f.nc"})
        )


def test_a_fitted_preparation_does_not_say_where_its_files_lay():
    series = make_series(missing=False, positive=True)
    series.static["height"] = np.zeros((4, 5))
    fitted = Preparation.fit(series, TRAIN, FULL).spec
    assert fitted.settings.static_files == {"height": "orography.nc"}
