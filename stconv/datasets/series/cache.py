"""A series too large for memory as one contiguous, mapped float32 file: built once, resumed after a kill.

A cached series has two files: ``KEY.f32``, (time, channel, lat, lon) in C order, and ``KEY.json``, which is
written last and marks it as complete. During construction they are ``KEY.part`` and ``KEY.progress``.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import itertools
import json
import mmap
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from stconv.datasets.remote.address import Address, Place
from stconv.datasets.remote.kinds import place_state
from stconv.errors import FileError

Read = Callable[[int, int], np.ndarray]
"""Returns the values of steps start to stop, (stop - start, channel, lat, lon)."""


def available_bytes() -> int:
    """Available memory without swapping, of the machine or of its control group."""
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                available = int(line.split()[1]) * 1024
    with contextlib.suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text())
        available = min(available, limit - int((group / "memory.current").read_text()))
    return max(available, 0)


def fingerprint(files: Sequence[Place], settings: Any) -> str:
    """Key of a cached series: names, sizes and modification times of its files, and the read options.

    Of a store on the network these are the files that change when it grows, see `place_state`.
    """
    parts: list[Any] = [repr(settings)]
    for file in files:
        if isinstance(file, Address):
            parts.append(place_state(file))
            continue
        for path in sorted(p for p in file.rglob("*") if p.is_file()) if file.is_dir() else [file]:
            stat = path.stat()
            parts.append((str(path.absolute()), stat.st_size, stat.st_mtime_ns))
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def cached(
    folder: Path,
    key: str,
    shape: tuple[int, int, int, int],
    read: Read,
    edges: Sequence[int],
    progress: bool = True,
) -> tuple[np.ndarray, str]:
    """Open a cached array, and build it first if it is absent or unfinished.

    Memory is bounded by a few blocks. The blocks that a killed process wrote are kept.

    Args:
        folder: Folder of the cache.
        key: Key from `fingerprint`.
        shape: (time, channel, lat, lon).
        read: Reads some steps from the source.
        edges: Edges of the blocks of steps, from 0 to the number of steps; edges of the source's chunks, so
            that none is decoded twice.
        progress: Whether to show a progress bar while building.

    Returns:
        float32 memory map, (time, channel, lat, lon), and the sha256 of its bytes.

    Raises:
        FileError: The folder lacks space or permission; no file is left that counts as complete.
    """
    data, header = folder / f"{key}.f32", folder / f"{key}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / f"{key}.lock"):
            digest = _finished(data, header, shape)
            if digest is None:
                digest = _build(data, header, shape, read, edges, progress)
    except OSError as error:
        forget(folder, key)
        raise FileError(_why_not(folder, shape, error)) from error
    return map_file(data, shape), digest


def has_room(folder: Path, key: str, n_bytes: int) -> bool:
    """Whether a cached array exists, or would fit on its disk."""
    if (folder / f"{key}.json").is_file():
        return True
    existing = next(path for path in (folder, *folder.parents) if path.is_dir())
    begun = folder / f"{key}.part"
    return shutil.disk_usage(existing).free + (begun.stat().st_size if begun.is_file() else 0) >= n_bytes


def forget(folder: Path, key: str) -> None:
    """Remove a cached array, finished or not."""
    for suffix in (".json", ".progress", ".part", ".f32"):
        (folder / f"{key}{suffix}").unlink(missing_ok=True)


def map_file(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Map a file of float32; changed values stay private to the process."""
    return np.memmap(path, dtype=np.float32, mode="c", shape=shape)


def forget_pages(values: np.ndarray) -> None:
    """Release the resident pages of a mapped array; they are read again when needed."""
    mapped = getattr(values, "_mmap", None)
    if mapped is not None:
        mapped.madvise(mmap.MADV_DONTNEED)


def _finished(data: Path, header: Path, shape: tuple[int, ...]) -> str | None:
    """Hash of a complete array; None if there is none of this shape."""
    try:
        content = json.loads(header.read_text())
        whole = tuple(content["shape"]) == shape and data.stat().st_size == 4 * int(np.prod(shape))
        return str(content["sha256"]) if whole else None
    except (OSError, ValueError, KeyError):
        return None


def _build(
    data: Path, header: Path, shape: tuple[int, ...], read: Read, edges: Sequence[int], progress: bool
) -> str:
    part, state = data.with_suffix(".part"), data.with_suffix(".progress")
    header.unlink(missing_ok=True)
    frame_bytes = 4 * int(np.prod(shape[1:]))
    done = _steps_done(part, state, frame_bytes, edges)
    missing, free = (shape[0] - done) * frame_bytes, shutil.disk_usage(data.parent).free
    if missing > free:
        raise OSError(errno.ENOSPC, f"{missing / 1e9:.3g} GB are needed, {free / 1e9:.3g} GB are free")
    digest = hashlib.sha256()
    with part.open("r+b" if part.exists() else "w+b") as file, ThreadPoolExecutor(1) as writer:
        for start, stop in itertools.pairwise(edge for edge in edges if edge <= done):
            digest.update(file.read(frame_bytes * (stop - start)))
        file.truncate(done * frame_bytes)
        file.seek(done * frame_bytes)

        def keep(values: np.ndarray, stop: int) -> None:
            digest.update(values.data)
            file.write(values.data)
            file.flush()
            os.fdatasync(file.fileno())
            _write_whole(state, {"steps": stop})

        # One block is hashed and written while the next is decoded; at most these two are in memory.
        kept = writer.submit(lambda: None)
        for start, stop in _track([*itertools.pairwise(edge for edge in edges if edge >= done)], progress):
            values = np.ascontiguousarray(read(start, stop), dtype=np.float32)
            kept.result()
            kept = writer.submit(keep, values, stop)
        kept.result()
    part.replace(data)
    _write_whole(header, {"shape": list(shape), "sha256": digest.hexdigest()})
    state.unlink(missing_ok=True)
    return digest.hexdigest()


def _steps_done(part: Path, state: Path, frame_bytes: int, edges: Sequence[int]) -> int:
    """Number of steps that an earlier, killed process has certainly written."""
    try:
        steps = int(json.loads(state.read_text())["steps"])
        return steps if steps in edges and part.stat().st_size >= steps * frame_bytes else 0
    except (OSError, ValueError, KeyError):
        return 0


def _write_whole(path: Path, content: dict[str, Any]) -> None:
    new = path.with_name(f"{path.name}.new")
    new.write_text(json.dumps(content))
    new.replace(path)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process build at a time; others wait and use its result."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _track(blocks: list[tuple[int, int]], progress: bool) -> Any:
    from rich.progress import track

    return track(blocks, description="Caching the series", disable=not progress)


def _why_not(folder: Path, shape: tuple[int, ...], error: OSError) -> str:
    return (
        f"The series does not fit in memory and cannot be cached in '{folder}' ({error.strerror}): it "
        f"takes {4 * int(np.prod(shape)) / 1e9:.3g} GB. Free some space (`stconv data clean`), or name a "
        "folder on another disk with STCONV_CACHE."
    )
