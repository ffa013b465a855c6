"""Layers that a training leaves as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from stconv.errors import ConfigError
from stconv.spacing import evenly_spaced

MOST_NAMES = 8
"""Names of parameters, at most, that an error message gives."""


class Freezing:
    """The parameters of a network that match a pattern: they are not trained.

    Batch normalizations among them use and keep the mean and variance that they have. Networks that fit
    themselves in closed form keep what is frozen as well, see `kept`.

    Args:
        network: Its matching parameters stop requiring a gradient.
        patterns: Patterns of names such as `features.0.conv.weight`; `*` matches any characters and dots.

    Raises:
        ConfigError: A pattern matches no parameter.
    """

    def __init__(self, network: nn.Module, patterns: Sequence[str]) -> None:
        self.patterns = tuple(patterns)
        self._norms: list[_BatchNorm] = []
        self._tensors: list[Tensor] = []
        parameters = dict(network.named_parameters())
        for pattern in self.patterns:
            if not any(fnmatchcase(name, pattern) for name in parameters):
                some = ", ".join(evenly_spaced(list(parameters), MOST_NAMES)) or "none"
                raise ConfigError(
                    f"freeze has the pattern '{pattern}', which matches no parameter of "
                    f"{type(network).__name__}. Parameters there are, for example: {some}. "
                    "`stconv explain CONFIG` lists all layers."
                )
        for name, parameter in parameters.items():
            if self._matches(name):
                parameter.requires_grad_(False)
                self._tensors.append(parameter)
        for path, module in network.named_modules():
            buffers = {f"{path}.{name}".lstrip("."): b for name, b in module.named_buffers(recurse=False)}
            learned = [f"{path}.{name}".lstrip(".") for name, _ in module.named_parameters(recurse=False)]
            if learned and all(self._matches(name) for name in learned):
                self._tensors += buffers.values()
                if isinstance(module, _BatchNorm):
                    self._norms.append(module)

    def _matches(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self.patterns)

    def hold_statistics(self) -> None:
        """Put the frozen batch normalizations into evaluation mode, whatever mode the network is in."""
        for norm in self._norms:
            norm.eval()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Undo, at the end, what was done to the frozen parameters and their layers' buffers."""
        before = [tensor.detach().clone() for tensor in self._tensors]
        yield
        with torch.no_grad():
            for tensor, value in zip(self._tensors, before, strict=True):
                tensor.copy_(value)
