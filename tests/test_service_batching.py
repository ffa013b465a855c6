"""Requests that arrive together are computed together, and each has the answer it would have alone."""

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from service.model.batching import Batches, OnlyNumbers, RequestGivenUp
from stconv.bundle import Bundle
from stconv.errors import DataError
from stconv.forecast import Forecaster
from stconv.forecast.computation import NetworkComputation
from waiting import until


@pytest.fixture(scope="module")
def bundle(service_bundle):
    return Bundle.load(service_bundle)


@pytest.fixture(scope="module")
def alone(bundle):
    return Forecaster(bundle)


class Batching:
    """A forecaster whose windows are computed in batches, as in the model's process.

    Args:
        bundle: Bundle of the forecaster.
        computation: In place of its network.
        options: Arguments of `Batches`.
    """

    def __init__(self, bundle, computation=None, **options):
        self.batches = Batches(computation or NetworkComputation(bundle), **options)
        self.forecaster = Forecaster(bundle, computation=OnlyNumbers(self.batches, bundle))

    def ask(self, number, ds, steps=None):
        """As the model's process does; the forecast and how many were computed together."""
        with self.batches.turn(number) as work:
            forecast = self.forecaster.forecast(ds, steps=steps)
        return forecast["t2m"].values, work.windows_in_batch

    def ask_together(self, inputs, steps):
        for number in range(len(inputs)):
            self.batches.announce(number)
        with ThreadPoolExecutor(len(inputs)) as pool:
            jobs = zip(range(len(inputs)), inputs, steps, strict=True)
            return list(pool.map(lambda job: self.ask(*job), jobs))


@pytest.mark.parametrize("steps", [[None] * 5, [None, 5, 1, 5, 2]], ids=["alike", "roll-out among them"])
def test_a_batch_gives_each_what_it_would_get_alone(bundle, alone, service_server, steps):
    inputs = [service_server.fields(8, seed=seed) for seed in range(5)]
    batching = Batching(bundle, max_batch=8, wait_seconds=20)
    for (found, batch), ds, n in zip(batching.ask_together(inputs, steps), inputs, steps, strict=True):
        np.testing.assert_allclose(found, alone.forecast(ds, steps=n)["t2m"].values, rtol=1e-6)
        assert batch <= 5
    if steps == [None] * 5:
        assert {batch for _, batch in batching.ask_together(inputs, steps)} == {5}


@pytest.mark.filterwarnings("ignore::stconv.forecast.TrainingRangeWarning")  # of random fields
def test_a_batch_has_a_largest_size(bundle, service_server):
    inputs = [service_server.fields(4, seed=seed) for seed in range(5)]
    batching = Batching(bundle, max_batch=2, wait_seconds=20)
    sizes = [batch for _, batch in batching.ask_together(inputs, [None] * 5)]
    assert sorted(sizes) == [1, 2, 2, 2, 2]


def test_who_is_alone_waits_for_nobody(bundle, service_server):
    batching = Batching(bundle, wait_seconds=1000)
    batching.batches.announce(1)
    assert batching.ask(1, service_server.fields(4))[1] == 1


def test_who_fails_is_not_waited_for(bundle, service_server):
    batching = Batching(bundle, wait_seconds=1000)
    good, bad = service_server.fields(4), service_server.fields(2)
    batching.batches.announce(1)
    batching.batches.announce(2)
    with ThreadPoolExecutor(2) as pool:
        answer = pool.submit(batching.ask, 1, good)
        with pytest.raises(DataError):
            pool.submit(batching.ask, 2, bad).result()
        assert answer.result()[1] == 1


def test_what_was_given_up_is_never_computed(bundle, service_server):
    computed = []
    batching = Batching(bundle, lambda batch, with_bands: computed.append(batch), wait_seconds=1000)
    batches = batching.batches
    for number in (1, 2, 3):
        batches.announce(number)
    batches.give_up(1)
    with pytest.raises(RequestGivenUp):
        batching.ask(1, service_server.fields(4))
    with ThreadPoolExecutor(1) as pool:  # the third never comes, so that the second waits for it
        waiting = pool.submit(batching.ask, 2, service_server.fields(4))
        until(lambda: batches._windows)
        batches.give_up(2)
        with pytest.raises(RequestGivenUp):
            waiting.result()
    assert computed == []


def test_what_fails_in_the_network_fails_for_its_batch_only(bundle, service_server):
    network, broken = NetworkComputation(bundle), [True]

    def compute(batch, with_bands):
        if broken.pop():
            raise RuntimeError("out of memory")
        return network(batch, with_bands)

    batching = Batching(bundle, compute)
    batching.batches.announce(1)
    with pytest.raises(RuntimeError, match="out of memory"):
        batching.ask(1, service_server.fields(4))
    broken.append(False)
    batching.batches.announce(2)
    assert np.isfinite(batching.ask(2, service_server.fields(4))[0][:, 1:]).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_that_gives_no_numbers_is_not_believed(bundle, service_server, value):
    network = NetworkComputation(bundle)

    def broken(batch, with_bands):
        forecast = network(batch, with_bands).clone()
        forecast[0, :, 0, 1, 3, 4] = value
        return forecast

    batching = Batching(bundle, broken)
    batching.batches.announce(1)
    with pytest.raises(DataError, match="'air' cannot forecast from this input: 1 of 160 values"):
        batching.ask(1, service_server.fields(4))


def test_remarks_stay_with_their_request(bundle, service_server):
    """Two at once, of which one has a gap: only that one says so, and Python's filters are left alone."""
    filters = list(warnings.filters)
    gap = service_server.fields(8).isel(time=[0, 1, 2, 3, 4, 5, 7])
    batching = Batching(bundle, wait_seconds=20)
    seen = {}

    def work(number, ds):
        with batching.batches.turn(number):
            seen[number] = batching.forecaster.forecast(ds).attrs

    threads = []
    for number, ds in enumerate([gap, service_server.fields(8)]):
        batching.batches.announce(number)
        threads.append(threading.Thread(target=work, args=(number, ds)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in the model's process
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert "newest complete window" in seen[0]["older_window"]
    assert "older_window" not in seen[1]
    assert warnings.filters == filters


def test_windows_of_another_shape_do_not_join():
    """Two shapes cannot come from one bundle over HTTP; the batches are held to it all the same."""
    batches = Batches(lambda batch, with_bands: batch["inputs"][None], wait_seconds=0.2)

    def predict(number, n):
        with batches.turn(number) as work:
            batches({"inputs": torch.zeros(1, 1, 3, 8, n)}, with_bands=False)
        return work.windows_in_batch

    for number in range(3):
        batches.announce(number)
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(predict, range(3), [10, 12, 10])) == [2, 1, 2]
