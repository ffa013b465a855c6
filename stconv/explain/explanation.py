"""All that is said about a network, as numbers: for the screen, for JSON, for a run's log."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from typing import Any

import torch

from stconv.explain.anatomy import Layer, anatomy
from stconv.explain.chain import chain_reaches
from stconv.explain.reach import Reach, frames_in_reach, reaches
from stconv.models import Network, describe

ENOUGH = 64
"""Cells along lat and lon, at most, that the sensitivity to each frame is averaged over."""


@dataclass(frozen=True)
class Explanation:
    """A network, explained.

    Attributes:
        network: Its specification.
        grid: (lat, lon) cells that sizes and multiply-adds are for.
        spacing: Degrees (or units of a projected grid) between rows and between columns, if known.
        layers: In the order in which they run.
        reaches: Receptive field after each layer, in the same order.
        output: Receptive field of the forecast.
        frames: Which input frames have a path to which lead, (leads, t_in).
        weight_of_frames: Share of each frame in the sensitivity of each lead, (leads, t_in), rows sum to 1
            (or to 0 where nothing is seen); of the weights as they are, for random inputs.
    """

    network: dict[str, Any]
    grid: tuple[int, int]
    spacing: tuple[float, float] | None
    layers: list[Layer]
    reaches: list[Reach]
    output: Reach
    frames: list[list[bool]]
    weight_of_frames: list[list[float]]

    @property
    def parameters(self) -> int:
        """Learned numbers of all layers."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """Of all layers, for one window."""
        return sum(layer.multiply_adds for layer in self.layers)

    def degrees(self, found: Reach) -> tuple[float, float] | None:
        """Extent of a receptive field along (lat, lon), in the units of the grid."""
        if self.spacing is None or found.whole_grid:
            return None
        lat, lon = (n * d for n, d in zip(found.cells, self.spacing, strict=True))
        return lat, lon

    def to_json(self) -> dict[str, Any]:
        """The same with JSON types only."""
        return {
            "network": self.network,
            "grid": list(self.grid),
            "spacing": self.spacing,
            "parameters": self.parameters,
            "multiply_adds": self.multiply_adds,
            "layers": [
                {
                    **asdict(layer),
                    "share_of_parameters": layer.parameters / max(self.parameters, 1),
                    "share_of_multiply_adds": layer.multiply_adds / max(self.multiply_adds, 1),
                    "receptive_field": self._reach_json(found),
                }
                for layer, found in zip(self.layers, self.reaches, strict=True)
            ],
            "receptive_field": self._reach_json(self.output),
            "frames_seen": self.frames,
            "weight_of_frames": self.weight_of_frames,
        }

    def _reach_json(self, found: Reach) -> dict[str, Any]:
        return {
            "steps": found.steps,
            "cells": None if found.whole_grid else list(found.cells),
            "extent": self.degrees(found),
            "whole_grid": found.whole_grid,
        }


def explain(
    network: Network, n_lat: int = 32, n_lon: int = 32, spacing: tuple[float, float] | None = None
) -> Explanation:
    """Explain a network on a grid.

    Args:
        network: The network; it is left as it is.
        n_lat: Rows.
        n_lon: Columns.
        spacing: Between rows and between columns, such as degrees.
    """
    layers = anatomy(network, (network.c_in, network.t_in, n_lat, n_lon))
    if network.forecasts_event:
        fields, output = chain_reaches(network, layers)
    else:
        fields, output = _probed(network, layers)
    return Explanation(
        describe(network), (n_lat, n_lon), spacing, layers, fields, output,
        frames_in_reach(network).tolist(), _weight_of_frames(network, n_lat, n_lon),
    )  # fmt: skip


def _probed(network: Network, layers: list[Layer]) -> tuple[list[Reach], Reach]:
    modules = dict(network.named_modules())
    names = [f"{layer.name}.conv" if f"{layer.name}.conv" in modules else layer.name for layer in layers]
    probed = [
        name
        for name, layer in zip(names, layers, strict=True)
        if layer.name and not layer.kind.endswith("norm")
    ]
    found = reaches(network, probed)
    fields: list[Reach] = []
    for name, layer in zip(names, layers, strict=True):
        before = fields[-1] if fields else Reach(1, (0, 0), (0, 0))
        if layer.kind in {"group norm", "attention"}:
            before = Reach(network.t_in, (0, 0), (0, 0), whole_grid=True)
        fields.append(found.get(name, before))
    return fields, found[""]


@torch.inference_mode(False)
@torch.enable_grad()
def _weight_of_frames(network: Network, n_lat: int, n_lon: int) -> list[list[float]]:
    network = copy.deepcopy(network).eval()
    generator = torch.Generator().manual_seed(0)
    n_lat, n_lon = network.own_grid or (min(n_lat, ENOUGH), min(n_lon, ENOUGH))
    x = torch.randn(4, network.c_in, network.t_in, n_lat, n_lon, generator=generator).requires_grad_()
    y = network(x)
    rows = []
    for lead in range(network.leads):
        if not y.requires_grad:
            rows.append([0.0] * network.t_in)
            continue
        signs = torch.randn(y[:, :, lead].shape, generator=generator)
        (gradient,) = torch.autograd.grad((signs * y[:, :, lead]).sum(), x, retain_graph=True)
        strength = gradient.square().sum(dim=(0, 1, 3, 4)).sqrt()
        rows.append((strength / strength.sum().clamp_min(1e-30)).tolist())
    return rows
