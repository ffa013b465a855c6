"""The gate before the champion: who wins on the same windows, over all leads, with significance."""

import re

import numpy as np
import pytest

from stconv.tracking.registry import _contest
from stconv.verification import ScoreSums, Verification


def fields(noise, n):
    truth = np.random.default_rng(9).normal(size=(n, 1, 2, 4, 4))
    reference = truth + np.random.default_rng(8).normal(size=truth.shape)
    return truth, reference, truth + noise * np.random.default_rng(0).normal(size=truth.shape)


def result(noise, n=80):
    truth, reference, model = fields(noise, n)
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
    truth, reference, model = fields(noise, n)
    ours, theirs = (np.sqrt(np.mean((field - truth) ** 2)) for field in (model, reference))
    assert f"RMSE of air {ours:.4g} K against {theirs:.4g} of" in sentence
    assert f"skill {100 * (1 - ours / theirs):+.1f} %" in sentence
    interval = re.search(r"95% interval ([+-][\d.]+) to ([+-][\d.]+)", sentence)
    assert (interval is not None) == (n == 80)
    if interval:
        low, high = map(float, interval.groups())
        assert low < 100 * (1 - ours / theirs) < high
        assert won == (low > 0), "beyond doubt: the whole interval is above zero"
        assert ("worse" in sentence) == (high < 0)
