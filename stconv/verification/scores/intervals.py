"""Uncertainty of a skill: block bootstrap over windows, and a test of whether one forecast beats another.

Neighboring windows overlap and weather persists, so windows are not independent. Both methods allow for it:
the bootstrap draws whole blocks of windows, and the test uses autocovariances.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from stconv.errors import ConfigError
from stconv.verification.scores.sums import ScoreSums, ratio

MIN_BLOCKS = 3
"""With fewer blocks in a sample the bounds are NaN: too few to estimate a spread."""


def window_stride(reference_index: np.ndarray) -> int:
    """Typical distance between neighboring windows, in time steps."""
    if len(reference_index) < 2:
        return 1
    return max(1, int(np.median(np.diff(reference_index))))


def block_length(reference_index: np.ndarray, span: int) -> int:
    """Number of windows in a block: at least those that share a frame, and at least the cube root of all.

    Args:
        reference_index: Reference index of each window, ascending, (n,).
        span: Time steps from the oldest input to the last lead of a window, inclusive.

    Returns:
        The length, in windows.

    Source:
        Lahiri (2003), Resampling Methods for Dependent Data: blocks of the order of the cube root of n.
    """
    overlapping = math.ceil(span / window_stride(reference_index))
    return max(1, overlapping, math.ceil(len(reference_index) ** (1 / 3)))


def bootstrap_counts(n_windows: int, block: int, n_resamples: int, seed: int) -> np.ndarray:
    """Number of times that each window is drawn in each resample, in circular blocks of neighbors.

    Args:
        n_windows: Number of windows, n.
        block: Length of a block, in windows.
        n_resamples: Number of resamples.
        seed: Seed of the random generator.

    Returns:
        Counts, float64, (resample, window); every row sums to n.

    Source:
        Politis and Romano (1992), A circular block-resampling procedure for stationary data.
    """
    generator = np.random.default_rng(seed)
    n_blocks = math.ceil(n_windows / block)
    starts = generator.integers(0, n_windows, (n_resamples, n_blocks))
    drawn = ((starts[..., None] + np.arange(block)) % n_windows).reshape(n_resamples, -1)[:, :n_windows]
    flat = (drawn + n_windows * np.arange(n_resamples)[:, None]).ravel()
    counts = np.bincount(flat, minlength=n_resamples * n_windows)
    return counts.reshape(n_resamples, n_windows).astype(np.float64)


def rmse_interval(
    sums: ScoreSums, contender: str, counts: np.ndarray, confidence: float = 0.95, weighting: str = "area"
) -> np.ndarray:
    """Bounds of the RMSE, (2, variable, lead): the quantiles of the resampled pooled RMSE."""
    return _quantiles(_resampled_rmse(sums, contender, counts, weighting), confidence)


def skill_interval(
    sums: ScoreSums,
    contender: str,
    reference: str,
    counts: np.ndarray,
    confidence: float = 0.95,
    weighting: str = "area",
) -> np.ndarray:
    """Bounds of the skill, (2, variable, lead); both forecasts are resampled with the same windows."""
    skill = 1 - ratio(
        _resampled_rmse(sums, contender, counts, weighting),
        _resampled_rmse(sums, reference, counts, weighting),
    )
    return _quantiles(skill, confidence)


def diebold_mariano(difference: np.ndarray, h: int) -> tuple[float, float]:
    """Test whether the mean loss of A minus that of B is zero, for h-step forecasts, with Student's t.

    statistic = mean(d) / sqrt(v / n) * sqrt((n + 1 - 2 h + h (h - 1) / n) / n)

    where v is the autocovariance of d summed over lags below h. If that sum is not positive, the lags get
    linearly decreasing weights (Bartlett), which makes it positive.

    Args:
        difference: Loss of A minus loss of B at successive times, (n,); NaN is left out.
        h: Steps from one time to the last that shares its errors; lags from h on count as uncorrelated.

    Returns:
        The statistic (negative: A is better) and its two-sided p value; (0, 1) where A and B are equal, NaN
        where n <= 2 h.

    Source:
        Diebold and Mariano (1995), Comparing predictive accuracy; Harvey, Leybourne and Newbold (1997),
        Testing the equality of prediction mean squared errors, eq. 5 and 9.
        Newey and West (1987) for the weights.
    """
    if h < 1:
        raise ConfigError(f"The horizon of a Diebold-Mariano test is {h}; expected 1 or more.")
    d = difference[np.isfinite(difference)]
    n = len(d)
    if n <= 2 * h:
        return math.nan, math.nan
    if not np.any(d):
        return 0.0, 1.0
    centered = d - d.mean()
    covariance = np.array([centered[k:] @ centered[: n - k] for k in range(h)]) / n
    variance = covariance[0] + 2 * covariance[1:].sum()
    if variance <= 0:
        variance = covariance[0] + 2 * ((1 - np.arange(1, h) / h) @ covariance[1:])
    if variance <= 0:  # a constant difference: its sign is certain
        return math.copysign(math.inf, d.mean()), 0.0
    correction = (n + 1 - 2 * h + h * (h - 1) / n) / n
    statistic = float(d.mean() / math.sqrt(variance / n) * math.sqrt(correction))
    return statistic, float(2 * special.stdtr(n - 1, -abs(statistic)))


def p_values(
    sums: ScoreSums, contender: str, reference: str, span: int, weighting: str = "area"
) -> np.ndarray:
    """Two-sided p values of equal squared errors, (variable, lead).

    The loss of a window is its squared error over the mean weight, so that its mean over windows is the
    pooled mean squared error. Errors count as correlated among windows that overlap.
    """
    weight = sums.of("weight", None, weighting)
    difference = sums.of("squared_error", contender, weighting) - sums.of(
        "squared_error", reference, weighting
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = np.where(weight > 0, difference / weight.mean(0), np.nan)
    h = max(1, math.ceil(span / window_stride(sums.reference_index)))
    result = np.empty(weight.shape[1:])
    for variable, lead in np.ndindex(*result.shape):
        result[variable, lead] = diebold_mariano(difference[:, variable, lead], h)[1]
    return result


def _resampled_rmse(sums: ScoreSums, contender: str, counts: np.ndarray, weighting: str) -> np.ndarray:
    squared = np.tensordot(counts, sums.of("squared_error", contender, weighting), 1)
    return np.sqrt(ratio(squared, np.tensordot(counts, sums.of("weight", None, weighting), 1)))


def _quantiles(resampled: np.ndarray, confidence: float) -> np.ndarray:
    tail = (1 - confidence) / 2
    return np.quantile(resampled, [tail, 1 - tail], axis=0)
