"""The explanation of a network as numbers, for the terminal, JSON and a run."""

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
"""Largest number of cells along lat and lon over which the sensitivity to each frame is averaged."""


@dataclass(frozen=True)
class Explanation:
    """Layers, receptive field and sensitivity of a network.

    Attributes:
        network: Specification of the network.
        grid: Grid (lat, lon) of the sizes and multiply-adds.
        spacing: Distance between rows and between columns, in degrees or units of a projected grid, if known.
        layers: Layers in the order of their calls.
        reaches: Receptive field after each layer, in the same order.
        output: Receptive field of the forecast.
        frames: Whether there is a path from each input frame to each lead, (leads, t_in).
        weight_of_frames: Share of each frame in the sensitivity of each lead, (leads, t_in), for the present
            weights and random inputs. Rows sum to 1, or to 0 for a lead that sees no frame.
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
        """Number of learned values of all layers."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of all layers for one window."""
        return sum(layer.multiply_adds for layer in self.layers)

    def degrees(self, found: Reach) -> tuple[float, float] | None:
        """Return the extent of a receptive field along (lat, lon), in the units of the grid."""
        if self.spacing is None or found.whole_grid:
            return None
        lat, lon = (n * d for n, d in zip(found.cells, self.spacing, strict=True))
        return lat, lon

    def to_json(self) -> dict[str, Any]:
        """Return the explanation with JSON types only."""
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
        network: Network; it is not changed.
        n_lat: Number of rows.
        n_lon: Number of columns.
        spacing: Distance between rows and between columns, in degrees or units of a projected grid.
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
