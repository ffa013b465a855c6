"""The pages of classes and functions: the front door, networks, blocks, losses, optimizers, schedules."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

from reference_pages.markdown import written_by

INTRODUCTION = {
    "python": (
        "stconv",
        "The front door in Python",
        "`import stconv` names these; each loads what it needs when it is first used. {doc}`/how-to/python` "
        "shows them at work.",
    ),
    "client": (
        "stconv.client",
        "The client of the service",
        "Takes and returns Datasets of xarray, over HTTP.",
    ),
    "networks": (
        "stconv.models",
        "Networks",
        "For plain PyTorch and for `model.network` of a configuration. A network maps (batch, c_in, t_in, "
        "lat, "
        "lon) to (batch, c_out, leads, lat, lon), float32. In a configuration `c_in`, `c_out`, `t_in` and "
        "`leads` come from the data.\n\n"
        "```python\nimport torch\nfrom stconv.models import STConvS2S\n\n"
        'network = STConvS2S(2, 1, t_in=5, leads=3, variant="R", n_layers=1, n_filters=4)\n'
        "assert network(torch.randn(1, 2, 5, 16, 16)).shape == (1, 1, 3, 16, 16)\n```",
    ),
    "blocks": (
        "stconv.nn",
        "Blocks",
        "For plain PyTorch; nothing of Lightning, xarray or MLflow is loaded. Tensors are (batch, channel, "
        "time, "
        "lat, lon), float32.\n\n"
        "```python\nimport torch\nfrom stconv.nn import Convolution, Factored, residual_block\n\n"
        "x = torch.randn(2, 3, 5, 20, 20)\n"
        "assert Convolution(3, 8, 3)(x).shape == (2, 8, 5, 20, 20)\n"
        "assert residual_block(Factored, 3, 8, 3, stride=(1, 2, 2))(x).shape == (2, 8, 5, 10, 10)\n```",
    ),
    "losses": (
        "stconv.losses",
        "Losses",
        "For `model.loss` of a configuration and for plain PyTorch: `loss(prediction, target, weight)`, a "
        "scalar.\n\n"
        "```python\nimport torch\nfrom stconv.losses import MaskedMSE\n\n"
        "prediction, target = torch.zeros(1, 1, 2, 4, 4), torch.full((1, 1, 2, 4, 4), 2.0)\n"
        "assert MaskedMSE()(prediction, target, torch.ones(1, 1, 2, 4, 4)) == 4\n```",
    ),
    "optimizers": (
        "stconv.optimizers",
        "Optimizers",
        "For `model.optimizer` of a configuration, beside those of `torch.optim`.",
    ),
    "schedules": (
        "stconv.schedules",
        "Schedules",
        "For `model.lr_scheduler` of a configuration, beside those of `torch.optim.lr_scheduler`.",
    ),
}
"""Module, title and first words of each page, by the name of the page."""


def public(module: ModuleType) -> dict[str, Any]:
    """Public classes and functions of a module, by name: those of `__all__`, else those it defines."""
    names = getattr(module, "__all__", None)
    if names is None:
        defined = {name: value for name, value in vars(module).items() if not name.startswith("_")}
        names = [
            name for name, value in defined.items() if getattr(value, "__module__", "") == module.__name__
        ]
    found = {name: getattr(module, name) for name in sorted(names, key=str.lower)}
    return {
        name: value for name, value in found.items() if inspect.isclass(value) or inspect.isfunction(value)
    }


def page(name: str) -> str:
    """Write the page of a module."""
    path, title, words = INTRODUCTION[name]
    parts = [written_by("public_names"), f"# {title}\n\n{words}\n"]
    for public_name, value in public(importlib.import_module(path)).items():
        kind = "autoclass" if inspect.isclass(value) else "autofunction"
        options = "\n:members:\n:inherited-members: Module, Network" if kind == "autoclass" else ""
        if kind == "autoclass" and path != "stconv":
            options = ""
        parts.append(f"\n## {public_name}\n\n```{{eval-rst}}\n.. {kind}:: {path}.{public_name}")
        parts.append(options.replace("\n:", "\n   :") + "\n```\n")
    return "".join(parts)


PAGES: dict[str, Callable[[], str]] = {name: partial(page, name) for name in INTRODUCTION}
"""Writers of these pages."""
