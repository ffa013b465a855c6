"""Requests that come together are computed together, and each gets what it would have got alone."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from service.model.batching import BatchingForecaster, Dropped
from stconv.bundle import Bundle
from stconv.errors import DataError
from stconv.forecast import Forecaster
from waiting import until


@pytest.fixture(scope="module")
def bundle(service_bundle):
    return Bundle.load(service_bundle)


@pytest.fixture(scope="module")
def alone(bundle):
    return Forecaster(bundle)


def ask(forecaster, number, ds, steps=None):
    """As the model's process does; the forecast and how many were computed together."""
    with forecaster.at_desk(number) as work:
        forecast = forecaster.forecast(ds, steps=steps)
    return forecast["t2m"].values, work.batch


def together(forecaster, inputs, steps):
    for number in range(len(inputs)):
        forecaster.announce(number)
    with ThreadPoolExecutor(len(inputs)) as pool:
        return list(
            pool.map(lambda job: ask(forecaster, *job), zip(range(len(inputs)), inputs, steps, strict=True))
        )


@pytest.mark.parametrize("steps", [[None] * 5, [None, 5, 1, 5, 2]], ids=["alike", "roll-out among them"])
def test_a_batch_gives_each_what_it_would_get_alone(bundle, alone, service_server, steps):
    inputs = [service_server.fields(8, seed=seed) for seed in range(5)]
    forecaster = BatchingForecaster(bundle, max_batch=8, wait_seconds=20)
    for (found, batch), ds, n in zip(together(forecaster, inputs, steps), inputs, steps, strict=True):
        np.testing.assert_allclose(found, alone.forecast(ds, steps=n)["t2m"].values, rtol=1e-6)
        assert batch <= 5
    if steps == [None] * 5:
        assert {batch for _, batch in together(forecaster, inputs, steps)} == {5}


def test_a_batch_has_a_largest_size(bundle, service_server):
    inputs = [service_server.fields(4, seed=seed) for seed in range(5)]
    forecaster = BatchingForecaster(bundle, max_batch=2, wait_seconds=20)
    sizes = [batch for _, batch in together(forecaster, inputs, [None] * 5)]
    assert sorted(sizes) == [1, 2, 2, 2, 2]


def test_who_is_alone_waits_for_nobody(bundle, service_server):
    forecaster = BatchingForecaster(bundle, wait_seconds=1000)
    forecaster.announce(1)
    assert ask(forecaster, 1, service_server.fields(4))[1] == 1


def test_who_fails_is_not_waited_for(bundle, service_server):
    forecaster = BatchingForecaster(bundle, wait_seconds=1000)
    good, bad = service_server.fields(4), service_server.fields(2)
    forecaster.announce(1)
    forecaster.announce(2)
    with ThreadPoolExecutor(2) as pool:
        answer = pool.submit(ask, forecaster, 1, good)
        with pytest.raises(DataError):
            pool.submit(ask, forecaster, 2, bad).result()
        assert answer.result()[1] == 1


def test_what_was_dropped_is_never_computed(bundle, service_server, monkeypatch):
    computed = []
    forecaster = BatchingForecaster(bundle, wait_seconds=1000)
    monkeypatch.setattr(Forecaster, "_fields", lambda self, batch, bands: computed.append(batch))
    for number in (1, 2, 3):
        forecaster.announce(number)
    forecaster.drop(1)
    with pytest.raises(Dropped):
        ask(forecaster, 1, service_server.fields(4))
    with ThreadPoolExecutor(1) as pool:  # the third never comes, so that the second waits for it
        waiting = pool.submit(ask, forecaster, 2, service_server.fields(4))
        until(lambda: forecaster._windows)
        forecaster.drop(2)
        with pytest.raises(Dropped):
            waiting.result()
    assert computed == []


def test_what_fails_in_the_network_fails_for_its_batch_only(bundle, service_server, monkeypatch):
    forecaster = BatchingForecaster(bundle)
    right = Forecaster._fields

    def wrong(self, batch, bands):
        raise RuntimeError("out of memory")

    for fields, number in ((wrong, 1), (right, 2)):
        monkeypatch.setattr(Forecaster, "_fields", fields)
        forecaster.announce(number)
        if fields is wrong:
            with pytest.raises(RuntimeError, match="out of memory"):
                ask(forecaster, number, service_server.fields(4))
        else:
            assert np.isfinite(ask(forecaster, number, service_server.fields(4))[0][:, 1:]).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_that_gives_no_numbers_is_not_believed(bundle, service_server, monkeypatch, value):
    forecaster = BatchingForecaster(bundle)
    right = Forecaster._fields

    def broken(self, batch, bands):
        forecast = right(self, batch, bands).clone()
        forecast[0, :, 0, 1, 3, 4] = value
        return forecast

    monkeypatch.setattr(Forecaster, "_fields", broken)
    forecaster.announce(1)
    with pytest.raises(DataError, match="'air' gives no numbers from this input: 1 of 160 values"):
        ask(forecaster, 1, service_server.fields(4))


def test_warnings_stay_with_their_request(bundle, service_server):
    """Two at once, of which one has a gap: only that one is warned of, and the filters are left alone."""
    import warnings

    filters = list(warnings.filters)
    gap = service_server.fields(8).isel(time=[0, 1, 2, 3, 4, 5, 7])
    forecaster = BatchingForecaster(bundle, wait_seconds=20)
    seen = {}

    def work(number, ds):
        with forecaster.at_desk(number) as noted:
            forecaster.forecast(ds)
        seen[number] = [str(w.message) for w in noted.warnings]

    threads = []
    for number, ds in enumerate([gap, service_server.fields(8)]):
        forecaster.announce(number)
        threads.append(threading.Thread(target=work, args=(number, ds)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "gap" in seen[0][0] or "newest complete window" in seen[0][0]
    assert seen[1] == []
    assert warnings.filters == filters


def test_windows_of_another_shape_do_not_join(bundle, monkeypatch):
    """Two shapes can not come from one bundle over HTTP; the batches are held to it all the same."""
    forecaster = BatchingForecaster(bundle, wait_seconds=0.2)
    monkeypatch.setattr(Forecaster, "_fields", lambda self, batch, bands: batch["inputs"][None])
    monkeypatch.setattr(forecaster, "_require_numbers", lambda forecast: None)

    def predict(number, n):
        with forecaster.at_desk(number) as work:
            forecaster.predict({"inputs": torch.zeros(1, 1, 3, 8, n)})
        return work.batch

    for number in range(3):
        forecaster.announce(number)
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(predict, range(3), [10, 12, 10])) == [2, 1, 2]
