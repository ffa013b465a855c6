"""The settings with which a model's process is started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stconv.compute.engine import Engine


@dataclass(frozen=True)
class ModelSettings:
    """Which model a process loads, and how it computes.

    Attributes:
        bundle: Folder of the bundle, local.
        version: What the forecasts name as model version; None: a part of the hash.
        sha256: Hash that the bundle must have; None takes any whose files fit its manifest.
        imports: Modules or .py files to import first; they register networks outside of stconv.
        data: Files, folders or patterns that forecasts without an upload start from.
        threads: Threads of PyTorch; None as PyTorch chooses.
        engine: What computes the network, see `stconv.compute.engine`.
        tile: Cells of a tile, as for Forecaster.
        max_batch: Windows in one batch.
        batch_seconds: How long a window waits for others that may join it.
    """

    bundle: str
    version: str | None = None
    sha256: str | None = None
    imports: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    threads: int | None = None
    engine: Engine = "torch"
    tile: int | None = None
    max_batch: int = 8
    batch_seconds: float = 0.003
