"""Damped persistence and the 3x3 regression against NumPy, on masked data, and without a look at the test."""

import numpy as np
import pytest
import torch

from stconv.contenders import DAMPED_PERSISTENCE, LINEAR_3X3
from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.recipes.synthetic import generate
from stconv.datasets.references.fitted import ReferenceForecasts
from stconv.datasets.settings import SourceSettings, WindowSettings
from test_filling import filled_from_around

LEADS, T_IN = 2, 4


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    torch.set_num_threads(1)
    path = generate(tmp_path_factory.mktemp("data") / "made.nc", n_steps=220, n_lat=5, n_lon=6)
    module = GridDataModule(
        SourceSettings(str(path)), PreparationSettings(("t2m",)), WindowSettings(t_in=T_IN, leads=LEADS)
    )
    module.setup()
    values = module.series.values
    values[:, 0, 0, :2] = np.nan  # never valid
    values[50:60, 0, 2, 3] = np.nan  # missing for a while
    return module


def fitted(data):
    return ReferenceForecasts.fit(
        data.series, data.spec, data.references["train"], data.preparation.harmonics
    )


def anomalies(data):
    cycles = torch.from_numpy(data.series.cycles.astype(np.float32))
    climatology = data.preparation.harmonics(cycles[None])[0].transpose(0, 1).numpy()
    return (data.series.values - climatology)[:, 0].astype(np.float64)


def frames(a, reference):
    """The inputs of a window, (t_in, lat, lon), each gap filled from before, after, or around."""
    found = a[reference - T_IN + 1 : reference + 1].copy()
    for i, j in np.ndindex(found.shape[1:]):
        known = [k for k in range(T_IN) if np.isfinite(found[k, i, j])]
        for k in range(T_IN):
            if known and k not in known:
                earlier = [m for m in known if m < k]
                found[k, i, j] = found[earlier[-1] if earlier else known[0], i, j]
    return np.array([filled_from_around(frame) for frame in found])


def test_the_damping_is_the_regression_on_the_newest_frame_of_each_cell(data):
    a, train = anomalies(data), np.array(data.references["train"])
    damping = fitted(data).damping[0].numpy()
    for lead in (1, 2):
        x, y = np.stack([frames(a, i)[-1] for i in train]), a[train + lead]
        both = np.isfinite(x) & np.isfinite(y)
        expected = np.where(both, x * y, 0).sum(0) / np.maximum(np.where(both, x * x, 0).sum(0), 1e-30)
        np.testing.assert_allclose(damping[lead - 1], expected.clip(0, 1), atol=1e-4)


def test_the_regression_is_that_of_least_squares(data):
    a, train = anomalies(data), np.array(data.references["train"])
    past = np.stack([frames(a, i) for i in train])
    filled = np.pad(np.nan_to_num(past), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    lags = 3
    columns = [
        filled[:, T_IN - lags + k, i : i + 5, j : j + 6]
        for k in range(lags)
        for i in range(3)
        for j in range(3)
    ]
    x = np.stack([*columns, np.ones_like(columns[0])], -1).reshape(-1, 9 * lags + 1)
    for lead in (1, 2):
        y = a[train + lead].reshape(-1)
        known = np.isfinite(y)
        expected = x[known] @ np.linalg.lstsq(x[known], y[known], rcond=None)[0]
        batch = next(iter(data.val_dataloader()))
        found = fitted(data).weights[0, lead - 1].double().numpy()
        np.testing.assert_allclose(x[known] @ found, expected, atol=2e-3 * np.std(y[known]))
    forecast = fitted(data)(batch)
    reference = int(batch["reference_index"][0])
    beyond = np.pad(np.nan_to_num(frames(a, reference)[1:]), ((0, 0), (1, 1), (1, 1)), mode="edge")
    around = np.append(beyond[:, 2:5, 3:6].reshape(-1), 1.0)  # of the cell in row 2, column 3
    expected = around @ fitted(data).weights[0, 1].numpy()
    climatology = data.preparation.climatology(batch)
    assert float(forecast[LINEAR_3X3][0, 0, 1, 2, 3] - climatology[0, 0, 1, 2, 3]) == pytest.approx(
        float(expected), abs=1e-3
    )


def test_a_missing_frame_is_carried_on_from_the_one_before(data):
    batch = next(iter(data.test_dataloader()))
    batch["inputs"][:, :, -1, 3, 3] = torch.nan
    forecast, climatology = fitted(data)(batch), data.preparation.climatology(batch)
    harmonics = data.preparation.harmonics(batch["input_cycles"])
    before = (batch["inputs"] - harmonics)[:, 0, -2, 3, 3]
    found = (forecast[DAMPED_PERSISTENCE] - climatology)[:, 0, :, 3, 3]
    expected = fitted(data).damping[0, :, 3, 3] * before[:, None]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_without_any_value_it_is_that_of_the_cells_around_and_a_dead_cell_stays_unknown(data):
    batch = next(iter(data.test_dataloader()))
    batch["inputs"][:, 0, :, 3, 3] = torch.nan
    forecast, climatology = fitted(data)(batch), data.preparation.climatology(batch)
    harmonics = data.preparation.harmonics(batch["input_cycles"])
    newest = (batch["inputs"] - harmonics)[:, 0, -1, 2:5, 2:5].flatten(1)
    expected = fitted(data).damping[0, :, 3, 3] * newest.nanmean(1, keepdim=True)
    found = (forecast[DAMPED_PERSISTENCE] - climatology)[:, 0, :, 3, 3]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    for values in forecast.values():
        assert torch.isfinite(values[..., 1:, :]).all()


def test_without_any_frame_it_is_the_climatology(data):
    batch = next(iter(data.test_dataloader()))
    batch["inputs"][:] = torch.nan
    forecast, climatology = fitted(data)(batch), data.preparation.climatology(batch)
    np.testing.assert_array_equal(forecast[DAMPED_PERSISTENCE], climatology)


def test_what_comes_after_the_training_period_changes_nothing(data):
    before = fitted(data)
    values, end = data.series.values, data.periods.train.stop
    kept = values[end:].copy()
    try:
        values[end:] = 1e6
        after = fitted(data)
    finally:
        values[end:] = kept
    assert torch.equal(before.weights, after.weights)
    assert torch.equal(before.damping, after.damping)


def test_a_large_training_period_is_sampled(data, monkeypatch):
    whole = fitted(data)
    monkeypatch.setattr("stconv.datasets.references.fitted.MAX_ROWS", 1000)
    monkeypatch.setattr("stconv.datasets.references.fitted.MAX_WINDOWS", 60)
    sampled = fitted(data)
    batch = next(iter(data.test_dataloader()))
    apart = (whole(batch)[LINEAR_3X3] - sampled(batch)[LINEAR_3X3]).nan_to_num().std()
    assert 0 < float(apart) < 0.5 * float(batch["targets"].nan_to_num().std())
