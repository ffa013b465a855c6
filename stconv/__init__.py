"""From a gridded time series to a verified forecast that answers over HTTP.

`inspect`, `suggest`, `Experiment`, `runs`, `evaluate`, `compare`, `load`, `hindcast` and `serve` are the
front door; each loads what it needs when it is first used.
"""

# First of all: the libraries of ecCodes bring a SQLite that is too old for MLflow, and who comes first wins.
import sqlite3  # noqa: F401
from importlib.metadata import version
from typing import Any

__version__ = version("stconv")

_HOMES = {
    "Comparison": "stconv.front.comparison",
    "Diagnosis": "stconv.front.diagnosis",
    "Experiment": "stconv.front.experiment",
    "Explained": "stconv.front.explanation",
    "Inspection": "stconv.front.inspection",
    "Model": "stconv.front.model",
    "Quantized": "stconv.front.export",
    "Run": "stconv.front.run",
    "Scores": "stconv.front.scores",
    "Service": "stconv.front.serving",
    "Sweep": "stconv.front.sweep",
    "Version": "stconv.front.registry",
    "compare": "stconv.front.comparison",
    "diagnose": "stconv.front.diagnosis",
    "ensemble": "stconv.front.ensemble",
    "evaluate": "stconv.front.evaluation",
    "fetch": "stconv.front.recipes",
    "hindcast": "stconv.front.hindcast",
    "inspect": "stconv.front.inspection",
    "load": "stconv.front.model",
    "recipes": "stconv.front.recipes",
    "refresh": "stconv.front.registry",
    "runs": "stconv.front.run",
    "serve": "stconv.front.serving",
    "suggest": "stconv.front.suggestion",
}
"""Module of each name of the front door; `__init__.pyi` states their types."""
_PACKAGES = ("errors", "losses", "models", "nn", "optimizers", "schedules")

__all__ = ["__version__", *_PACKAGES, *_HOMES]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    """Import a name of the front door, or a part of the library, when it is first used."""
    import importlib

    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _PACKAGES:
        return importlib.import_module(f"stconv.{name}")
    raise AttributeError(f"module 'stconv' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
