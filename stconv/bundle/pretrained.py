"""Pretrained weights as a folder: layers that a training may start from, and no model that forecasts.

pretrained.safetensors   the layers, named as in the network of the experiment
pretrained.json          network, masking and data of the pretraining
manifest.json            size and sha256 of the others; its own sha256 is the hash
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from stconv.bundle import manifest
from stconv.bundle.bundle import PRETRAINED, Bundle
from stconv.errors import BundleError

WEIGHTS = "pretrained.safetensors"


@dataclass(frozen=True)
class Weights:
    """Weights that a training may start from.

    Attributes:
        tensors: State dictionary, or a part of it.
        hash: sha256 of the folder that they come from.
    """

    tensors: Mapping[str, Tensor]
    hash: str


def save_pretrained(folder: Path, tensors: Mapping[str, Tensor], spec: Mapping[str, Any]) -> str:
    """Write pretrained weights as a folder, in one step.

    Args:
        folder: Folder to write; earlier weights there are replaced.
        tensors: Layers, named as in the network of the experiment.
        spec: Origin of the weights, JSON types only.

    Returns:
        The hash of the folder.

    Raises:
        BundleError: The folder holds something else.
    """
    text = json.dumps(dict(spec), indent=2, sort_keys=True, allow_nan=False)
    files = {WEIGHTS: safetensors.torch.save(dict(tensors)), PRETRAINED: f"{text}\n".encode()}
    return manifest.write_folder(folder, files)


def load_weights(folder: Path) -> Weights:
    """Read the weights of a bundle or of a pretraining, after checking each file against the manifest.

    Raises:
        BundleError: The folder is missing, incomplete, changed, or neither of both.
    """
    if not (folder / PRETRAINED).is_file():
        bundle = Bundle.load(folder)
        return Weights(bundle.network.state_dict(), bundle.hash)
    files, digest = manifest.read_folder(folder, (WEIGHTS, PRETRAINED))
    try:
        return Weights(safetensors.torch.load(files[WEIGHTS]), digest)
    except Exception as error:  # safetensors raises its own type for every malformed header
        raise BundleError(f"{WEIGHTS} in '{folder}' is not a safetensors file: {error}.") from error
