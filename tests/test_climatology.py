"""Harmonic climatology against known coefficients, NumPy least squares and plain means."""

import cftime
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stconv.datasets.preparation.climatology import HarmonicClimatology
from stconv.datasets.preparation.harmonics import harmonic_basis, harmonic_values, supported_terms
from stconv.datasets.source.cycles import cycles as cycles_of
from stconv.errors import ShapeError

YEAR_STEPS = 1461


def six_hourly(n_steps):
    days = np.arange(n_steps) * 0.25
    return np.stack([days % 1.0, (days / 365.25) % 1.0], axis=1)


def evaluate(climatology, cycles):
    return climatology(torch.from_numpy(cycles).float()[None])[0].numpy()


def test_recovers_a_known_cycle():
    cycles = six_hourly(YEAR_STEPS)
    wave = 280 + 3 * np.sin(2 * np.pi * cycles[:, 0]) - 7 * np.cos(4 * np.pi * cycles[:, 1] + 0.4)
    values = np.broadcast_to(wave[:, None, None, None], (len(wave), 2, 3, 4)).astype(np.float32)
    fitted = evaluate(HarmonicClimatology.fit(values, cycles), cycles)
    assert fitted.shape == (2, len(wave), 3, 4)
    np.testing.assert_allclose(fitted[1, :, 2, 3], wave, atol=2e-4)


def test_equals_least_squares_of_numpy():
    cycles = six_hourly(YEAR_STEPS)
    values = np.random.default_rng(0).normal(size=(YEAR_STEPS, 1, 2, 3)).astype(np.float32)
    day, year = 2 * np.pi * cycles[:, 0], 2 * np.pi * cycles[:, 1]
    one = np.ones(len(day))
    design = [
        one,
        np.cos(year),
        np.sin(year),
        np.cos(2 * year),
        np.sin(2 * year),
        np.cos(day),
        np.sin(day),
        np.cos(2 * day),
    ]
    design = np.stack(design, axis=1)
    solution = np.linalg.lstsq(design, values.reshape(YEAR_STEPS, -1).astype(float), rcond=None)[0]
    fitted = evaluate(HarmonicClimatology.fit(values, cycles), cycles)
    np.testing.assert_allclose(fitted[0].reshape(YEAR_STEPS, -1), design @ solution, atol=1e-5)


def test_hours_of_a_short_period_are_their_means():
    """Forty days support no yearly term; three daily terms and the mean are the means of the four hours."""
    cycles = six_hourly(160)
    values = np.random.default_rng(1).normal(size=(160, 1, 1, 2)).astype(np.float32)
    climatology = HarmonicClimatology.fit(values, cycles)
    assert len(climatology.terms) == 4
    means = values.reshape(40, 4, 2).mean(axis=0)
    np.testing.assert_allclose(evaluate(climatology, cycles[:4])[0, :, 0], means, atol=1e-6)


@pytest.mark.parametrize(
    ("cycles", "n_year", "n_day"),
    [
        (six_hourly(YEAR_STEPS), 4, 3),
        (six_hourly(1200), 2, 3),  # 300 days: one yearly harmonic
        (six_hourly(160), 0, 3),
        (np.stack([np.zeros(48), (np.arange(48) % 12) / 12 + 0.04], axis=1), 4, 0),  # monthly
        (np.stack([np.zeros(30), np.full(30, 0.5)], axis=1), 0, 0),  # yearly
        (np.stack([np.arange(240) % 24 / 24, np.arange(240) / 8766], axis=1), 0, 8),  # ten days, hourly
        (six_hourly(2), 0, 0),
    ],
)
def test_only_supported_harmonics_are_used(cycles, n_year, n_day):
    terms = supported_terms(cycles)
    assert terms[0] == (0, 0, 0)
    assert sum(k > 0 for _, k, _ in terms) == n_year
    assert sum(j > 0 for j, _, _ in terms) == n_day


