"""The files by which MLflow itself loads a registered version, as `python_function`, without pickle."""

from __future__ import annotations

import platform
import uuid
from datetime import UTC, datetime
from pathlib import Path

import yaml

import stconv
from stconv.tracking.run_layout import BUNDLE

LOADER = "stconv.front.pyfunc"
"""Module that loads the bundle; it needs stconv installed."""


def write_flavor(folder: Path, run_id: str) -> Path:
    """Write MLmodel and the environment that it needs, to lie beside the bundle of a version.

    The files are written as text, because MLflow warns of its own type hints when it is asked to write them.

    Args:
        folder: Folder to write to.
        run_id: Run of the version.

    Returns:
        The folder.
    """
    from mlflow.version import VERSION

    python = platform.python_version()
    model = {
        "flavors": {
            "python_function": {
                "loader_module": LOADER,
                "data": BUNDLE,
                "python_version": python,
                "env": {"virtualenv": "python_env.yaml"},
            }
        },
        "mlflow_version": VERSION,
        "model_uuid": uuid.uuid4().hex,
        "run_id": run_id,
        "utc_time_created": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}",
    }
    environment = {"python": python, "dependencies": ["-r requirements.txt"]}
    (folder / "MLmodel").write_text(yaml.safe_dump(model, sort_keys=False))
    (folder / "python_env.yaml").write_text(yaml.safe_dump(environment, sort_keys=False))
    (folder / "requirements.txt").write_text(f"stconv=={stconv.__version__}\n")
    return folder
