"""A series that stays where it is: blocks read once, in bounded memory, the same training as from a copy."""

import threading
import warnings
from collections import Counter

import numpy as np
import pytest
import torch
import xarray as xr
from torch.utils.data import DataLoader

from small_training import net
from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.series import store
from stconv.datasets.series.dataset import BatchDataset, WindowDataset, unchanged
from stconv.datasets.series.extent import lowest_and_highest
from stconv.datasets.series.missing import known_counts, most_missing
from stconv.datasets.series.read_ahead import ReadAhead
from stconv.datasets.series.stream_order import StreamInOrder, StreamShuffle
from stconv.datasets.series.streamed import StreamedValues
from stconv.datasets.series.windows import WindowSpec, reference_indices
from stconv.datasets.settings import LoadingSettings, SourceSettings, WindowSettings
from stconv.datasets.source import grid
from stconv.datasets.source.attributes import SourceWarning
from stconv.errors import ConfigError

N, CHUNK = 120, 8
VALUES = np.random.default_rng(0).normal(280, 10, (N, 2, 4, 6)).astype("f4")
EDGES = [*range(0, N, CHUNK), N]
SPEC = WindowSpec.consecutive(3, 2)


class Source:
    """Values that count how often each block is read, and how much is held at most."""

    def __init__(self, values=VALUES):
        self.values, self.read_blocks, self.lock = values, Counter(), threading.Lock()

    def __call__(self, start, stop):
        with self.lock:
            self.read_blocks[start] += 1
        return self.values[start:stop].copy()


def streamed(source, most_blocks):
    frame = VALUES[0].nbytes
    return StreamedValues(ReadAhead(source, EDGES, most_blocks * CHUNK * frame, frame), VALUES.shape)


@pytest.mark.parametrize(
    "key",
    [
        slice(None),
        slice(5, 31),
        slice(100, 300),
        slice(2, 90, 7),
        slice(40, 20, -3),
        slice(3, 3),
        17,
        -1,
        (slice(6, 20), 1),
        (slice(6, 20), slice(0, 1)),
        (slice(6, 20), slice(None), 2),
        (5, 1, 2, 3),
        [3, 50, 4],
        (slice(None), 0),
    ],
)
def test_a_view_is_indexed_like_an_array(key):
    values = streamed(Source(), 3)
    np.testing.assert_array_equal(np.asarray(values[key]), VALUES[key])
    inner = values[10:100][key] if not isinstance(key, list) else values[10:100][[3, 50, 4]]
    np.testing.assert_array_equal(np.asarray(inner), VALUES[10:100][key])


def test_a_view_has_the_shape_of_an_array_and_reads_nothing_for_it():
    source = Source()
    values = streamed(source, 3)
    for view, array in ((values, VALUES), (values[4:9], VALUES[4:9]), (values[:, 1], VALUES[:, 1])):
        assert (view.shape, view.ndim, view.size, view.nbytes, len(view), view.dtype) == (
            (array.shape, array.ndim, array.size, array.nbytes, len(array), array.dtype)
        )
    assert not source.read_blocks
    np.testing.assert_array_equal(np.stack(list(values[30:50])), VALUES[30:50])


