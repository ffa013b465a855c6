"""A trained model as files: weights.safetensors, spec.json, and a manifest of their hashes."""

from stconv.bundle.bundle import FORMAT_VERSION, Bundle
from stconv.bundle.contract import Contract, ModelGrid, ModelVariable, Output
from stconv.bundle.make import code_version, make_bundle

__all__ = [
    "FORMAT_VERSION",
    "Bundle",
    "Contract",
    "ModelGrid",
    "ModelVariable",
    "Output",
    "code_version",
    "make_bundle",
]
