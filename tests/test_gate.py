"""The gate before the champion: who wins on the same windows, over all leads, with significance."""

import numpy as np
import pytest

from stconv.tracking.registry import _contest
from stconv.verification import ScoreSums, Verification


def result(noise, n=80):
    truth = np.random.default_rng(9).normal(size=(n, 1, 2, 4, 4))
    reference = truth + np.random.default_rng(8).normal(size=truth.shape)
    model = truth + noise * np.random.default_rng(0).normal(size=truth.shape)
    sums = ScoreSums(["air"], 2, ["K"])
    sums.add(truth, {"model": model, "persistence": reference}, None, np.arange(n))
    return Verification(sums, span=4)


@pytest.mark.parametrize(
    ("noise", "n", "won", "words"),
    [
        (0.5, 80, True, "skill +5"),
        (1.5, 80, False, "; that is worse"),
        (1.0, 80, False, "; not significantly better"),
        (0.5, 8, False, "too few windows for an interval; not significantly better"),
    ],
)
def test_only_a_significant_win_passes(noise, n, won, words):
    verification = result(noise, n)
    ((passed, sentence),) = _contest(verification, "persistence", "the champion, version 3")
    assert passed == won
    assert words in sentence
    assert f"of the champion, version 3, {n} windows" in sentence
    assert f"RMSE of air {verification.sums.pooled_rmse('model')[0]:.4g} K" in sentence
    assert ("95% interval" in sentence) == (n == 80)
