"""Export of a network as a PyTorch program and as ONNX, for any batch size and grid.

The exported network maps normalized inputs to normalized forecasts, as `Network` does; normalization and
units stay with the bundle.
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
"""(lat, lon) cells of the example that an export is traced with, before rounding up to a multiple."""
LARGEST = 100_000
"""Largest number of cells along lat and lon that an export accepts."""


def to_program(network: Network, members: bool = False) -> ExportedProgram:
    """Return the network as a graph without Python, for any batch and any grid.

    A network that halves its grid takes grids that are a multiple of 2 for each halving; a network with a
    damping for each cell, and an event network, take only their own grid.

    Args:
        network: Network, exported in evaluation mode; it is not changed.
        members: Export the members, (member, batch, channel, lead, lat, lon), instead of the forecast.
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
        network: See `to_program`.
        path: Path of the file, usually ending in .onnx.

    Returns:
        The path.

    Raises:
        ConfigError: The packages for ONNX are not installed.
    """
    path = Path(path)
    content = onnx_bytes(network)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def onnx_bytes(network: Network, members: bool = False) -> bytes:
    """Return the bytes of an ONNX file of the network.

    Args:
        network: See `to_program`.
        members: See `to_program`.

    Raises:
        ConfigError: The packages for ONNX are not installed.
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
    """A module whose output is the members of a network."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network.members(x)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Silence the exporter's progress report and remarks, which a user cannot act on."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
