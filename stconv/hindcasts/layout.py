"""Sizes of chunks, blocks and batches: integer arithmetic only.

A chunk holds all leads of some reference times. A block is a run of chunks that one worker computes, so that
it decodes a chunk of the archive once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stconv.hindcasts.job import Block, Chunk

CHUNK_BYTES = 16 * 2**20
"""Bytes of a variable in a chunk, about."""
LARGEST_CHUNK = 64 * 2**20
"""A single forecast above this size is divided along the leads."""
MEMORY_SHARE = 1 / 12
"""Share of a worker's memory that the forecasts of a chunk take; describing and encoding copies them."""
FRAMES_SHARE = 1 / 6
"""Share of a worker's memory that the frames of a block may take."""
MOST_FORECASTS, MOST_IN_BATCH = 1024, 32
FEATURES_SHARE = 1 / 4
"""Share of a worker's memory that the features of the network may take."""
FLOAT_BYTES = 4


@dataclass(frozen=True)
class Sizes:
    """Numbers of values that the layout follows from.

    Attributes:
        cells: Cells of the grid.
        inputs: Variables that are read.
        outputs: Variables of the forecast, bounds included.
        steps: Leads of a forecast.
        window: Frames from the oldest input to the reference time.
    """

    cells: int
    inputs: int
    outputs: int
    steps: int
    window: int

    @property
    def forecast_bytes(self) -> int:
        """Bytes of one forecast of all variables."""
        return FLOAT_BYTES * self.cells * self.outputs * self.steps

    @property
    def frame_bytes(self) -> int:
        """Bytes of one input frame of all variables."""
        return FLOAT_BYTES * self.cells * self.inputs


def references_per_chunk(sizes: Sizes, n_references: int, memory: int, n_workers: int) -> int:
    """Choose the number of reference times in a chunk.

    Args:
        sizes: Sizes of the forecasts.
        n_references: Number of reference times.
        memory: Memory of a worker, bytes.
        n_workers: Number of workers; each gets several chunks where there are enough.
    """
    of_variable = FLOAT_BYTES * sizes.cells * sizes.steps
    by_size = CHUNK_BYTES // of_variable
    by_memory = int(memory * MEMORY_SHARE) // sizes.forecast_bytes
    by_work = -(-n_references // (4 * max(n_workers, 1)))
    return max(1, min(by_size, by_memory, by_work, MOST_FORECASTS))


def leads_per_chunk(sizes: Sizes) -> int:
    """Choose the number of leads in a chunk: all, unless a single forecast is very large."""
    return max(1, min(sizes.steps, LARGEST_CHUNK // (FLOAT_BYTES * sizes.cells)))


def windows_per_batch(feature_bytes: int, memory: int, per_chunk: int) -> int:
    """Choose the number of windows that a network computes at once.

    Args:
        feature_bytes: Memory that the network takes for one window, see `bytes_of`.
        memory: Memory of a worker, bytes.
        per_chunk: Number of reference times in a chunk.
    """
    fitting = int(memory * FEATURES_SHARE) // max(feature_bytes, 1)
    return max(1, min(fitting, MOST_IN_BATCH, per_chunk))


def chunks_per_block(sizes: Sizes, per_chunk: int, archive_chunk: int, stride: int, memory: int) -> int:
    """Choose the number of chunks that a worker computes in one go.

    Args:
        sizes: Sizes of the forecasts.
        per_chunk: Number of reference times in a chunk.
        archive_chunk: Number of frames that the archive decodes at once.
        stride: Distance of neighboring reference times, in steps.
        memory: Memory of a worker, bytes.
    """
    frames = per_chunk * stride
    fitting = max(int(memory * FRAMES_SHARE) // sizes.frame_bytes - sizes.window, frames) // frames
    return max(1, min(round(archive_chunk / frames), fitting))


def chunks_of(positions: Sequence[int], per_chunk: int) -> list[Chunk]:
    """Divide the reference times of a store into chunks."""
    starts = range(0, len(positions), per_chunk)
    return [
        Chunk(number, start, tuple(positions[start : start + per_chunk]))
        for number, start in enumerate(starts)
    ]


def blocks_of(chunks: Sequence[Chunk], per_block: int) -> list[Block]:
    """Group the chunks that are left into blocks of successive ones."""
    groups: dict[int, list[Chunk]] = {}
    for chunk in chunks:
        groups.setdefault(chunk.number // per_block, []).append(chunk)
    return [Block(tuple(group)) for group in groups.values()]
