"""The service widens its bands as the truth of stored forecasts comes in, each truth once, and remembers."""

import json

import numpy as np
import pytest
import torch

from service.model.live_bands import LiveBands
from stconv.bundle import Bundle
from stconv.uncertainty.adaptive import Adaptation
from stconv.uncertainty.bands import as_calibrated, widened

NAMES = [f"202001{day:02}T000000Z" for day in range(1, 29)]


@pytest.fixture
def bands(service_server, service_bundle):
    """Bands of one target, which were never widened."""
    return service_server.with_bands(Bundle.load(service_bundle)).bands


def bounds_of(bands, widening=None):
    """Bounds of a forecast of 0 in every cell, (level, 2, target, leads, lat, lon)."""
    plain = torch.tensor([[-1.0, 1.0], [-2.0, 2.0]])[..., None, None, None, None]
    shape = bands.widening.shape
    widening = torch.zeros(shape) if widening is None else widening
    return widened(plain.expand(2, 2, *shape[1:], 4, 5), widening, bands.lowest)


def truth_of(bands, value):
    return torch.full((*bands.widening.shape[1:], 4, 5), value)


def test_each_truth_is_learned_once_in_the_order_of_time(bands, tmp_path):
    live, leads = LiveBands(bands, tmp_path), bands.widening.shape[2]
    first = truth_of(bands, 1.5)
    first[:, 1:] = torch.nan  # only the first lead is known yet
    live.learn(NAMES[1], bounds_of(bands), first)
    expected = Adaptation(1, leads)
    outside = np.full((2, 1, leads), np.nan)
    outside[:, 0, 0] = [1, 0]  # 1.5 is outside of the band of 1, inside of that of 2
    expected.learn(outside)
    np.testing.assert_allclose(live.widening, expected.widening, rtol=1e-6)
    for again in (NAMES[1], NAMES[0]):  # verified once more, or late: learned already
        live.learn(again, bounds_of(bands), first)
    np.testing.assert_allclose(live.widening, expected.widening, rtol=1e-6)
    live.learn(NAMES[1], bounds_of(bands), truth_of(bands, 0.0))  # the other leads
    outside = np.zeros((2, 1, leads))
    outside[..., 0] = np.nan
    expected.learn(outside)
    np.testing.assert_allclose(live.widening, expected.widening, rtol=1e-6)


def test_forecasts_made_in_one_go_do_not_overshoot(bands, tmp_path):
    """All were stored before anything was learned; the truth always lies at 1.5."""
    live = LiveBands(bands, tmp_path)
    for name in NAMES:
        live.learn(name, bounds_of(bands), truth_of(bands, 1.5))
    assert 0.2 < live.widening[0, 0, 0] < 0.6, "a widening of 0.25 holds it"


def test_what_was_learned_is_found_again(bands, tmp_path):
    live = LiveBands(bands, tmp_path)
    live.learn(NAMES[0], bounds_of(bands), truth_of(bands, 9.0))
    live.issue(NAMES[1])
    again = LiveBands(bands, tmp_path)
    assert torch.equal(again.widening, live.widening)
    for one in (live, again):  # the bounds as stored are wider than those of the calibration
        one.learn(NAMES[1], bounds_of(bands, again._bands.widening + live.widening), truth_of(bands, 0.0))
    np.testing.assert_allclose(again.widening, live.widening)


def test_a_damaged_file_is_set_aside(bands, tmp_path, capsys):
    for content in ("{", json.dumps({"widening": [1.0], "learned": [], "issued": {}})):
        (tmp_path / "widening.json").write_text(content)
        assert torch.equal(LiveBands(bands, tmp_path).widening, bands.widening)
        assert not (tmp_path / "widening.json").exists()
    assert "begun anew" in "".join(capsys.readouterr())


@pytest.mark.parametrize("widening", [0.4, -0.2])
def test_bounds_as_calibrated_are_found_again(widening):
    torch.manual_seed(0)
    lower = torch.rand(2, 1, 3, 2, 4, 5)
    lower[..., 2:] = 0  # stopped at the smallest value
    bounds = torch.stack([lower, lower + 0.5 + torch.rand_like(lower)], 1)
    bounds[:, 0, ..., :2] += 2  # far enough from it
    bounds[:, 1, ..., :2] += 2
    by, lowest = torch.full((2, 3, 2), widening), torch.tensor([0.0, -torch.inf, 0.0])
    torch.testing.assert_close(as_calibrated(widened(bounds, by, lowest), by, lowest), bounds)
