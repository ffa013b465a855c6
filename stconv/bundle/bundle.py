"""The bundle: everything that a forecast needs, and no code.

int8.onnx             the network in int8, with all members, if `stconv quantize` made it
weights.safetensors   network.*, preparation.* and bands.* tensors, bundle.always_valid
spec.json             what the tensors mean: network, variables, grid, calendar, step, window, data, scores
MODEL_CARD.md         a summary for people: data, period, grid, intended use, scores, limits
manifest.json         size and sha256 of the others; its own sha256 is the bundle hash
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from stconv.bundle import card, manifest
from stconv.bundle.contract import Contract
from stconv.bundle.versions import band_tensors, from_version_1
from stconv.datasets.preparation.event_preparation import preparation_from_spec
from stconv.datasets.preparation.preparation import Preparation
from stconv.datasets.preparation.spec import PreparationSpec
from stconv.datasets.summary import DataSummary
from stconv.errors import BundleError, ConfigError
from stconv.models import Network, build, describe
from stconv.uncertainty.bands import Bands

FORMAT_VERSION = 3
WEIGHTS, SPEC, INT8 = "weights.safetensors", "spec.json", "int8.onnx"
PRETRAINED = "pretrained.json"
"""A folder with this file holds pretrained weights, see `stconv.bundle.pretrained`."""
REQUIRED_KEYS = (
    "network",
    "preparation",
    "variables",
    "grid",
    "calendar",
    "step",
    "input_offsets",
    "leads",
    "name",
)


@dataclass
class Bundle:
    """A network, the preparation of its inputs, and the description of the data that both fit.

    Attributes:
        network: Maps normalized inputs to normalized forecasts.
        preparation: Maps physical units to normalized values and back.
        spec: Content of spec.json, JSON types only; `make_bundle` lists the keys.
        always_valid: Cells with a value in (nearly) every frame of the training period, bool, (variable, lat,
            lon); None if unknown, and then no missing value is refused.
        bands: Calibrated uncertainty bands; None in a bundle without bands.
        int8: The quantized network as ONNX; None unless `stconv quantize` made it.
    """

    network: Network
    preparation: Preparation
    spec: dict[str, Any]
    always_valid: np.ndarray | None = None
    _hash: str | None = field(default=None, repr=False, compare=False)
    bands: Bands | None = None
    int8: bytes | None = None

    @property
    def hash(self) -> str:
        """The sha256 over every byte of the bundle, in hexadecimal."""
        return self._hash or manifest.bundle_hash(manifest.manifest_bytes(self._files()))

    @property
    def name(self) -> str:
        """Name of the model."""
        return str(self.spec["name"])

    @property
    def contract(self) -> Contract:
        """Inputs and outputs of the model."""
        return Contract.from_spec(self.spec)

    @property
    def data(self) -> DataSummary:
        """The data that the model was trained on; empty if unknown."""
        return DataSummary.from_json(self.spec.get("data") or {})

    def save(self, path: str | Path) -> Path:
        """Write the bundle as a folder, in one step; an existing bundle is replaced.

        Raises:
            BundleError: The folder holds something else, or the spec holds a value that JSON does not have.
        """
        folder = Path(path)
        manifest.write_folder(folder, self._files())
        self._hash = None  # that of the folder it was loaded from; the spec may have changed since
        return folder

    @classmethod
    def load(cls, path: str | Path) -> Bundle:
        """Read a bundle, after checking each file against the manifest.

        The network is built from registered names only; nothing is unpickled.

        Raises:
            BundleError: The bundle is missing, incomplete, changed, or of an unknown format version, it names
                an unknown network, or its weights do not fit.
        """
        folder = Path(path)
        if (folder / PRETRAINED).is_file():
            raise BundleError(
                f"'{folder}' holds weights of `stconv pretrain`, which cannot forecast. Train a network that "
                f"starts from them: `stconv fit --config FILE --init-from {folder}`."
            )
        files, digest = manifest.read_folder(folder, (WEIGHTS, SPEC))
        spec = _parse_spec(files[SPEC], folder)
        Contract.from_spec(spec)  # refused when loaded, not at the first forecast
        try:
            tensors = safetensors.torch.load(files[WEIGHTS])
        except Exception as error:  # safetensors raises its own type for every malformed header
            raise BundleError(f"{WEIGHTS} in '{folder}' is not a safetensors file: {error}.") from error
        network = _build_network(spec, _under(tensors, "network."), folder)
        preparation = _build_preparation(spec, _under(tensors, "preparation."), folder)
        for size in ("c_in", "c_out"):
            ours, theirs = getattr(network, size), getattr(preparation, size)
            if ours != theirs:
                raise BundleError(
                    f"{size} in '{folder}': the network has {ours}, its preparation {theirs}. Export it "
                    "again."
                )
        # complete and by present names, even if an older stconv wrote less or other names
        spec["preparation"], spec["network"] = preparation.spec.to_json(), describe(network)
        mask = tensors.get("bundle.always_valid")
        always_valid = None if mask is None else mask.numpy().astype(bool)
        bands = _build_bands(spec, _under(tensors, "bands."), folder)
        return cls(network.eval(), preparation.eval(), spec, always_valid, digest, bands, files.get(INT8))

    def _files(self) -> dict[str, bytes]:
        parts = {"network": self.network, "preparation": self.preparation}
        tensors = {
            f"{prefix}.{key}": value.detach().cpu().contiguous().clone()
            for prefix, module in parts.items()
            for key, value in module.state_dict().items()
        }
        if self.always_valid is not None:
            tensors["bundle.always_valid"] = torch.from_numpy(self.always_valid.astype(np.uint8))
        spec = {**self.spec, "format_version": FORMAT_VERSION}
        if self.bands is not None:
            tensors |= {f"bands.{name}": tensor.contiguous() for name, tensor in self.bands.tensors().items()}
            spec["bands"] = self.bands.to_spec()
        try:
            text = json.dumps(spec, indent=2, sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise BundleError(
                f"The spec of bundle '{self.spec.get('name')}' cannot be written as JSON: {error}."
            ) from error
        return {
            WEIGHTS: safetensors.torch.save(tensors),
            SPEC: (text + "\n").encode(),
            card.NAME: card.model_card(spec).encode(),
        } | ({} if self.int8 is None else {INT8: self.int8})


def _parse_spec(content: bytes, folder: Path) -> dict[str, Any]:
    try:
        spec = json.loads(content)
    except ValueError as error:
        raise BundleError(f"{SPEC} in '{folder}' is not JSON: {error}. Export the bundle again.") from error
    version = spec.get("format_version") if isinstance(spec, dict) else None
    if version == 1:
        spec = from_version_1(spec)
    if version not in range(1, FORMAT_VERSION + 1):
        raise BundleError(
            f"'{folder}' has format version {version}; this stconv reads versions 1 to {FORMAT_VERSION}. "
            "Use the stconv that wrote it, or export the run again."
        )
    missing = [key for key in REQUIRED_KEYS if key not in spec]
    if missing:
        raise BundleError(f"{SPEC} in '{folder}' lacks {', '.join(missing)}. Export the bundle again.")
    return {**spec, "format_version": FORMAT_VERSION}


def _build_network(spec: dict[str, Any], tensors: dict[str, Tensor], folder: Path) -> Network:
    try:
        modules = spec.get("modules")
        network = build(spec["network"], modules if isinstance(modules, dict) else None)
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        raise BundleError(f"The network of '{folder}' cannot be built: {error}") from error
    _fit_weights(network, tensors, "network", folder)
    return network


def _build_preparation(spec: dict[str, Any], tensors: dict[str, Tensor], folder: Path) -> Preparation:
    try:
        preparation = preparation_from_spec(PreparationSpec.from_json(spec["preparation"]), tensors)
    except (ConfigError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BundleError(f"The preparation of '{folder}' cannot be built: {error}") from error
    _fit_weights(preparation, tensors, "preparation", folder)
    return preparation


def _build_bands(spec: dict[str, Any], tensors: dict[str, Tensor], folder: Path) -> Bands | None:
    if "bands" not in spec:
        return None
    try:
        return Bands.from_spec(spec["bands"], band_tensors(tensors))
    except (ConfigError, TypeError, ValueError) as error:
        raise BundleError(f"The bands of '{folder}' cannot be built: {error}") from error


def _fit_weights(module: torch.nn.Module, tensors: dict[str, Tensor], what: str, folder: Path) -> None:
    try:
        module.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        reasons = str(error).splitlines()[1:]  # the first line only names the class
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        raise BundleError(
            f"The weights in '{folder}' do not fit the {what} that {SPEC} describes: "
            f"{reasons[0].strip() if reasons else error}{more} Export the bundle again."
        ) from error


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
