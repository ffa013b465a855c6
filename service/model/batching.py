"""Batching: windows of several requests computed together."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from service.model.steps import Steps
from stconv.bundle import Bundle
from stconv.errors import DataError
from stconv.forecast.computation import Batch, Computation

CHECKING, COMPUTING = "the checking or writing of a forecast", "the computation of a forecast"
USUAL = 3
"""Multiple of the time of the last batch that is still usual."""


class RequestGivenUp(Exception):  # noqa: N818 - not an error: the answer is no longer needed
    """The request was given up before its forecast started."""


@dataclass
class Work:
    """Measurements of one request.

    Attributes:
        number: Number of the request.
        turn_seconds: Time for which it may hold the turn, s.
        forecast_seconds: Time spent waiting for the network, s.
        windows_in_batch: Number of windows in its batch, including its own; 0 if none was computed.
    """

    number: int
    turn_seconds: float
    forecast_seconds: float = 0.0
    windows_in_batch: int = 0


@dataclass(eq=False)
class _Window:
    """The window of one request, waiting to be computed."""

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


class Batches:
    """A computation for many threads that computes their windows as one batch.

    Except for the network, one thread works at a time, the one that holds the turn, because netCDF-C is not
    thread-safe and Python would not be faster. A thread releases its turn while it waits for its forecast, so
    that the next batch is collected while the network computes.

    Args:
        computation: Computation of a batch.
        max_batch: Limit of windows in one batch.
        wait_seconds: Time for which a window waits for others, s; without other requests it does not wait.
        hang_seconds: Time for a step, beyond what it usually takes, after which it hangs, s.

    Attributes:
        steps: Steps that the threads are at.
        window_seconds: Time of the last batch for each of its windows, s.
        last: Time of the end of the last batch, monotonic clock, s.
    """

    def __init__(
        self,
        computation: Computation,
        max_batch: int = 8,
        wait_seconds: float = 0.003,
        hang_seconds: float = 7.0,
    ) -> None:
        self._computation = computation
        self._hang_seconds = hang_seconds
        self.steps = Steps()
        self.window_seconds = 0.0
        self.last = time.monotonic()
        self._max_batch, self._wait_seconds = max_batch, wait_seconds
        self._turn = threading.Lock()
        self._changed = threading.Condition()
        self._under_way: set[int] = set()
        self._given_up: set[int] = set()
        self._windows: list[_Window] = []
        self._thread = threading.local()
        threading.Thread(target=self._compute_on, name="compute", daemon=True).start()

    def announce(self, number: int) -> None:
        """Announce a request, whose window may join the next batch."""
        with self._changed:
            self._under_way.add(number)

    def give_up(self, number: int) -> None:
        """Give up a request, so that its forecast does not start."""
        with self._changed:
            if number in self._under_way:
                self._given_up.add(number)
                self._changed.notify_all()

    @contextmanager
    def turn(self, number: int, patience: float = 0.0) -> Iterator[Work]:
        """Wait for the turn of an announced request; yields its measurements.

        Args:
            number: Number of the request.
            patience: Time for which it may hold the turn, beyond `hang_seconds`, s.

        Raises:
            RequestGivenUp: The request was given up, before or meanwhile.
        """
        work = self._thread.work = Work(number, self._hang_seconds + patience)
        try:
            with self._turn:
                if number in self._given_up:
                    raise RequestGivenUp
                self.steps.begin(CHECKING, work.turn_seconds)
                yield work
        finally:
            self.steps.end()
            with self._changed:
                self._under_way.discard(number)
                self._given_up.discard(number)
                self._changed.notify_all()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Let others have the turn meanwhile; the caller must hold it."""
        work: Work = self._thread.work
        self.steps.end()
        self._turn.release()
        try:
            yield
        finally:
            self._turn.acquire()
            self.steps.begin(CHECKING, work.turn_seconds)

    def __call__(self, batch: Batch, with_bands: bool) -> Tensor:
        """Compute windows in a batch with those of other threads; the caller must hold the turn."""
        work: Work = self._thread.work
        window = _Window(work.number, batch, with_bands)
        began = time.perf_counter()
        with self._changed:
            self._windows.append(window)
            self._changed.notify_all()
        with self.aside():
            window.done.wait()
        work.forecast_seconds += time.perf_counter() - began
        work.windows_in_batch = window.companions
        if window.error is not None:
            raise window.error
        assert window.forecast is not None
        return window.forecast

    def _compute_on(self) -> None:
        while True:
            windows = self._next_batch()
            began = time.monotonic()
            self.steps.begin(COMPUTING, self._hang_seconds + USUAL * self.window_seconds * len(windows))
            try:
                together = {key: torch.cat([w.batch[key] for w in windows]) for key in windows[0].batch}
                sizes = [len(window.batch["inputs"]) for window in windows]
                with torch.inference_mode():
                    fields = self._computation(together, windows[0].with_bands).split(sizes, dim=1)
                for window, forecast in zip(windows, fields, strict=True):
                    window.forecast, window.companions = forecast, len(windows)
            except BaseException as error:
                for window in windows:
                    window.error = error
            self.steps.end()
            self.last = time.monotonic()
            self.window_seconds = (self.last - began) / len(windows)
            for window in windows:
                window.done.set()

    def _next_batch(self) -> list[_Window]:
        """Collect windows of one shape; release those of requests that were given up."""
        end = None
        with self._changed:
            while True:
                self._release_given_up()
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

    def _release_given_up(self) -> None:
        for window in [w for w in self._windows if w.number in self._given_up]:
            self._windows.remove(window)
            window.error = RequestGivenUp()
            window.done.set()


class OnlyNumbers:
    """A computation that refuses non-finite forecasts of cells that always had a value.

    Args:
        computation: Computation of a batch.
        bundle: Bundle, which marks the cells that never had a value.
    """

    def __init__(self, computation: Computation, bundle: Bundle) -> None:
        self._computation, self._bundle = computation, bundle

    def __call__(self, batch: Batch, with_bands: bool) -> Tensor:
        """Compute a batch.

        Raises:
            DataError: Some values of the forecast are not finite.
        """
        fields = self._computation(batch, with_bands)
        forecast = fields[0]
        never = self._bundle.preparation.never_valid[: forecast.shape[1], None].cpu()
        bad = int((~(torch.isfinite(forecast) | never)).sum())
        if bad:
            raise DataError(
                f"'{self._bundle.name}' cannot forecast from this input: {bad} of {forecast.numel()} "
                "values of its forecast are not finite. Compare the input with the training range."
            )
        return fields
