"""Experiments, runs and registered models in MLflow: the only part that knows MLflow.

The logger and the callbacks need Lightning and are imported on first use, so that looking up a run or a model
stays fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stconv.tracking.registry import Promotion, promote, register, resolve_bundle
from stconv.tracking.store import RunInfo, download, find_run, list_runs, tracking_uri

if TYPE_CHECKING:
    from stconv.tracking.callbacks import ExportBundle, SaveConfigToRun
    from stconv.tracking.gradient_norms import GradientNorms
    from stconv.tracking.logger import RunLogger

__all__ = [
    "ExportBundle",
    "GradientNorms",
    "Promotion",
    "RunInfo",
    "RunLogger",
    "SaveConfigToRun",
    "download",
    "find_run",
    "list_runs",
    "promote",
    "register",
    "resolve_bundle",
    "tracking_uri",
]


def __getattr__(name: str) -> Any:
    if name == "RunLogger":
        from stconv.tracking import logger

        return logger.RunLogger
    if name == "GradientNorms":
        from stconv.tracking import gradient_norms

        return gradient_norms.GradientNorms
    if name in {"ExportBundle", "SaveConfigToRun"}:
        from stconv.tracking import callbacks

        return getattr(callbacks, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
