"""The result of a verification: scores per lead, their intervals, and the comparison with the references."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from stconv.errors import FileError
from stconv.verification.scores.batch import WEIGHTINGS
from stconv.verification.scores.intervals import (
    MIN_BLOCKS,
    block_length,
    bootstrap_counts,
    p_values,
    rmse_interval,
    skill_interval,
)
from stconv.verification.scores.sums import ScoreSums
from stconv.verification.scores.verdict import BEATS, LOSES, UNDECIDED, verdict_sentences

GROUP = "diagnostics"
"""Group of the NetCDF file that holds a group for each diagnostic."""
SUSPICIOUS = 0.2
"""Share of the best reference's error at the first lead; a smaller error is reported as a possible leak."""
MIN_SKILL = 1e-4
"""A smaller skill is single-precision rounding, however significant."""


@dataclass(frozen=True)
class Verification:
    """Scores of one model on one period of one data set.

    Attributes:
        sums: Pooled sums of the model and its references, on the same windows and cells.
        model: Name of the model.
        data: Name of the data.
        period: First and last scored time, as text; empty if not known.
        lead_labels: Time of each lead ("6 h"); the number of the lead if empty.
        span: Time steps from the oldest input to the last lead of a window, inclusive.
        confidence: Level of intervals and tests.
        n_resamples: Resamples of the bootstrap.
        seed: Seed of the bootstrap.
        diagnostics: Further scores by name, with dimensions `variable` and `lead`. "calibration"
            is the result of `scores.calibration.Calibration.to_dataset`, which the report shows
            in a section on uncertainty.
    """

    sums: ScoreSums
    model: str = "model"
    data: str = "data"
    period: tuple[str, str] | tuple[()] = ()
    lead_labels: tuple[str, ...] = ()
    span: int = 1
    confidence: float = 0.95
    n_resamples: int = 1000
    seed: int = 0
    diagnostics: Mapping[str, xr.Dataset] = field(default_factory=dict)

    @property
    def labels(self) -> tuple[str, ...]:
        """Label of each lead."""
        return self.lead_labels or tuple(str(lead) for lead in range(1, self.sums.n_leads + 1))

    @property
    def title(self) -> str:
        """Model, data, number of windows and period in one line."""
        period = f", {self.period[0]} to {self.period[1]}" if self.period else ""
        return f"{self.model} on {self.data}, {self.sums.n_windows} windows{period}"

    @property
    def block(self) -> int:
        """Number of windows in a block of the bootstrap."""
        return block_length(self.sums.reference_index, max(self.span, self.sums.n_leads))

    @cached_property
    def _counts(self) -> np.ndarray | None:
        if self.sums.n_windows < MIN_BLOCKS * self.block:
            return None
        return bootstrap_counts(self.sums.n_windows, self.block, self.n_resamples, self.seed)

    def rmse_interval(self, contender: str, weighting: str = "area") -> np.ndarray:
        """Bounds of the RMSE, (2, variable, lead); NaN if there are too few windows."""
        if self._counts is None:
            return np.full((2, len(self.sums.variables), self.sums.n_leads), np.nan)
        return rmse_interval(self.sums, contender, self._counts, self.confidence, weighting)

    def skill_interval(self, reference: str, weighting: str = "area") -> np.ndarray:
        """Bounds of the model's skill, (2, variable, lead); NaN if there are too few windows."""
        if self._counts is None:
            return np.full((2, len(self.sums.variables), self.sums.n_leads), np.nan)
        return skill_interval(self.sums, self.sums.model, reference, self._counts, self.confidence, weighting)

    def outcome(self, reference: str, weighting: str = "area") -> np.ndarray:
        """Say "beats", "loses to" or "undecided" of the model against a reference: str, (variable, lead).

        An outcome is decided if the bootstrap interval of the skill and the Diebold-Mariano test agree, and
        the skill is more than rounding.
        """
        low, high = self.skill_interval(reference, weighting)
        span = max(self.span, self.sums.n_leads)
        significant = p_values(self.sums, self.sums.model, reference, span, weighting) < 1 - self.confidence
        return np.where(
            significant & (low > MIN_SKILL),
            BEATS,
            np.where(significant & (high < -MIN_SKILL), LOSES, UNDECIDED),
        )

    def overall(self) -> str:
        """Say "beats" (every reference at every lead), "loses to" (any at any lead) or "undecided"."""
        outcomes = [self.outcome(name) for name in self.sums.references]
        if outcomes and all((outcome == BEATS).all() for outcome in outcomes):
            return BEATS
        return LOSES if any((outcome == LOSES).any() for outcome in outcomes) else UNDECIDED

    def beats(self, reference: str, weighting: str = "area") -> np.ndarray:
        """Whether the model beats a reference, (variable, lead) of bool."""
        return self.outcome(reference, weighting) == BEATS

    def diagnostic(self, key: str, variable: int) -> xr.Dataset | None:
        """Return a diagnostic of one variable; None without it, as for a direction, which only has errors."""
        ds, name = self.diagnostics.get(key), self.sums.variables[variable]
        names = [] if ds is None else [str(known) for known in ds["variable"].values]
        return ds.isel(variable=names.index(name)) if ds is not None and name in names else None

    def over_leads(self) -> Verification:
        """The same verification with all leads pooled into one."""
        span = max(self.span, self.sums.n_leads)
        labels = (f"{self.labels[0]} to {self.labels[-1]}",)
        return replace(self, sums=self.sums.over_leads(), span=span, lead_labels=labels, diagnostics={})

    def verdict(self) -> str:
        """The leads at which the model beats each reference, in words."""
        sums = self.sums
        return verdict_sentences(
            sums.variables,
            {name: self.outcome(name) for name in sums.references},
            self.labels,
            {name: sums.skill(sums.model, name) for name in sums.references},
            sums.n_windows,
        )

    def warnings(self) -> list[str]:
        """Warnings about the scores, one sentence each."""
        sums, found = self.sums, []
        if self._counts is None:
            found.append(
                f"{sums.n_windows} test windows are too few to say how sure the scores are: nothing "
                f"counts as decided (at least {MIN_BLOCKS * self.block} are needed)."
            )
        for i, name in enumerate(sums.variables):
            best = min((sums.rmse(reference)[i, 0] for reference in sums.references), default=np.nan)
            if sums.rmse(sums.model)[i, 0] < SUSPICIOUS * best:
                found.append(
                    f"{name}: the error at the first lead is less than {SUSPICIOUS:.0%} of that of the "
                    "best reference, which is too good to be believed unseen: look for a leak, such as "
                    "an input that holds the future, or test data that were trained on."
                )
        return found

    def to_json(self) -> dict[str, Any]:
        """All scores as plain values; unknown ones are None."""
        sums = self.sums
        return {
            "model": self.model,
            "data": self.data,
            "period": list(self.period),
            "n_windows": sums.n_windows,
            "lead_labels": list(self.labels),
            "confidence": self.confidence,
            "block_windows": self.block,
            "verdict": self.verdict(),
            "warnings": self.warnings(),
            "variables": {
                name: {
                    "units": sums.units[name],
                    "left_out_share": _plain(sums.left_out_share()[i]),
                    **{w: self._variable_json(i, w) for w in WEIGHTINGS},
                }
                for i, name in enumerate(sums.variables)
            },
            "diagnostics": {name: _dataset_json(ds) for name, ds in self.diagnostics.items()},
        }

    def _variable_json(self, variable: int, weighting: str) -> dict[str, Any]:
        sums, scores, against = self.sums, {}, {}
        for name in sums.contenders:
            low, high = self.rmse_interval(name, weighting)[:, variable]
            scores[name] = {
                "pooled_rmse": _plain(sums.pooled_rmse(name, weighting)[variable]),
                "pooled_mae": _plain(sums.pooled_mae(name, weighting)[variable]),
                "rmse": _plain(sums.rmse(name, weighting)[variable]),
                "rmse_low": _plain(low),
                "rmse_high": _plain(high),
                "mae": _plain(sums.mae(name, weighting)[variable]),
                "bias": _plain(sums.bias(name, weighting)[variable]),
                "acc": _plain(sums.acc(name, weighting)[variable]),
            }
        span = max(self.span, sums.n_leads)
        for name in sums.references:
            low, high = self.skill_interval(name, weighting)[:, variable]
            against[name] = {
                "pooled_skill": _plain(sums.pooled_skill(sums.model, name, weighting)[variable]),
                "skill": _plain(sums.skill(sums.model, name, weighting)[variable]),
                "skill_low": _plain(low),
                "skill_high": _plain(high),
                "p_value": _plain(p_values(sums, sums.model, name, span, weighting)[variable]),
                "outcome": self.outcome(name, weighting)[variable].tolist(),
            }
        return {"scores": scores, "against": against}

    def to_netcdf(self, path: str | Path) -> Path:
        """Write sums and description to a NetCDF file that `from_netcdf` reads back."""
        ds = self.sums.to_dataset()
        description = {
            "model": self.model,
            "data": self.data,
            "period": list(self.period),
            "lead_labels": list(self.lead_labels),
            "span": self.span,
            "confidence": self.confidence,
            "n_resamples": self.n_resamples,
            "seed": self.seed,
            "diagnostics": list(self.diagnostics),
        }
        ds.attrs = {"title": self.title, "verification": json.dumps(description)}
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        ds.to_netcdf(path, engine="h5netcdf")
        for name, diagnostic in self.diagnostics.items():
            diagnostic.to_netcdf(path, mode="a", group=f"{GROUP}/{name}", engine="h5netcdf")
        return path

    @classmethod
    def from_netcdf(cls, path: str | Path) -> Verification:
        """Read back what `to_netcdf` wrote.

        Raises:
            FileError: There is no such file, or it holds something else.
        """
        try:
            with xr.open_dataset(path, engine="h5netcdf") as ds:
                sums = ScoreSums.from_dataset(ds.load())
                description = json.loads(ds.attrs["verification"])
            diagnostics = {}
            for name in description.pop("diagnostics", ()):
                with xr.open_dataset(path, engine="h5netcdf", group=f"{GROUP}/{name}") as ds:
                    diagnostics[name] = ds.load()
        except (OSError, KeyError, ValueError) as error:
            raise FileError(
                f"{path} holds no verification ({type(error).__name__}: {error}); expected the scores.nc "
                "that `stconv evaluate` writes."
            ) from error
        for key in ("period", "lead_labels"):
            description[key] = tuple(description[key])
        return cls(sums, **description, diagnostics=diagnostics)


def _dataset_json(ds: xr.Dataset) -> dict[str, Any]:
    """Dimensions and values of everything but maps."""
    names = [*ds.coords, *(name for name in ds.data_vars if not {"row", "column"} & set(ds[name].dims))]
    return {
        str(name): {"dims": [str(dim) for dim in ds[name].dims], "values": _plain(ds[name].values)}
        for name in names
    }


def _plain(values: Any) -> Any:
    if np.ndim(values):
        return [_plain(value) for value in values]
    if isinstance(values, str):
        return str(values)
    return float(values) if math.isfinite(values) else None
