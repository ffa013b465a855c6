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
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.export import export as export_program

from stconv.errors import ConfigError
from stconv.explain.reach import phases
from stconv.models import Network

INPUT, OUTPUT = "frames", "forecast"
"""Names of input and output in an ONNX file."""
CELLS = (12, 16)
"""(lat, lon) of the example that an export is traced with, before it is made a multiple."""
LARGEST = 100_000
"""Cells along lat and lon that an export is good for, at most."""


def to_program(network: Network, members: bool = False) -> ExportedProgram:
    """Return the network as a graph without Python, for any batch and any grid.

    A network that halves its grid takes grids of a multiple of 2 for each halving; one with a damping for
    each cell, and an event network, only its own grid.

    Args:
        network: Exported in evaluation mode, and left as it is.
        members: Export what `Network.members` gives, (member, batch, channel, lead, lat, lon), instead of the
            forecast.
    """
    ghost = copy.deepcopy(network).to("cpu").eval()
    multiple = phases(ghost)
    dims: dict[int, Any] = {0: Dim.DYNAMIC}
    if ghost.own_grid is None:
        rows, columns = (Dim(name, min=1, max=LARGEST // multiple) for name in ("rows", "columns"))
        free = {3: Dim.DYNAMIC, 4: Dim.DYNAMIC}
        dims |= {3: multiple * rows, 4: multiple * columns} if multiple > 1 else free
    with torch.no_grad():
        return export_program(
            _Members(ghost) if members else ghost, (example_windows(ghost),), dynamic_shapes=(dims,)
        )


def example_windows(network: Network) -> Tensor:
    """Return two random windows of a grid that the network takes, (2, c_in, t_in, lat, lon)."""
    multiple = phases(network)
    n_lat, n_lon = network.own_grid or (multiple * n for n in CELLS)
    shape = (2, network.c_in, network.t_in, n_lat, n_lon)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


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
    path = Path(path)
    content = onnx_bytes(network)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def onnx_bytes(network: Network, members: bool = False) -> bytes:
    """Return what an ONNX file of the network holds.

    Args:
        network: As in `to_program`.
        members: As in `to_program`.

    Raises:
        ConfigError: The packages for it are not installed.
    """
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"an export to ONNX needs {' and '.join(missing)}. Install them: pip install 'stconv[onnx]'."
        )
    program = to_program(network, members)
    with _quietly():
        exported = torch.onnx.export(
            program, input_names=[INPUT], output_names=[OUTPUT], dynamo=True, verbose=False
        )
    assert exported is not None
    return exported.model_proto.SerializeToString()


class _Members(nn.Module):
    """A network seen as the module that gives its members."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network.members(x)


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
