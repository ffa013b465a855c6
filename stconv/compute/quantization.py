"""Quantization of a trained network to int8, calibrated on windows of its own training period."""

from __future__ import annotations

import importlib.util
import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from stconv.bundle import Bundle
from stconv.compute.engine import Members, compiled
from stconv.compute.export import INPUT, onnx_bytes
from stconv.datasets.series.dataset import WindowDataset
from stconv.errors import ConfigError, SplitError
from stconv.nn.settings import check_count
from stconv.plain import to_plain
from stconv.spacing import evenly_spaced

if TYPE_CHECKING:
    from stconv.datasets.datamodule import GridDataModule

BATCH = 15


def quantized(bundle: Bundle, data: GridDataModule, n_windows: int = 300) -> Bundle:
    """Return the bundle with its network in int8 in addition to float32.

    Inputs and weights of the convolutions are rounded to 256 levels, the weights per output channel.
    Convolutions that read the frames themselves stay in float32, as does everything else: they cost little,
    the change between two frames is small relative to their range, and OpenVINO 2026.4 computes some of them
    wrongly in int8.

    The levels of an input span its range in windows spaced evenly over the training period. The loss of
    accuracy is measured on as many windows of the validation period, and stored in the spec as `int8`: the
    RMSE of each output in float32 and in int8.

    Args:
        bundle: Trained bundle; it is not changed.
        data: Data module after `setup`, with the data that the bundle was trained on.
        n_windows: Largest number of windows from each period.

    Raises:
        ConfigError: The packages for int8 are not installed, or the variables differ.
        SplitError: The training period differs from the bundle's.
    """
    missing = [name for name in ("onnxruntime", "openvino") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"an int8 network needs {' and '.join(missing)}. Install them: pip install 'stconv[openvino]'."
        )
    check_count("n_windows", n_windows, "quantized")
    _check_data(bundle, data)
    training = (bundle.preparation.inputs(batch).numpy() for batch in _windows(data, "train", n_windows))
    int8 = rounded(onnx_bytes(bundle.network, members=True), training)
    batches = list(_windows(data, "val", n_windows))
    names = [output.name for output in bundle.contract.outputs]
    before, after = (_rmse(bundle, by, batches) for by in (bundle.network.members, compiled(int8)))
    about = {
        "n_windows": min(n_windows, len(data.references["train"])),
        "period": to_plain(data.describe().periods["train"]),
        "rmse": {name: list(pair) for name, *pair in zip(names, before, after, strict=False)},
    }
    return replace(bundle, spec={**bundle.spec, "int8": about}, int8=int8, _hash=None)


def _check_data(bundle: Bundle, data: GridDataModule) -> None:
    expected, found = tuple(bundle.preparation.variables), data.series.variables
    if expected != found:
        raise ConfigError(
            f"The model was trained on {', '.join(expected)}, the data section names {', '.join(found)} "
            "(targets first). Name the configuration that it was trained with."
        )
    trained, ours = bundle.data.periods.get("train"), data.describe().periods["train"]
    if trained is None:
        return
    for edge, here, there in (("start", ours.start, trained.start), ("end", ours.end, trained.end)):
        if here != there:
            raise SplitError(
                f"The training period {edge}s {here} in this configuration, and {there} in the model. "
                "Name the configuration that it was trained with."
            )


def _windows(data: GridDataModule, period: str, n_windows: int) -> Iterator[dict[str, Tensor]]:
    """Return batches of windows spaced evenly over a period."""
    windows = WindowDataset(data.series, data.spec, evenly_spaced(data.references[period], n_windows))
    for start in range(0, len(windows), BATCH):
        yield windows.batch(range(start, min(start + BATCH, len(windows))))


def rounded(model: bytes, windows: Iterable[np.ndarray]) -> bytes:
    """Quantize an ONNX model.

    Args:
        model: ONNX model, from `stconv.compute.export.onnx_bytes`.
        windows: Batches of normalized inputs; the levels of every convolution's input span its range in them.
    """
    import onnx
    from onnxruntime import quantization

    class Windows(quantization.CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no annotations
        def __init__(self) -> None:
            self.batches = iter(windows)

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self.batches, None)
            return None if batch is None else {INPUT: batch}

    loaded = onnx.load_from_string(model)
    with tempfile.TemporaryDirectory() as folder, _without_warnings():
        path = Path(folder) / "int8.onnx"
        quantization.quantize_static(
            loaded,
            path,
            Windows(),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "ConvTranspose"],
            nodes_to_exclude=_first(loaded.graph),
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        return path.read_bytes()


def _first(graph: Any) -> list[str]:
    """Return the names of the convolutions that no other one precedes."""
    known, names = {value.name for value in graph.input}, []
    for node in graph.node:  # in the order of computation
        if known.isdisjoint(node.input):
            continue
        if node.op_type in {"Conv", "ConvTranspose"}:
            names.append(node.name)
        else:
            known.update(node.output)
    return names


@torch.inference_mode()
def _rmse(bundle: Bundle, members: Members, batches: list[dict[str, Tensor]]) -> list[float]:
    """Return the RMSE of each output over all leads and cells that have a value, in physical units."""
    squares: list[Tensor] = []
    counts: list[Tensor] = []
    for batch in batches:
        forecast = bundle.preparation.physical(members(bundle.preparation.inputs(batch)).mean(0), batch)
        truth = bundle.preparation.truth(batch)
        error = (forecast - truth).double().transpose(0, 1).flatten(1)
        squares.append(error.square().nansum(1))
        counts.append(error.isfinite().sum(1))
    return (torch.stack(squares).sum(0) / torch.stack(counts).sum(0)).sqrt().tolist()


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Silence the quantizer's advice, which concerns models that were not simplified on export."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
