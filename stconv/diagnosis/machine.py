"""Cores, memory, disks, GPU and clock, as the container allows them."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from stconv.containers import memory_limit
from stconv.diagnosis.finding import Finding, State, size
from stconv.processor import THREADS, available_cores

LEAST_MEMORY, LEAST_DISK = 2 * 2**30, 5 * 2**30
"""Below these a training of a usual size may end with an error."""
BUSY = 1.5
"""Running processes per core from which on everything takes much longer."""
CLOCK_SECONDS = 5.0


def check_processor() -> Iterator[Finding]:
    """Compare the threads with the cores that this process may use, and look whether they are free."""
    cores, all_cores = available_cores(), os.cpu_count() or 1
    allowed = f"{cores} of {all_cores} cores may be used" if cores < all_cores else f"{cores} cores"
    set_threads = os.environ.get(THREADS, "")
    if set_threads and not set_threads.isdecimal():
        yield Finding(
            "processor", State.WARNING, f"{THREADS} is '{set_threads}'.", f"Set {THREADS} to a number."
        )
    elif set_threads and int(set_threads) > cores:
        yield Finding(
            "processor",
            State.WARNING,
            f"{allowed}, and {THREADS} is {set_threads}: threads wait for one another.",
            f"Unset {THREADS}, or set it to {cores}.",
        )
    else:
        yield Finding("processor", State.OK, f"{allowed}, {set_threads or cores} thread(s).")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > BUSY * all_cores:
        yield Finding(
            "processor",
            State.WARNING,
            f"{load:.0f} processes compete for {all_cores} cores (mean of the last minute).",
            "Wait until the others are done; a training takes a multiple of its time now.",
        )


def check_memory(limit: int | None = None, meminfo: Path = Path("/proc/meminfo")) -> Iterator[Finding]:
    """Look how much memory is free, and what the container allows.

    Args:
        limit: Memory that the container may use, bytes; default: read from the control groups.
        meminfo: File of the kernel.
    """
    limit = memory_limit() if limit is None else limit
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        free = 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        yield Finding("memory", State.OK, "The free memory is not known on this system.")
        return
    usable = free if limit is None else min(free, limit)
    found = f"{size(free)} are free" + (f", the container may use {size(limit)}" if limit is not None else "")
    if usable < LEAST_MEMORY:
        yield Finding(
            "memory",
            State.WARNING,
            f"{found}; a training of usual size needs {size(LEAST_MEMORY)}.",
            "End other programs, raise the limit of the container, or reduce data.loading.batch_size.",
        )
    else:
        yield Finding("memory", State.OK, f"{found}.")


def check_disks(folders: dict[str, Path]) -> Iterator[Finding]:
    """Look whether folders can be written, and how much fits.

    Args:
        folders: Folders by what they hold.
    """
    for what, folder in folders.items():
        above = next(path for path in (folder, *folder.parents) if path.exists())
        try:
            with tempfile.TemporaryFile(dir=above):
                pass
        except OSError as error:
            yield Finding(
                "disk",
                State.FAULT,
                f"The folder of {what}, '{folder}', cannot be written: {error.strerror}.",
                "Choose another folder"
                + (" by STCONV_CACHE." if what == "the cache" else ", or change its rights."),
            )
            continue
        free = shutil.disk_usage(above).free
        if free < LEAST_DISK:
            yield Finding(
                "disk",
                State.WARNING,
                f"{size(free)} are free for {what} in '{folder}'.",
                f"Make room: checkpoints, bundles and copies of series need some {size(LEAST_DISK)}.",
            )
        else:
            yield Finding("disk", State.OK, f"{size(free)} are free for {what} in '{folder}'.")


def check_gpu(devices: Path = Path("/dev")) -> Iterator[Finding]:
    """Look whether torch uses the GPU that the system has.

    Args:
        devices: Folder of devices.
    """
    present = sorted(path.name for path in devices.glob("nvidia[0-9]*"))
    if importlib.util.find_spec("torch") is None:
        yield Finding("gpu", State.FAULT, "torch is not installed.", "pip install stconv")
        return
    import torch

    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        yield Finding("gpu", State.OK, f"torch {torch.__version__} uses {names}.")
    elif present:
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "a build without CUDA"
        yield Finding(
            "gpu",
            State.WARNING,
            f"The system has {len(present)} NVIDIA GPU(s), which torch {torch.__version__} ({built}) does "
            "not see.",
            "Install the build of torch that fits the driver (`nvidia-smi` names its version).",
        )
    else:
        yield Finding("gpu", State.OK, f"No GPU; torch {torch.__version__} computes on the processor.")


def check_clock() -> Iterator[Finding]:
    """Compare the clock with the time that the disk gives to a new file."""
    with tempfile.NamedTemporaryFile(dir=Path.cwd() if os.access(Path.cwd(), os.W_OK) else None) as file:
        off = time.time() - os.stat(file.name).st_mtime
    if abs(off) > CLOCK_SECONDS:
        yield Finding(
            "clock",
            State.WARNING,
            f"The clock differs by {off:.0f} s from that of the disk.",
            "Let the machines keep their time by NTP: the newest run and the age of data depend on it.",
        )
    else:
        yield Finding("clock", State.OK, f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}.")
