"""The page of metrics: names that MLflow records, and names that /metrics reports."""

from __future__ import annotations

import re

from reference_pages.markdown import code, table, written_by

RECORDED = {
    "train_loss": "loss of the training, mean over the epoch",
    "train_loss_step": "loss of single training steps",
    "val_loss": "loss of all values of the validation period",
    "STAGE_rmse": "root mean square error over all leads, weighted by area; over several variables the root "
    "mean "
    "square of theirs",
    "STAGE_skill_REFERENCE": "1 - RMSE / RMSE of the reference, mean over leads",
    "STAGE_rmse[_VARIABLE]_lead_N": "RMSE at lead N",
    "STAGE_mae[_VARIABLE]_lead_N": "mean absolute error at lead N",
    "STAGE_bias[_VARIABLE]_lead_N": "mean of forecast minus truth at lead N",
    "STAGE_skill_REFERENCE[_VARIABLE]_lead_N": "skill against the reference at lead N",
    "STAGE_REFERENCE_rmse[_VARIABLE]_lead_N": "RMSE of the reference at lead N",
    "STAGE_coverage_80[_VARIABLE]_lead_N": "share of the truth inside the 80 % band, percent",
    "STAGE_coverage_95[_VARIABLE]_lead_N": "share of the truth inside the 95 % band, percent",
    "STAGE_crps[_VARIABLE]_lead_N": "continuous ranked probability score, for ensembles and distributions",
    "STAGE_SCORE[_EVENT]": "score of an event, mean over leads: brier, brier_skill_climatology, "
    "brier_skill_persistence, auc, best_csi, ...",
    "STAGE_SCORE[_EVENT]_lead_N": "the same at lead N",
    "lr-OPTIMIZER": "learning rate",
    "epoch": "number of the epoch",
    "residual_weight": "weight of the network's residual in `LinearResidual`",
    "grad_norm/LAYER": "norm of the gradient of a layer, by `stconv.tracking.GradientNorms`",
    "val_skill": "of `stconv pretrain`: skill over the masked cells",
}
"""Meaning of each name in MLflow; words in capitals stand for names, brackets for what may be absent."""
PARTS = {
    "STAGE": "val or test",
    "REFERENCE": "persistence, climatology, damped_persistence, linear_3x3 or optical_flow",
    "VARIABLE": "the target, where there are several",
    "EVENT": "the event or class, where there are several",
    "N": "number of the lead, from 1",
}


def page() -> str:
    """Write the page."""
    parts = [f"{code(word)}: {meaning}" for word, meaning in PARTS.items()]
    return (
        written_by("metric_names")
        + "# Metrics\n\n## In MLflow\n\nNames of a run's metrics, and of the keys of `run.metrics`. "
        + "; ".join(parts)
        + ".\n\n"
        + table(["name", "meaning"], [[code(name), meaning] for name, meaning in RECORDED.items()])
        + "\n## At /metrics\n\nIn the text format of Prometheus.\n\n"
        + table(
            ["name", "type", "labels", "meaning"],
            [[code(n), k, ", ".join(map(code, ls)), m] for n, k, ls, m in served()],
        )
    )


def pattern(name: str) -> re.Pattern[str]:
    """The names in MLflow that an entry of the table stands for."""
    text = re.sub(r"\\\[(\w+)\\\]", r"(?:\1)?", re.escape(name))
    for word, meant in (("STAGE", "(?:val|test)"), ("N", r"\d+")):
        text = re.sub(rf"(?<![A-Z]){word}(?![A-Z])", lambda _, meant=meant: meant, text)
    return re.compile(re.sub(r"[A-Z]{3,}", r"[\\w. /-]+", text))


def served() -> list[tuple[str, str, tuple[str, ...], str]]:
    """Name, type, labels and meaning of each metric of the service."""
    from service.telemetry.metrics import Metrics

    metrics = Metrics()
    return [
        (
            found._name + ("_total" if found._type == "counter" else ""),
            found._type,
            found._labelnames,
            found._documentation,
        )
        for found in vars(metrics).values()
        if hasattr(found, "_labelnames")
    ]
