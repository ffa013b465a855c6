"""Weights of one network as the start of another: those layers that fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stconv.errors import ConfigError
from stconv.spacing import evenly_spaced

MOST_NAMES = 8
"""Names of layers, at most, that a sentence gives."""
ITSELF = "(network)"
"""Stands for the parameters that belong to the network itself and no layer of it."""


@dataclass(frozen=True)
class Transfer:
    """Layers that were taken over, and those that were not.

    Attributes:
        source: Source of the weights, as the user named it.
        hash: sha256 of that bundle.
        taken: Layers whose parameters and buffers all have the same names and shapes in both networks.
        other_shape: Layers in both networks whose shapes or names of parameters differ.
        only_here: Layers that the source does not have.
    """

    source: str
    hash: str
    taken: tuple[str, ...]
    other_shape: tuple[str, ...]
    only_here: tuple[str, ...]

    def __str__(self) -> str:
        n = len(self.taken) + len(self.other_shape) + len(self.only_here)
        said = f"{len(self.taken)} of {n} layers start from {self.source}: {_some(self.taken)}."
        if self.other_shape:
            said += f" Of another shape, and new: {_some(self.other_shape)}."
        if self.only_here:
            said += f" Not in the source, and new: {_some(self.only_here)}."
        return said

    def to_json(self) -> dict[str, Any]:
        """The same as JSON types."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Transfer:
        """Make it from what `to_json` gave."""
        lists = (tuple(values[name]) for name in ("taken", "other_shape", "only_here"))
        return cls(values["source"], values["hash"], *lists)


def take_weights(network: nn.Module, tensors: Mapping[str, Tensor], source: str, digest: str) -> Transfer:
    """Copy the weights of every layer that fits into a network, in place.

    A layer is a module with parameters of its own. It is taken as a whole or not at all, running statistics
    included. Buffers of other modules, such as bounds, belong to the data and stay.

    Args:
        network: Gets the weights.
        tensors: State dictionary of the other network, by the same rule of names.
        source: Name of that network, for messages.
        digest: sha256 of the bundle that it came from.

    Returns:
        Which layers were taken and which were not.

    Raises:
        ConfigError: No layer fits.
    """
    theirs = _by_layer(tensors)
    ours = {
        name: found
        for name, found in _by_layer(network.state_dict()).items()
        if any(True for _ in network.get_submodule(_path(name)).parameters(recurse=False))
    }
    shapes = {name: {key: tensor.shape for key, tensor in found.items()} for name, found in ours.items()}
    taken: list[str] = []
    other_shape: list[str] = []
    only_here: list[str] = []
    for name, expected in shapes.items():
        found = {key: tensor.shape for key, tensor in theirs.get(name, {}).items()}
        (taken if found == expected else other_shape if found else only_here).append(name)
    if not taken:
        raise ConfigError(
            f"No layer of {type(network).__name__} fits one of {source}: its layers are {_some(ours)}, "
            f"those of the source {_some(theirs)}; of the same name but another shape: "
            f"{_some(tuple(other_shape))}. Give both networks the same class, wrappers and sizes, or start "
            "without --init-from."
        )
    with torch.no_grad():
        for name in taken:
            for key, tensor in ours[name].items():
                tensor.copy_(theirs[name][key])
    return Transfer(source, digest, tuple(taken), tuple(other_shape), tuple(only_here))


def _by_layer(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    layers: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        path, _, key = name.rpartition(".")
        layers.setdefault(path or ITSELF, {})[key] = tensor
    return layers


def _path(layer: str) -> str:
    return "" if layer == ITSELF else layer


def _some(names: Mapping[str, Any] | tuple[str, ...]) -> str:
    shown = evenly_spaced(list(names), MOST_NAMES)
    return (", ".join(shown) or "none") + (", ..." if len(shown) < len(names) else "")
