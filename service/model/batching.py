"""Forecasts of several requests computed as one batch. Runs in the model's process."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import xarray as xr
from torch import Tensor

from stconv.bundle import Bundle
from stconv.compute.engine import Engine
from stconv.errors import DataError
from stconv.forecast import Forecaster
from stconv.forecast.inputs import CheckedInput

Batch = dict[str, Tensor]


class Dropped(Exception):  # noqa: N818 - not an error: nobody waits for the answer
    """The request was given up before its forecast was begun."""


@dataclass
class Work:
    """What is noted while one request is worked on.

    Attributes:
        number: Of the request.
        forecast_seconds: Spent waiting for the network.
        batch: Windows that were computed together with its own, that one included; 0 if none was computed.
        warnings: What the library warned of.
    """

    number: int
    forecast_seconds: float = 0.0
    batch: int = 0
    warnings: list[warnings.WarningMessage] = field(default_factory=list)


@dataclass(eq=False)
class _Window:
    """One request's window that waits to be computed."""

    number: int
    batch: Batch
    with_bands: bool
    done: threading.Event = field(default_factory=threading.Event)
    companions: int = 0
    forecast: Tensor | None = None
    error: BaseException | None = None

    @property
    def kind(self) -> tuple[bool, list[tuple[str, torch.Size]]]:
        return self.with_bands, sorted((key, value.shape[1:]) for key, value in self.batch.items())


class BatchingForecaster(Forecaster):
    """A Forecaster that many threads ask at once, and that computes their windows together.

    Everything but the network's work is done by one thread at a time, the one that holds the desk: netCDF-C
    is not thread-safe, and Python would not do it faster. A thread leaves the desk while it waits for its
    forecast; while a batch is computed the next one gathers.

    Args:
        bundle: As for Forecaster.
        device: As for Forecaster.
        version: As for Forecaster.
        engine: As for Forecaster.
        tile: As for Forecaster.
        max_batch: Windows in one batch.
        wait_seconds: How long a window waits for others that may join it; it waits for nobody if there is no
            other request.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: str = "cpu",
        version: str | None = None,
        tile: int | None = None,
        *,
        engine: Engine = "torch",
        max_batch: int = 8,
        wait_seconds: float = 0.003,
    ) -> None:
        super().__init__(bundle, device, version, tile, engine)
        self._max_batch, self._wait_seconds = max_batch, wait_seconds
        self._desk = threading.Lock()
        self._changed = threading.Condition()
        self._under_way: set[int] = set()
        self._dropped: set[int] = set()
        self._windows: list[_Window] = []
        self._thread = threading.local()
        threading.Thread(target=self._compute, name="compute", daemon=True).start()

    @property
    def work(self) -> Work:
        """What is noted of the request that this thread works on."""
        work: Work = self._thread.work
        return work

    def announce(self, number: int) -> None:
        """A request has come, and its window may join the next batch."""
        with self._changed:
            self._under_way.add(number)

    def drop(self, number: int) -> None:
        """Nobody waits for this request any more: its forecast is not begun."""
        with self._changed:
            if number in self._under_way:
                self._dropped.add(number)
                self._changed.notify_all()

    @contextmanager
    def at_desk(self, number: int) -> Iterator[Work]:
        """Work on an announced request; yields what is noted meanwhile.

        Raises:
            Dropped: It was dropped, before or meanwhile.
        """
        work = self._thread.work = Work(number)
        try:
            with self._desk:
                if number in self._dropped:
                    raise Dropped
                yield work
        finally:
            with self._changed:
                self._under_way.discard(number)
                self._dropped.discard(number)
                self._changed.notify_all()

    def check(self, ds: xr.Dataset, *args: Any, **options: Any) -> CheckedInput:
        """As `Forecaster.check`; warnings are noted, because Python's filters are shared by all threads."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            checked = super().check(ds, *args, **options)
        self.work.warnings += caught
        return checked

    def _fields(self, batch: Batch, with_bands: bool = False) -> Tensor:
        """What `predict` gives, in a batch with what other threads ask for. Called at the desk only."""
        work = self.work
        window = _Window(work.number, batch, with_bands)
        began = time.perf_counter()
        with self._changed:
            self._windows.append(window)
            self._changed.notify_all()
        self._desk.release()
        try:
            window.done.wait()
        finally:
            self._desk.acquire()
        work.forecast_seconds += time.perf_counter() - began
        work.batch = window.companions
        if window.error is not None:
            raise window.error
        assert window.forecast is not None
        self._require_numbers(window.forecast[0])
        return window.forecast

    def _require_numbers(self, forecast: Tensor) -> None:
        never = self.preparation.never_valid[: forecast.shape[1], None].cpu()
        bad = int((~(torch.isfinite(forecast) | never)).sum())
        if bad:
            raise DataError(
                f"'{self.bundle.name}' gives no numbers from this input: {bad} of {forecast.numel()} values "
                "of its forecast are not finite. Compare the values with the training range."
            )

    def _compute(self) -> None:
        while True:
            windows = self._next_batch()
            try:
                together = {key: torch.cat([w.batch[key] for w in windows]) for key in windows[0].batch}
                sizes = [len(window.batch["inputs"]) for window in windows]
                with torch.inference_mode():
                    fields = super()._fields(together, windows[0].with_bands).split(sizes, dim=1)
                for window, forecast in zip(windows, fields, strict=True):
                    window.forecast, window.companions = forecast, len(windows)
            except BaseException as error:
                for window in windows:
                    window.error = error
            for window in windows:
                window.done.set()

    def _next_batch(self) -> list[_Window]:
        """Wait for windows of one shape; those of dropped requests are given back at once."""
        end = None
        with self._changed:
            while True:
                for window in [w for w in self._windows if w.number in self._dropped]:
                    self._windows.remove(window)
                    window.error = Dropped()
                    window.done.set()
                alike = [w for w in self._windows if w.kind == self._windows[0].kind][: self._max_batch]
                if not alike:
                    end = None
                    self._changed.wait()
                    continue
                now = time.monotonic()
                end = end or now + self._wait_seconds
                others = len(self._under_way) > len(self._windows)
                if len(alike) == self._max_batch or not others or now >= end:
                    self._windows = [window for window in self._windows if window not in alike]
                    return alike
                self._changed.wait(end - now)
