"""The interval score of `benchmarks.skewed` against the mean pinball loss of its five quantiles."""

import numpy as np
import pytest

from benchmarks.skewed import interval_score


def test_interval_score_is_twice_the_mean_pinball_loss():
    """Bracher et al. (2021), eq. 3, of a median and two central bands."""
    rng = np.random.default_rng(0)
    truth, quantiles = rng.normal(size=500), {0.025: -2.0, 0.1: -1.2, 0.5: 0.1, 0.9: 1.4, 0.975: 2.1}
    pinball = [
        np.where(truth > q, p * (truth - q), (1 - p) * (q - truth)).mean() for p, q in quantiles.items()
    ]
    scores = []
    for level, low, high in ((0.8, -1.2, 1.4), (0.95, -2.0, 2.1)):
        outside = np.maximum(low - truth, 0) + np.maximum(truth - high, 0)
        scores.append((high - low + 2 / (1 - level) * outside).mean())
    found = interval_score(np.array([np.abs(truth - 0.1).mean()]), np.array([scores]))
    assert found[0] == pytest.approx(2 * np.mean(pinball))
