"""A network for other engines: PyTorch's own exported program, and ONNX. Batch and grid stay free.

What is exported maps normalized inputs to normalized forecasts, as `Network` does; normalization and units
stay with the bundle.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.export import Dim, ExportedProgram
from torch.export import export as export_program

from stconv.errors import ConfigError
from stconv.explain.reach import phases
from stconv.models import EventNetwork, Network
from stconv.nn.damping import Damping

INPUT, OUTPUT = "frames", "forecast"
"""Names of input and output in an ONNX file."""
CELLS = (12, 16)
"""(lat, lon) of the example that an export is traced with, before it is made a multiple."""
LARGEST = 100_000
"""Cells along lat and lon that an export is good for, at most."""


def to_program(network: Network) -> ExportedProgram:
    """Return the network as a graph without Python, for any batch and any grid.

    A network that halves its grid takes grids of a multiple of 2 for each halving; one with a damping for
    each cell, and an event network, only its own grid.

    Args:
        network: Exported in evaluation mode, and left as it is.
    """
    ghost = copy.deepcopy(network).to("cpu").eval()
    multiple = phases(ghost)
    own = next((m.grid for m in ghost.modules() if isinstance(m, Damping) and m.grid is not None), None)
    own = ghost.grid if isinstance(ghost, EventNetwork) else own
    dims: dict[int, Any] = {0: Dim.DYNAMIC}
    if own is None:
        rows, columns = (Dim(name, min=1, max=LARGEST // multiple) for name in ("rows", "columns"))
        free = {3: Dim.DYNAMIC, 4: Dim.DYNAMIC}
        dims |= {3: multiple * rows, 4: multiple * columns} if multiple > 1 else free
    n_lat, n_lon = own or (multiple * n for n in CELLS)
    example = torch.randn(2, ghost.c_in, ghost.t_in, n_lat, n_lon)
    with torch.no_grad():
        return export_program(ghost, (example,), dynamic_shapes=(dims,))


def to_onnx(network: Network, path: str | Path) -> Path:
    """Write the network as an ONNX file, whose input is `frames` and output `forecast`.

    Args:
        network: As in `to_program`.
        path: Where to write, usually with the ending .onnx.

    Returns:
        The path.

    Raises:
        ConfigError: The packages for it are not installed.
    """
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"an export to ONNX needs {' and '.join(missing)}. Install them: pip install 'stconv[onnx]'."
        )
    path = Path(path)
    with _quietly():
        program = torch.onnx.export(
            to_program(network), input_names=[INPUT], output_names=[OUTPUT], dynamo=True, verbose=False
        )
    assert program is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    program.save(str(path))
    return path


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without the progress report and the remarks of the exporter, which a user can do nothing about."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
