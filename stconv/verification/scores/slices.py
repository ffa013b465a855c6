"""Scores of parts of a test (regions and seasons), each with its own verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from stconv.verification.scores.scoring import SEASONS
from stconv.verification.scores.sums import ScoreSums

if TYPE_CHECKING:
    from stconv.verification.scores.result import Verification


def seasons(verification: Verification, months: Sequence[int]) -> dict[str, ScoreSums]:
    """The windows of each season of the test, if it has more than one.

    Args:
        verification: Scores of all windows.
        months: Month, 1 to 12, of each window's first lead.
    """
    month = np.asarray(months)
    masks = {name: np.isin(month, numbers) for name, numbers in SEASONS.items()}
    present = {name: mask for name, mask in masks.items() if mask.any()}
    return (
        {name: verification.sums.select(mask) for name, mask in present.items()} if len(present) > 1 else {}
    )


def slice_scores(whole: Verification, parts: Mapping[str, ScoreSums]) -> xr.Dataset:
    """Score parts of a test.

    Args:
        whole: Scores of the whole test.
        parts: Sums by name, with the contenders of the whole.

    Returns:
        `rmse` by (slice, contender, variable, lead); `skill`, `skill_low`, `skill_high` by (slice, reference,
        variable, lead), bounds NaN where there are too few windows, and `outcome` ("beats", ...) likewise;
        `n_windows` by slice.
    """
    judged = {name: replace(whole, sums=sums, diagnostics={}) for name, sums in parts.items()}
    contenders, references = whole.sums.contenders, whole.sums.references

    def of_references(values: list[list[np.ndarray]]) -> tuple[tuple[str, ...], np.ndarray]:
        return ("slice", "reference", "variable", "lead"), np.array(values)

    intervals = [[part.skill_interval(name) for name in references] for part in judged.values()]
    return xr.Dataset(
        {
            "rmse": (
                ("slice", "contender", "variable", "lead"),
                np.array([[part.sums.rmse(name) for name in contenders] for part in judged.values()]),
            ),
            "skill": of_references(
                [[part.sums.skill(whole.sums.model, name) for name in references] for part in judged.values()]
            ),
            "skill_low": of_references([[bounds[0] for bounds in part] for part in intervals]),
            "skill_high": of_references([[bounds[1] for bounds in part] for part in intervals]),
            "outcome": of_references(
                [[part.outcome(name) for name in references] for part in judged.values()]
            ),
            "n_windows": ("slice", [part.sums.n_windows for part in judged.values()]),
        },
        coords={
            "slice": list(judged),
            "contender": list(contenders),
            "reference": list(references),
            "variable": list(whole.sums.variables),
            "lead": np.arange(1, whole.sums.n_leads + 1),
        },
    )
