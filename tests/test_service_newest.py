"""The forecast from the server's own data: each lead is computed once, in any order."""

import threading

import pytest
import xarray as xr

from service.model.batching import Batches
from service.model.newest import NewestForecast
from service.model.source import Source
from stconv.bundle import Bundle
from stconv.forecast import Forecaster
from stconv.forecast.computation import NetworkComputation


class Counting:
    """A computation that counts the blocks it computes."""

    def __init__(self, bundle):
        self.network, self.blocks = NetworkComputation(bundle), 0

    def __call__(self, batch, with_bands):
        self.blocks += 1
        return self.network(batch, with_bands)


@pytest.fixture
def made(service_bundle, service_data):
    bundle = Bundle.load(service_bundle)
    counting = Counting(bundle)
    batches = Batches(counting)
    forecaster = Forecaster(bundle, computation=batches)
    newest = NewestForecast(forecaster, Source([service_data], forecaster), batches, lambda fields: fields)

    def ask(number, steps):
        batches.announce(number)
        with batches.turn(number):
            return newest.of(steps)

    return ask, counting


def test_leads_are_computed_once(made, service_bundle, service_server):
    ask, counting = made
    library = Forecaster.from_path(service_bundle)
    asked = [(1, 1), (2, 1), (7, 4), (3, 4), (8, 4), (9, 5), (2, 5), (20, 10)]
    for number, (steps, blocks) in enumerate(asked):
        found = ask(number, steps)
        xr.testing.assert_allclose(found, library.forecast(service_server.fields(), steps=steps))
        assert counting.blocks == blocks, f"two leads each, after {steps} steps"


def test_many_at_once_share_one_roll_out(made):
    ask, counting = made
    threads = [threading.Thread(target=ask, args=(steps, steps)) for steps in range(3, 23)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert counting.blocks == 11
