"""One forecast next to the observed field, for pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stconv.verification.scores.sums import ScoreSums


@dataclass(frozen=True)
class Case:
    """The fields of one test window.

    Attributes:
        truth: (variable, leads, lat, lon), physical units, NaN is missing.
        forecast: Shaped like the truth.
        reference_time: Time of the newest input frame, as text.
        valid_times: Time of each lead, as text.
        lat: Coordinate of the rows.
        lon: Coordinate of the columns.
        geographic: Whether the coordinates are degrees.
    """

    truth: np.ndarray
    forecast: np.ndarray
    reference_time: str
    valid_times: tuple[str, ...]
    lat: np.ndarray
    lon: np.ndarray
    geographic: bool = True


def median_window(sums: ScoreSums) -> int:
    """Reference index of the window with the median error.

    Variables count equally: each error is divided by the pooled error.
    """
    error, weight = (
        sums.of(key, who).sum(2) for key, who in (("squared_error", sums.model), ("weight", None))
    )
    pooled = sums.pooled_rmse(sums.model) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(weight > 0, error / weight / pooled, 0)
        relative = ratio.sum(axis=1) / (weight > 0).sum(axis=1)  # NaN where a window has no known truth
    order = np.argsort(np.nan_to_num(relative, nan=np.inf), kind="stable")
    return int(sums.reference_index[order[np.isfinite(relative).sum() // 2]])
