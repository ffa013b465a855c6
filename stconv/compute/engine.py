"""Engines that compute a trained network: PyTorch, and OpenVINO in float32 or int8."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from stconv.bundle import Bundle
from stconv.compute.export import example_windows, onnx_bytes
from stconv.errors import ConfigError, StconvError
from stconv.models import Network
from stconv.nn.settings import check_choice

Engine = Literal["torch", "openvino", "openvino-int8"]
"""openvino: the same forecast, often faster. openvino-int8: faster still, with rounding."""
LARGEST_ERROR = 1e-3
"""Largest difference between float32 engines that rounding explains, relative to the largest value."""

Members = Callable[[Tensor], Tensor]
"""Function like `Network.members`, from (batch, c_in, t_in, lat, lon) to (member, batch, c_out, leads, lat,
lon)."""


def members_by(engine: Engine, bundle: Bundle, device: torch.device) -> Members:
    """Return the function that computes the members of a bundle's network.

    For `openvino` the network is translated and compiled here once, which takes about ten seconds, and then
    compared with PyTorch's on a random window. No data are sent anywhere: the model is read by the OpenVINO
    runtime, not by its converter, which sends usage reports.

    Args:
        engine: torch, openvino or openvino-int8.
        bundle: Bundle whose network is computed.
        device: Device of PyTorch; OpenVINO computes on the CPU only.

    Raises:
        ConfigError: The engine is unknown, not installed or not for this device, the bundle has no int8
            network, or the network cannot be translated.
    """
    check_choice("engine", engine, get_args(Engine), "a forecast")
    network = bundle.network
    if engine == "torch":
        return network.members
    if importlib.util.find_spec("openvino") is None:
        raise ConfigError(
            f"the engine '{engine}' needs openvino, which is not installed. Install it: pip install "
            "'stconv[openvino]', or use the engine 'torch'."
        )
    if device.type != "cpu":
        raise ConfigError(
            f"the engine '{engine}' computes on the CPU, and the device is '{device}'. Use the device "
            "'cpu', or the engine 'torch'."
        )
    if engine == "openvino-int8":
        if bundle.int8 is None:
            raise ConfigError(
                f"'{bundle.name}' has no int8 network. Make a bundle that has one with `stconv quantize`, "
                "or use the engine 'openvino'."
            )
        return compiled(bundle.int8)
    try:
        members = compiled(onnx_bytes(network, members=True))
    except StconvError:
        raise
    except Exception as error:  # exporter and runtime raise many types
        reason = str(error).strip().splitlines()
        raise ConfigError(
            f"{type(network).__name__} cannot be translated for the engine '{engine}' "
            f"({reason[0] if reason else type(error).__name__}). Use the engine 'torch'."
        ) from error
    _hold_against(network, members)
    return members


def compiled(model: bytes) -> Members:
    """Compile an ONNX model for as many threads as PyTorch has.

    Args:
        model: ONNX model with members, from `stconv.compute.export.onnx_bytes`.
    """
    import openvino

    core = openvino.Core()
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",  # otherwise bfloat16 if the processor supports it
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    run = core.compile_model(core.read_model(model), "CPU", settings)

    def members(x: Tensor) -> Tensor:
        return torch.from_numpy(run([x.contiguous().numpy()])[0])

    return members


@torch.inference_mode()
def _hold_against(network: Network, members: Members) -> None:
    x = example_windows(network)
    expected, found = network.eval().members(x), members(x)
    error = float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-12))
    if not error <= LARGEST_ERROR:
        raise ConfigError(
            f"{type(network).__name__} by OpenVINO differs from PyTorch by {error:.2g}, relative; "
            f"expected at most {LARGEST_ERROR:g}. Use the engine 'torch'."
        )