@pytest.mark.parametrize("n_ranks", [1, 3])
@pytest.mark.parametrize(("mixed", "cursors"), [(1, 1), (4, 1), (6, 3), (100, 8)])
def test_an_epoch_visits_each_window_once_in_another_order_each_time(mixed, cursors, n_ranks):
    blocks = [i // 8 for i in range(3, 118)]
    announced = []
    epochs = []
    for epoch in range(3):
        parts = []
        for rank in range(n_ranks):
            order = StreamShuffle(blocks, 5, mixed, cursors, announced.append, rank, n_ranks)
            order.set_epoch(epoch)
            parts.append(list(order))
            assert parts[-1] == announced[-1]
            assert len(order) == len(parts[-1]) == len(blocks) // n_ranks
        together = [item for part in parts for item in part]
        assert len(set(together)) == len(together)
        epochs.append(together)
        again = StreamShuffle(blocks, 5, mixed, cursors, announced.append, 0, n_ranks)
        again.set_epoch(epoch)
        assert list(again) == parts[0]
    assert epochs[0] != epochs[1] != epochs[2]
    in_order = [list(StreamInOrder(10, announced.append, rank, 3)) for rank in range(3)]
    assert [item for part in in_order for item in part] == list(range(10))


@pytest.mark.parametrize(("mixed", "cursors", "most"), [(1, 1, 4), (3, 1, 8), (4, 2, 12)])
def test_each_block_is_read_once_in_an_epoch_and_memory_is_bounded(mixed, cursors, most):
    source = Source()
    values = streamed(source, most)
    references = reference_indices(range(N), SPEC)
    windows = WindowDataset(make_series(values), SPEC, references)
    blocks = [windows.stream.blocks.blocks_of(*span)[0] for span in windows.spans()]
    order = StreamShuffle(blocks, 0, mixed, cursors, windows.announce)
    for epoch in range(2):
        source.read_blocks.clear()
        order.set_epoch(epoch)
        seen = 0
        for item in order:
            i = references[item]
            batch = windows.batch([item])
            np.testing.assert_array_equal(batch["inputs"][0], VALUES[i - 2 : i + 1].swapaxes(0, 1))
            np.testing.assert_array_equal(batch["targets"][0], VALUES[i + 1 : i + 3, :1].swapaxes(0, 1))
            assert windows.stream.blocks._held <= windows.stream.blocks.most_bytes
            seen += 1
        assert seen == len(references)
        assert source.read_blocks == dict.fromkeys(EDGES[:-1], 1)
        assert not windows.stream.blocks._blocks


def make_series(values):
    return store.Series(
        values=values,
        times=np.datetime64("2020-01-01", "ns") + np.arange(N) * np.timedelta64(6, "h"),
        variables=("a", "b"),
        n_targets=1,
        units={"a": "K", "b": "K"},
        lat=np.arange(4.0),
        lon=np.arange(6.0),
        geographic=True,
        step=None,
        values_hash="0",
        content_hash="0",
    )


def test_a_series_holds_no_blocks_beside_those_of_its_windows():
    values = streamed(Source(), 3)
    np.testing.assert_array_equal(np.asarray(values[:40]), VALUES[:40])  # such as for statistics
    assert values.blocks._held
    WindowDataset(make_series(values), SPEC, reference_indices(range(N), SPEC))
    assert values.blocks._held == 0
    assert not values.blocks._blocks


def test_a_block_that_cannot_be_read_is_told_where_it_is_needed():
    def read(start, stop):
        if start >= 40:
            raise OSError("gone")
        return VALUES[start:stop]

    values = streamed(read, 3)
    values.blocks.begin([(start, start + 5) for start in range(0, 80, 5)])
    np.testing.assert_array_equal(values.window(0, 5), VALUES[:5])
    with pytest.raises(OSError, match="gone"):
        values.window(40, 45)


def test_facts_of_a_period_are_those_of_the_whole_array(monkeypatch):
    from stconv.datasets.series import extent

    monkeypatch.setattr(extent, "BYTES_AT_ONCE", 1000)
    values = VALUES.copy()
    values[values > 290] = np.nan
    values[:, 1, 2, 3] = np.nan
    for given in (values, streamed(Source(values), 2)):
        low, high = lowest_and_highest(given)
        np.testing.assert_array_equal(low, np.nanmin(values, axis=(0, 2, 3)))
        np.testing.assert_array_equal(high, np.nanmax(values, axis=(0, 2, 3)))
        known, frames = known_counts(given)
        np.testing.assert_array_equal(known, np.isfinite(values).sum(0))
        np.testing.assert_array_equal(frames, np.isfinite(values).any((2, 3)).sum(0))
        missing = np.isnan(values).mean((2, 3))
        of_windows = np.stack([missing[i : i + 3].mean(0) for i in range(N - 2)])
        everywhere = np.ones(values.shape[1:], bool)
        assert most_missing(given, everywhere, (-2, -1, 0)) == pytest.approx(of_windows.max(), abs=1e-4)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "a.zarr"
    values = VALUES[:, 0].copy()
    values[::9, 1, 2] = np.nan
    ds = xr.Dataset(
        {"t2m": (("time", "lat", "lon"), values, {"units": "K"})},
        {
            "time": np.datetime64("2020-01-01", "ns") + np.arange(N) * np.timedelta64(6, "h"),
            "lat": ("lat", np.arange(40.0, 60, 5)[::-1], {"units": "degrees_north"}),
            "lon": ("lon", np.arange(6.0), {"units": "degrees_east"}),
        },
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds.to_zarr(path, zarr_format=3, encoding={"t2m": {"chunks": (CHUNK, 4, 6)}})
    return path


def data_of(path, cache, **settings):
    return GridDataModule(
        SourceSettings(str(path), **settings),
        PreparationSettings(("t2m",), scaling="anomaly"),
        WindowSettings(t_in=3, leads=2),
        loading=LoadingSettings(batch_size=8),
        cache=cache,
    )


@pytest.fixture
def small_chunks(monkeypatch, tmp_path):
    monkeypatch.setattr(grid, "STREAMED_CHUNK_BYTES", 1)
    monkeypatch.setenv("STCONV_CACHE", str(tmp_path))


def test_statistics_of_a_stream_are_those_of_a_copy(path, small_chunks):
    stream, copy, memory = (data_of(path, cache) for cache in ("never", "always", "auto"))
    for data in (stream, copy, memory):
        data.setup()
    assert (stream.series.streamed, copy.series.on_disk) == (True, True)
    assert (memory.series.streamed, memory.series.on_disk) == (False, False)
    assert len(stream.series.values.blocks.edges) == 1 + N // CHUNK
    assert stream.series.content_hash == copy.series.content_hash == memory.series.content_hash
    for name, value in copy.preparation.state_dict().items():
        assert torch.equal(stream.preparation.state_dict()[name].nan_to_num(), value.nan_to_num()), name
    for loaders in zip(stream.test_dataloader(), copy.test_dataloader(), strict=True):
        for name, value in loaders[1].items():
            assert torch.equal(loaders[0][name].nan_to_num(), value.nan_to_num())


def test_the_same_order_gives_the_same_weights(path, small_chunks, seeded):
    stream, copy = data_of(path, "never"), data_of(path, "always")
    stream.setup()
    copy.setup()
    loader = stream.train_dataloader()
    windows = BatchDataset(WindowDataset(copy.series, copy.spec, copy.references["train"]))
    same = DataLoader(windows, batch_size=8, sampler=loader.sampler, collate_fn=unchanged)
    weights = []
    for given in (loader, same):
        network = net()
        optimizer = torch.optim.SGD(network.parameters(), 0.01)
        for epoch in range(2):
            given.sampler.set_epoch(epoch)
            for batch in given:
                target, weight = stream.preparation.targets(batch)
                found = network(stream.preparation.inputs(batch))
                optimizer.zero_grad()
                ((found - target) ** 2 * weight).mean().backward()
                optimizer.step()
        weights.append([parameter.detach() for parameter in network.parameters()])
    for ours, theirs in zip(*weights, strict=True):
        assert torch.equal(ours, theirs)


def test_a_stream_goes_on_in_the_middle_of_an_epoch(path, small_chunks):
    data = data_of(path, "never")
    data.setup()
    whole, later = data.train_dataloader(), data.train_dataloader()
    later.load_state_dict({"given": 3})
    epochs = [[batch["reference_index"].tolist() for batch in loader] for loader in (whole, later, later)]
    assert epochs[0][3:] == epochs[1]
    assert epochs[0] == epochs[2]


def test_a_series_that_fits_nowhere_is_streamed_and_said_so(path, small_chunks, monkeypatch):
    monkeypatch.setattr(grid, "MEMORY_BYTES", 0)
    monkeypatch.setattr(store, "has_room", lambda *args: False)
    data = data_of(path, "auto", memory_share=0.0)
    with pytest.warns(SourceWarning, match="fits neither in memory nor into .*its windows are read from"):
        data.setup()
    assert data.series.streamed


def test_settings_that_contradict_a_stream_are_refused(path, small_chunks):
    with pytest.raises(ConfigError, match=r"data\.cache is 'sometimes'; expected one of never, auto, always"):
        data_of(path, "sometimes")
    data = data_of(path, "never")
    data.loading = LoadingSettings(batch_size=8, num_workers=2)
    data.setup()
    with pytest.raises(ConfigError, match=r"num_workers is 2, and the series is read from its source"):
        data.train_dataloader()
