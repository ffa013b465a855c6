"""Calls that leave the process as they found it: random state, threads, warnings, logging, environment.

Lightning, MLflow and a fixed seed change the state of the whole process. A notebook or a program that calls
stconv as a library keeps its own.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

from stconv.brief_waits import brief_waits
from stconv.front.remedies import said_in_keywords
from stconv.front.warned import warned_at_the_caller

P = ParamSpec("P")
R = TypeVar("R")

QUIET = ("pytorch_lightning", "lightning", "lightning.pytorch", "lightning_fabric", "mlflow", "alembic")
"""Loggers of libraries that report on their own work; inside a call only their warnings pass."""


def contained(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function of the front door.

    The state of the process is the same before and after, and errors say their remedies in Python. While
    other programs are busy, torch's threads wait briefly for one another.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with containment(), brief_waits(), said_in_keywords():
            return function(*args, **kwargs)

    return call


@contextlib.contextmanager
def containment() -> Iterator[None]:
    """Restore the state of the process at the end, whatever the block does to it."""
    environment = dict(os.environ)
    before, restore_torch = random.getstate(), _torch_state()
    numbers = sys.modules["numpy"].random.get_state() if "numpy" in sys.modules else None
    interrupt = signal.getsignal(signal.SIGINT)
    known, names = _logging_state(), set(logging.root.manager.loggerDict)
    wording = warnings.formatwarning
    try:
        with warnings.catch_warnings(), warned_at_the_caller():
            warnings.simplefilter("ignore", DeprecationWarning)  # of one library to another
            for name in QUIET:
                logging.getLogger(name).setLevel(logging.WARNING)
            yield
    finally:
        warnings.formatwarning = wording
        random.setstate(before)
        if numbers is not None:
            sys.modules["numpy"].random.set_state(numbers)
        restore_torch()
        _restore_logging(known, names)
        for name in set(os.environ) - set(environment):
            del os.environ[name]
        os.environ.update(environment)
        if threading.current_thread() is threading.main_thread() and interrupt is not None:
            signal.signal(signal.SIGINT, interrupt)


def _torch_state() -> Callable[[], None]:
    """Return a function that gives torch its present state back; nothing if torch is not loaded yet."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return _forget_seed
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    grad, dtype = torch.is_grad_enabled(), torch.get_default_dtype()
    precision = torch.get_float32_matmul_precision()
    deterministic = torch.are_deterministic_algorithms_enabled()
    cudnn = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic

    def restore() -> None:
        torch.set_rng_state(state)
        if devices is not None:
            torch.cuda.set_rng_state_all(devices)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.set_grad_enabled(grad)
        torch.set_default_dtype(dtype)
        torch.set_float32_matmul_precision(precision)
        torch.use_deterministic_algorithms(deterministic)
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = cudnn

    return restore


def _forget_seed() -> None:
    """Seed torch as a fresh process would be, in case the block has loaded it."""
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        torch.set_rng_state(torch.Generator().get_state())


LoggerState = tuple[int, list[Any], list[Any], bool, bool]


def _logging_state() -> dict[str, LoggerState]:
    loggers = logging.root.manager.loggerDict.items()
    found = {name: _of(logger) for name, logger in loggers if isinstance(logger, logging.Logger)}
    return found | {"": _of(logging.root)}


def _of(logger: logging.Logger) -> LoggerState:
    return logger.level, logger.handlers[:], logger.filters[:], logger.propagate, logger.disabled


def _restore_logging(known: dict[str, LoggerState], names: set[str]) -> None:
    """Give loggers their state back; those that are new keep none of the handlers that libraries added."""
    for name, logger in [("", logging.root), *logging.root.manager.loggerDict.items()]:
        if not isinstance(logger, logging.Logger):
            continue
        if name in known:
            logger.level, logger.handlers, logger.filters, logger.propagate, logger.disabled = known[name]
        elif name not in names:
            logger.handlers, logger.filters = [], []
    logging.root.manager._clear_cache()  # type: ignore[attr-defined]
