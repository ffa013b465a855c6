"""The network of a trained model as a file for other programs, and in int8."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stconv.errors import ConfigError
from stconv.front.contained import contained

if TYPE_CHECKING:
    import xarray as xr

WORTH = 1.005
"""A larger growth of the RMSE by int8 is not worth its speed."""


@contained
def export(model: str | Path, output: str | Path) -> Path:
    """Write the network of a model as ONNX or as a program of torch.export.

    It maps normalized frames (batch, channel, time, lat, lon) to the normalized forecast (batch, channel,
    lead, lat, lon), for any batch size and grid. Normalization and units stay in the bundle.

    Args:
        model: A reference as for `stconv.load`.
        output: File to write, ending in .onnx or .pt2.

    Returns:
        The file.

    Raises:
        ConfigError: The file ends otherwise, or the extra `onnx` is not installed.
    """
    file = Path(output)
    if file.suffix not in {".onnx", ".pt2"}:
        raise ConfigError(f"'{file}' ends in '{file.suffix}'; expected .onnx or .pt2.")
    import torch

    from stconv.bundle import Bundle
    from stconv.compute.export import to_onnx, to_program
    from stconv.tracking.registry import resolve_bundle

    network = Bundle.load(resolve_bundle(str(model))).network
    if file.suffix == ".onnx":
        to_onnx(network, file)
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.export.save(to_program(network), file)
    return file


@dataclass(frozen=True)
class Quantized:
    """A bundle whose network is there in int8 too.

    Attributes:
        folder: The bundle, for `stconv.load(folder, engine="openvino-int8")`.
        hash: Its hash.
        n_windows: Windows of the training period that the int8 levels are calibrated on.
        rmse: RMSE on the validation period by variable, in float32 and in int8, in the units of the variable.
        weights_bytes: Size of the int8 network, bytes.
    """

    folder: Path
    hash: str
    n_windows: int
    rmse: dict[str, tuple[float, float]]
    weights_bytes: int

    @property
    def worse(self) -> list[str]:
        """Variables whose RMSE int8 raises by more than 0.5 %."""
        return [name for name, (before, after) in self.rmse.items() if after > WORTH * before]

    def __str__(self) -> str:
        lines = [f"calibrated on   {self.n_windows} windows of the training period"]
        for name, (before, after) in self.rmse.items():
            change = f"{100 * (after / before - 1):+.2f} %" if before else "no error to compare with"
            lines.append(
                f"{name:<16}RMSE {before:.4g} in float32, {after:.4g} in int8 ({change}), validation period"
            )
        lines.append(f"weights         {self.weights_bytes / 1e6:.3g} MB")
        return "\n".join([*lines, f"bundle          {self.folder}, {self.hash[:12]}"])


@contained
def quantize(
    model: str | Path,
    output: str | Path,
    data: xr.Dataset | None = None,
    *,
    config: str | Path | None = None,
    windows: int = 300,
) -> Quantized:
    """Write the bundle of a model with its network in int8 beside float32.

    Args:
        model: A run's id or name, or a reference as for `stconv.load`.
        output: Folder of the new bundle.
        data: Dataset that the model was trained on, if it was in memory.
        config: Configuration of the training, if it is not found.
        windows: Number of windows of the training period to calibrate on, and of the validation period to
            measure the loss of accuracy on.

    Raises:
        ConfigError: There is no configuration of the data, or the extra `openvino` is not installed.
    """
    from stconv.bundle import Bundle
    from stconv.compute.quantization import quantized
    from stconv.experiments.trained_model import find_trained_model

    trained = find_trained_model(str(model), config=None if config is None else str(config), dataset=data)
    bundle, module = Bundle.load(trained.bundle), trained.data()
    module.setup()
    made = quantized(bundle, module, windows)
    folder = made.save(Path(output))
    about = made.spec["int8"]
    rmse = {name: (float(before), float(after)) for name, (before, after) in about["rmse"].items()}
    return Quantized(folder, made.hash, about["n_windows"], rmse, len(made.int8 or b""))
