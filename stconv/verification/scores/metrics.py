"""Scores as the names and numbers of an experiment's log, such as `test_rmse_lead_1`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from stconv.contenders import MODEL
from stconv.verification.scores.sums import ScoreSums


def score_metrics(sums: ScoreSums, stage: str, detailed: bool = False) -> dict[str, float]:
    """Name scores for a log: `val_rmse_lead_1`, `val_skill_persistence`, ...

    With several target variables their names come before the lead (`val_rmse_t2m_lead_1`); `val_rmse` is the
    root mean square over variables as they are, and only for a single variable a quantity with a unit.
    Directions are left out of the means over variables, which their sine and cosine enter.

    Args:
        sums: Pooled sums.
        stage: Prefix of the names, such as "test".
        detailed: Also MAE, bias, the skill per lead, and the RMSE of the references.

    Returns:
        Finite scores by name.
    """
    straight = [name not in sums.circular for name in sums.variables]
    metrics = {f"{stage}_rmse": float(np.sqrt(np.mean(sums.pooled_rmse(MODEL)[straight] ** 2)))}
    fields: dict[str, np.ndarray] = {"rmse": sums.rmse(MODEL)}
    for baseline in sums.references:
        short = baseline.replace(" ", "_")
        metrics[f"{stage}_skill_{short}"] = float(np.mean(sums.pooled_skill(MODEL, baseline)[straight]))
        if detailed:
            fields[f"skill_{short}"] = sums.skill(MODEL, baseline)
            fields[f"{short}_rmse"] = sums.rmse(baseline)
    if detailed:
        fields |= {"mae": sums.mae(MODEL), "bias": sums.bias(MODEL)}
    return _finite(metrics | _per_lead(fields, sums.variables, stage))


def calibration_metrics(calibration: xr.Dataset, stage: str) -> dict[str, float]:
    """Name coverage and CRPS for a log: `test_coverage_80_lead_1`, `test_crps_lead_1`; see `score_metrics`.

    Args:
        calibration: Result of `Calibration.to_dataset`; coverage is logged in percent, and that of bands that
            do not adapt as `fixed_coverage`.
        stage: Prefix of the names, such as "test".
    """
    fields = {
        f"coverage_{round(100 * float(level))}": 100 * calibration["coverage"].sel(level=level).values
        for level in calibration.get("level", [])
    }
    if "fixed_coverage" in calibration:
        fields |= {
            f"fixed_coverage_{round(100 * float(level))}": 100
            * calibration["fixed_coverage"].sel(level=level).values
            for level in calibration["level"]
        }
    if "crps" in calibration:
        fields["crps"] = calibration["crps"].values
    return _finite(_per_lead(fields, list(calibration["variable"].values), stage))


def event_metrics(scores: xr.Dataset, stage: str) -> dict[str, float]:
    """Name the scores of an event for a log, `test_brier`, `test_brier_skill_climatology`, `test_auc_lead_1`.

    Args:
        scores: Result of `EventScores.to_dataset`.
        stage: Prefix of the names, such as "test".

    Returns:
        Finite means over leads, and values per lead, by name.
    """
    fields = {str(name): values.values for name, values in scores.data_vars.items()}
    variables = list(scores["variable"].values)
    means = {
        name: float(np.mean(row))
        for field, values in fields.items()
        for name, row in _named(field, values, variables, stage)
    }
    return _finite(means | _per_lead(fields, variables, stage))


def _per_lead(fields: Mapping[str, np.ndarray], variables: Sequence[str], stage: str) -> dict[str, float]:
    """Name every value of fields with the dimensions (variable, lead)."""
    return {
        f"{name}_lead_{lead}": float(value)
        for field, values in fields.items()
        for name, row in _named(field, values, variables, stage)
        for lead, value in enumerate(row, 1)
    }


def _named(
    field: str, values: np.ndarray, variables: Sequence[str], stage: str
) -> list[tuple[str, np.ndarray]]:
    """The rows of a field with their names; a single variable is not named."""
    names = [f"{stage}_{field}" + (f"_{variable}" if len(variables) > 1 else "") for variable in variables]
    return list(zip(names, values, strict=True))


def _finite(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if np.isfinite(value)}
