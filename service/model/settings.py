"""Settings of a model process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ModelSettings:
    """The bundle of a model process and its computation; the first message to the process.

    Attributes:
        bundle: Local folder of the bundle.
        version: Model version that the forecasts state; None for a part of the hash.
        sha256: Expected hash of the bundle; None accepts any whose files match its manifest.
        imports: Modules or .py files to import first, which register networks outside of stconv.
        data: Files, folders or patterns of the server's own data.
        threads: Number of PyTorch threads; None for PyTorch's choice.
        engine: Engine that computes the network, see `stconv.compute.engine`.
        tile: Edge of a tile, cells, see `Forecaster`.
        max_batch: Limit of windows in one batch.
        batch_seconds: Time for which a window waits for others to join its batch, s.
        hang_seconds: Time for a step, beyond what it usually takes, after which the process hangs, s.
    """

    bundle: str
    version: str | None = None
    sha256: str | None = None
    imports: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    threads: int | None = None
    engine: Literal["torch", "openvino", "openvino-int8"] = "torch"
    tile: int | None = None
    max_batch: int = 8
    batch_seconds: float = 0.003
    hang_seconds: float = 7.0
