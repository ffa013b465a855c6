"""Scores of the probability of an event, per class and lead: Brier, area under the ROC curve, CSI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import xarray as xr
from rich.table import Table

from stconv.contenders import BASELINES, MODEL
from stconv.verification.scores.batch import Field
from stconv.verification.scores.calibration import Calibration
from stconv.verification.scores.sums import ratio


class EventScores:
    """Probabilities and outcomes of every window, all kept so that the curves are exact.

    Windows added twice (on several ranks) count once.

    Args:
        names: Names of the event, or of its classes.
        n_leads: Number of leads.
    """

    def __init__(self, names: Sequence[str], n_leads: int) -> None:
        self.names, self.n_leads = tuple(names), n_leads
        self._windows: dict[int, dict[str, np.ndarray]] = {}

    def add(self, happened: Field, forecasts: Mapping[str, Field], reference_index: Field) -> None:
        """Add a batch of windows.

        Args:
            happened: 1 or 0, NaN where not known, (batch, class, leads, 1, 1).
            forecasts: Probabilities by contender, of the same shape.
            reference_index: Reference index of each window, (batch,).
        """
        fields = {
            name: torch.as_tensor(field).detach().cpu().double().numpy()[..., 0, 0]
            for name, field in {"happened": happened, **forecasts}.items()
        }
        for row, index in enumerate(torch.as_tensor(reference_index).tolist()):
            self._windows[index] = {name: values[row] for name, values in fields.items()}

    def merge(self, *others: EventScores) -> EventScores:
        """Merge with the windows of others."""
        merged = EventScores(self.names, self.n_leads)
        for part in (self, *others):
            merged._windows |= part._windows
        return merged

    def to_dataset(self) -> xr.Dataset:
        """The scores, by (variable, lead): a variable is the event or one of its classes.

        Returns:
            `count` of windows with a known outcome; `frequency` of the event; `brier` of the model,
            `brier_persistence`, `brier_climatology`; `brier_skill_persistence` and `brier_skill_climatology`,
            1 - B / B of the reference; `auc`; `csi` and `csi_probability`, the best critical success index
            and the probability threshold of its warnings, both chosen on these windows and so an upper bound.
            All contenders are scored on the windows that all of them can forecast.
        """
        windows = [self._windows[index] for index in sorted(self._windows)]
        fields = {name: np.stack([window[name] for window in windows]) for name in windows[0]}
        happened = fields.pop("happened")
        known = np.isfinite(happened) & np.all([np.isfinite(field) for field in fields.values()], axis=0)
        shape = (len(self.names), self.n_leads)
        scores = {"count": known.sum(0).astype(float), "frequency": _mean(happened, known)}
        for name, field in fields.items():
            label = "brier" if name == MODEL else f"brier_{name}"
            scores[label] = _mean((field - happened) ** 2, known)
        for name in BASELINES:
            if name in fields:
                scores[f"brier_skill_{name}"] = 1 - ratio(scores["brier"], scores[f"brier_{name}"])
        for name in ("auc", "csi", "csi_probability"):
            scores[name] = np.full(shape, np.nan)
        for at in np.ndindex(shape):
            p, o = (field[:, *at][known[:, *at]] for field in (fields[MODEL], happened))
            scores["auc"][at] = area_under_roc(p, o)
            scores["csi"][at], scores["csi_probability"][at] = best_csi(p, o)
        return xr.Dataset(
            {name: (("variable", "lead"), values) for name, values in scores.items()},
            {"variable": list(self.names), "lead": np.arange(1, self.n_leads + 1)},
        )

    def to_datasets(self) -> dict[str, xr.Dataset]:
        """The entries of `Verification.diagnostics`: "event", and the reliability as "calibration"."""
        calibration = Calibration(self.names, self.n_leads)
        for window in self._windows.values():
            happened, chance = (window[name][None, :, :, None, None] for name in ("happened", MODEL))
            calibration.add_probability(happened, chance)
        return {"event": self.to_dataset(), "calibration": calibration.to_dataset()}


def area_under_roc(probability: np.ndarray, happened: np.ndarray) -> float:
    """Share of pairs in which the window with the event has the higher probability; ties count half.

    NaN if the event always happened, or never.

    Source:
        Mason and Graham (2002), QJRMS 128, 2145-2166: the area as the Mann-Whitney statistic.
    """
    n_events = int(happened.sum())
    n_others = len(happened) - n_events
    if not n_events or not n_others:
        return float("nan")
    _, inverse, counts = np.unique(probability, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[happened == 1].sum() - n_events * (n_events + 1) / 2) / (n_events * n_others))


def best_csi(probability: np.ndarray, happened: np.ndarray) -> tuple[float, float]:
    """Best critical success index, hits / (hits + misses + false alarms), and its probability threshold.

    NaN if the event never happened.
    """
    if not happened.any():
        return float("nan"), float("nan")
    order = np.argsort(-probability, kind="stable")
    p, hits = probability[order], np.cumsum(happened[order])
    last = np.append(p[:-1] != p[1:], True)  # a warning is given at a value and above, ties included
    csi = hits / (happened.sum() + np.arange(1, len(p) + 1) - hits)
    best = int(np.argmax(np.where(last, csi, -1)))
    return float(csi[best]), float(p[best])


def event_table(scores: xr.Dataset, labels: Sequence[str]) -> Table:
    """Format the scores for a terminal, with a block of rows for each event or class.

    Args:
        scores: Result of `EventScores.to_dataset`.
        labels: Labels of the leads.
    """
    table = Table(box=None, title="Probability of the event", title_justify="left")
    table.add_column("lead")
    for label in labels:
        table.add_column(label, justify="right")
    rows = {
        "frequency": ("frequency", "{:.1%}"),
        "Brier score": ("brier", "{:.4f}"),
        "Brier skill vs persistence": ("brier_skill_persistence", "{:+.0%}"),
        "Brier skill vs climatology": ("brier_skill_climatology", "{:+.0%}"),
        "area under ROC": ("auc", "{:.3f}"),
        "best CSI": ("csi", "{:.2f}"),
        "  warning from": ("csi_probability", "{:.2f}"),
    }
    for name in scores["variable"].values:
        if scores.sizes["variable"] > 1:
            table.add_row(str(name))
        for title, (key, form) in rows.items():
            if key in scores:
                values = scores[key].sel(variable=name).values
                table.add_row(title, *("-" if np.isnan(v) else form.format(v) for v in values))
    return table


def _mean(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    return ratio(np.where(known, values, 0.0).sum(0), known.sum(0).astype(float))
