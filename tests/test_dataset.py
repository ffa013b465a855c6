"""A window is a slice of the series, whatever its offsets."""

import pickle

import numpy as np
import pytest
import torch

from stconv.datasets.series.dataset import WindowDataset, window
from stconv.datasets.series.store import Series
from stconv.datasets.series.windows import WindowSpec
from stconv.datasets.source.time_axis import TimeStep


@pytest.fixture
def series():
    values = np.arange(20 * 2 * 2 * 3, dtype=np.float32).reshape(20, 2, 2, 3)
    values[7, 0, 1, 1] = np.nan
    return Series(
        values=values,
        times=np.datetime64("2020-01-01", "ns") + np.arange(20) * np.timedelta64(6, "h"),
        variables=("a", "b"),
        n_targets=1,
        units={"a": "K", "b": "K"},
        lat=np.arange(2.0),
        lon=np.arange(3.0),
        geographic=True,
        step=TimeStep("fixed", seconds=21600),
    )


@pytest.mark.parametrize("offsets", [(-2, -1, 0), (-6, -4, 0), (0,)])
def test_window_is_what_the_series_holds(series, offsets):
    spec = WindowSpec(offsets, leads=3)
    dataset = WindowDataset(series, spec, [8, 11, 16])
    assert len(dataset) == 3
    sample = dataset[1]
    past, future = [11 + k for k in offsets], [12, 13, 14]
    assert {key: tuple(tensor.shape) for key, tensor in sample.items()} == {
        "inputs": (2, len(offsets), 2, 3),
        "targets": (1, 3, 2, 3),
        "input_cycles": (len(offsets), 3),
        "target_cycles": (3, 3),
        "reference_index": (),
    }
    np.testing.assert_array_equal(sample["inputs"].numpy(), series.values[past].transpose(1, 0, 2, 3))
    np.testing.assert_array_equal(sample["targets"].numpy(), series.values[future, :1].transpose(1, 0, 2, 3))
    np.testing.assert_array_equal(sample["input_cycles"].numpy(), series.cycles[past].astype(np.float32))
    np.testing.assert_array_equal(sample["target_cycles"].numpy(), series.cycles[future].astype(np.float32))
    assert sample["reference_index"].item() == 11
    assert {str(sample[key].dtype) for key in sample if key != "reference_index"} == {"torch.float32"}


def test_missing_stays_missing_and_the_series_is_not_copied(series):
    sample = WindowDataset(series, WindowSpec.consecutive(3, 1), [8])[0]
    assert sample["inputs"][0, 1, 1, 1].isnan()
    series.values[8, 0, 0, 0] = -5
    assert sample["inputs"][0, 2, 0, 0] == -5


def test_forecast_window_has_no_targets(series):
    cycles = np.concatenate([series.cycles, [[0.0, 0.1, 0.3], [0.25, 0.1, 0.3]]])
    sample = window(series.values, cycles.astype(np.float32), WindowSpec.consecutive(4, 2), 19)
    assert set(sample) == {"inputs", "input_cycles", "target_cycles", "reference_index"}
    torch.testing.assert_close(sample["target_cycles"], torch.tensor([[0.0, 0.1, 0.3], [0.25, 0.1, 0.3]]))


def test_a_worker_receives_no_source(series):
    series.origin = open(__file__)  # noqa: SIM115 - a handle, which does not pickle
    with series.origin:
        twin = pickle.loads(pickle.dumps(WindowDataset(series, WindowSpec.consecutive(3, 1), [8])))
    assert {type(value) for value in vars(twin).values()} <= {torch.Tensor, int, list, WindowSpec, type(None)}
    torch.testing.assert_close(
        twin[0]["inputs"], torch.from_numpy(series.values[6:9].swapaxes(0, 1)), equal_nan=True
    )


@pytest.mark.parametrize("offsets", [(-2, -1, 0), (-6, -4, 0)])
def test_a_batch_is_its_windows_stacked(series, offsets):
    dataset = WindowDataset(series, WindowSpec(offsets, leads=3), [8, 11, 16])
    batch = dataset.batch([2, 0])
    for name in batch:
        torch.testing.assert_close(
            batch[name], torch.stack([dataset[2][name], dataset[0][name]]), equal_nan=True
        )
    assert set(batch) == set(dataset[0])
