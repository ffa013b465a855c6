"""Two models compared on the windows that both were scored on."""

from __future__ import annotations

import numpy as np

from stconv.contenders import MODEL, RIVAL
from stconv.errors import ConfigError
from stconv.verification.scores.batch import COMMON, PER_CONTENDER
from stconv.verification.scores.sums import ScoreSums


def pair(ours: ScoreSums, theirs: ScoreSums) -> ScoreSums:
    """Scores of two models as contenders "model" and "rival".

    Args:
        ours: Scores of the model.
        theirs: Scores of its rival.

    Returns:
        The scores of both, on the windows and leads that they share.

    Raises:
        ConfigError: They have different variables, no window in common, or were scored on different cells.
    """
    if ours.variables != theirs.variables:
        raise ConfigError(f"One model forecasts {ours.variables}, the other {theirs.variables}.")
    shared = np.intersect1d(ours.reference_index, theirs.reference_index)
    if not len(shared):
        raise ConfigError("The two models have no window in common: they were tested on different periods.")
    n_leads = min(ours.n_leads, theirs.n_leads)
    first, second = (part.select(np.isin(part.reference_index, shared)) for part in (ours, theirs))
    if not np.allclose(first.of("weight")[..., :n_leads], second.of("weight")[..., :n_leads]):
        raise ConfigError(
            "The two models were scored on different cells: the grid or the missing values differ."
        )
    columns = [part.contenders.index(part.model) for part in (first, second)]
    sums = {key: first.sums[key][:, :, :n_leads] for key in COMMON}
    for key in PER_CONTENDER:
        both = [part.sums[key][:, i, :, :n_leads] for part, i in zip((first, second), columns, strict=True)]
        sums[key] = np.stack(both, axis=1)
    return ScoreSums.from_sums(ours.variables, ours.units, (MODEL, RIVAL), shared, sums, ours.circular)
