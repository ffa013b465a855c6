"""A small network for the explanations, and its pictures by `stconv explain`, made when pages are built.

A Sphinx extension. What is already drawn is kept; `make clean` removes it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TABLE, FILTERS, FEATURES = "explained.txt", "filters.png", "features.png"
TRAINING = """
import stconv
from stconv.datasets.recipes.synthetic import generate

generate("field.nc", n_steps=300, n_lat=24, n_lon=32)
experiment = stconv.suggest("field.nc", inputs=["t2m"], t_in=5, leads=3, name="small")
experiment.data.preparation.static_fields = []
experiment.data.preparation.time_features = False
experiment.model.network = {
    "class_path": "stconv.models.Conv3D",
    "init_args": {"n_layers": 2, "n_filters": 8, "kernel": 3, "filters": ["sobel", "laplacian"]},
}
print(experiment.replace(max_epochs=2).fit(progress=False).folder)
"""
"""Two layers of eight filters, three of which begin as stencils, on a made field."""


def draw(folder: Path) -> None:
    """Train the network, and write its table and its pictures, unless they are there."""
    if all((folder / name).is_file() for name in (TABLE, FILTERS, FEATURES)):
        return
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        store = {"MLFLOW_TRACKING_URI": f"sqlite:///{place}/mlflow.db", "COLUMNS": "120"}

        def run(*words: str) -> str:
            done = subprocess.run(
                [sys.executable, *words],
                cwd=place,
                env=os.environ | store,
                check=True,
                text=True,
                stdout=subprocess.PIPE,
            )
            return done.stdout

        bundle = f"{run('-c', TRAINING).split()[-1]}/bundle"
        words = ("explain", bundle, "--input", "field.nc", "--plot", str(folder))
        said = run("-m", "stconv", *words)
    lines = [line.rstrip() for line in said.splitlines() if not line.startswith("Picture: ")]
    (folder / TABLE).write_text("\n".join(lines).strip() + "\n")


def setup(app: Any) -> dict[str, bool]:
    """Let Sphinx draw before it reads the pages."""
    app.connect("config-inited", lambda app, _: draw(Path(app.srcdir, "explanation", "pictures")))
    return {"parallel_read_safe": True}