def test_missing_steps_do_not_move_a_known_cycle():
    cycles = six_hourly(YEAR_STEPS)
    wave = 280 + 3 * np.sin(2 * np.pi * cycles[:, 0]) - 7 * np.cos(2 * np.pi * cycles[:, 1])
    values = np.repeat(wave[:, None], 4, axis=1).reshape(-1, 1, 2, 2).astype(np.float32)
    values[np.random.default_rng(2).random(values.shape) < 0.3] = np.nan
    values[:, 0, 1, 1] = np.nan
    values[5:, 0, 1, 0] = np.nan
    fitted = evaluate(HarmonicClimatology.fit(values, cycles), cycles)[0]
    np.testing.assert_allclose(fitted[:, 0, 0], wave, atol=0.05)
    assert np.isnan(fitted[:, 1, 1]).all(), "a cell without a value has no climatology"
    np.testing.assert_allclose(fitted[:, 1, 0], np.nanmean(values[:5, 0, 1, 0]), rtol=1e-6)


def test_wrong_coefficients_are_refused():
    with pytest.raises(ShapeError, match=r"expected \(term, channel, lat, lon\) with 1 terms"):
        HarmonicClimatology([(0, 0, 0)], torch.zeros(2, 1, 3, 3))


def test_basis_in_numpy_and_in_torch_are_the_same() -> None:
    times = np.random.default_rng(0).uniform(size=(40, 2))
    terms = [(0, 0, 0), (0, 1, 0), (0, 1, 1), (2, 0, 1)]
    module = HarmonicClimatology(terms, torch.zeros(4, 1, 2, 2))
    np.testing.assert_allclose(
        module.basis(torch.from_numpy(times)), harmonic_basis(times, terms), atol=1e-12
    )


@given(st.data())
def test_climatology_in_numpy_and_in_torch_are_the_same(data) -> None:
    """`inspect`, which loads no torch, and a test: any terms, channels and cells, some without a value."""
    weekly = data.draw(st.booleans())
    term = st.tuples(*[st.integers(0, 4)] * (3 if weekly else 2), st.integers(0, 1))
    terms = [(0,) * (4 if weekly else 3), *data.draw(st.lists(term, max_size=4))]
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    coefficients = rng.normal(size=(len(terms), 2, 3, 2)).astype(np.float32)
    coefficients[:, rng.random((2, 3, 2)) < 0.2] = np.nan
    cycles = rng.uniform(size=(5, 3)).astype(np.float32)
    module = HarmonicClimatology(terms, torch.from_numpy(coefficients))
    found = module(torch.from_numpy(cycles)[None])[0].transpose(0, 1)
    np.testing.assert_allclose(found, harmonic_values(cycles, terms, coefficients), atol=1e-4)


def test_weekly_cycle_is_the_mean_of_each_hour_of_the_week():
    """Against plain means by weekday and hour; a cell with missing steps gets nearly the same."""
    times = np.datetime64("2021-03-01T00") + np.arange(24 * 7 * 8) * np.timedelta64(1, "h")
    hours = np.arange(times.size)
    rng = np.random.default_rng(4)
    profile = np.convolve(rng.normal(size=168), np.ones(6) / 6, mode="same")
    values = np.stack([profile[hours % 168] + 0.01 * rng.normal(size=hours.size) for _ in range(2)], axis=1)
    values[rng.random(hours.size) < 0.3, 1] = np.nan
    cycles = cycles_of(times)
    np.testing.assert_allclose(cycles[:, 2] * 168, hours % 168, atol=1e-9)
    climatology = HarmonicClimatology.fit(values.reshape(-1, 1, 1, 2).astype(np.float32), cycles, weekly=True)
    assert len(climatology.terms) == 119
    assert len(climatology.terms[0]) == 4
    fitted = evaluate(climatology, cycles[:168])[0, :, 0]
    truth = values[:, 0].reshape(8, 168).mean(axis=0)
    assert np.abs(fitted[:, 0] - truth).max() < 0.5 * np.abs(profile).max()
    assert np.sqrt(np.mean((fitted - truth[:, None]) ** 2, axis=0)).max() < 0.25 * profile.std()


def test_days_of_the_week_in_any_calendar():
    noon = [cftime.datetime(2021, 3, 3, 12, calendar=c) for c in ("standard", "proleptic_gregorian")]
    expected = (2 + 0.5) / 7  # a Wednesday
    assert cycles_of(np.array(noon))[:, 2] == pytest.approx([expected, expected])
    assert cycles_of(np.array(["2021-03-03T12"], "datetime64[s]"))[0, 2] == pytest.approx(expected)
