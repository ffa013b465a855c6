"""Prometheus metrics, with bounded labels: models, route templates, methods, statuses."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

FAULT_KINDS = ("file", "future", "input", "store")
DROP_REASONS = ("queue full", "deadline", "client left")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
M = TypeVar("M", Counter, Gauge, Histogram)
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""Upper bounds of the buckets of times, s."""
WINDOWS = (1, 2, 4, 8, 16, 32)
"""Upper bounds of the buckets of batches, in windows."""


class Metrics:
    """Metrics of one application, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter, gauge, histogram = self._kind(Counter), self._kind(Gauge), self._kind(Histogram)
        route, model, lead = ["method", "route"], ["model"], ["model", "variable", "lead"]
        self.requests = counter("requests", "Requests by route.", [*route, "status"])
        self.seconds = histogram(
            "request_seconds",
            "Time from the request's headers to the last byte of the answer, s.",
            route,
            buckets=SECONDS,
        )
        self.in_flight = gauge("requests_in_flight", "Requests being processed.")
        self.computing = histogram(
            "forecast_seconds", "Time of a model's work on one request, s.", model, buckets=SECONDS
        )
        self.batches = histogram(
            "batch_windows", "Windows in the batch of each request.", model, buckets=WINDOWS
        )
        self.waiting = gauge("queue_length", "Requests waiting for a model.", model)
        self.rejected = counter("dropped", "Requests not computed.", [*model, "reason"])
        self.restarts = counter("worker_restarts", "Workers replaced.", model)
        self.swaps = counter("model_swaps", "Attempts to load another version.", [*model, "outcome"])
        self.alias_checks = counter("alias_checks", "Checks of a followed alias.", [*model, "outcome"])
        self.ready = gauge("model_ready", "1 if the model is loaded.", model)
        self.stored = gauge("stored_forecasts", "Forecasts in the archive.", model)
        self.newest = gauge(
            "newest_forecast_time_seconds", "Newest reference time in the archive, s since 1970.", model
        )
        self.step = gauge("frame_step_seconds", "Fixed interval between two frames of the data, s.", model)
        self.started = gauge("start_time_seconds", "Start of the server, s since 1970.")
        self.started.set_to_current_time()
        self.archive_failures = counter("archive_failures", "Failed checks of the data source.", model)
        self.archive_faults = gauge(
            "archive_faults", "Files, frames and stores that are passed over at present.", [*model, "kind"]
        )
        self.live_rmse = gauge(
            "live_rmse", "RMSE of stored forecasts and references against observed fields.", [*lead, "of"]
        )
        self.live_skill = gauge("live_skill", "1 - RMSE / RMSE of a reference.", [*lead, "reference"])
        self.live_cases = gauge("live_cases", "Verified forecasts.", lead)
        self.live_below = gauge(
            "live_skill_below_minimum",
            "1 if the live skill against persistence is below the minimum.",
            lead,
        )

    def _kind(self, kind: type[M]) -> Callable[..., M]:
        """Return a maker of metrics of one kind in this registry."""
        return partial(kind, namespace="stconv", registry=self.registry)

    def introduce(self, model: str) -> None:
        """Show the counters of a model at 0, because Prometheus sees no increase in the first value."""
        self.restarts.labels(model)
        self.archive_failures.labels(model)
        for reason in DROP_REASONS:
            self.rejected.labels(model, reason)
        for outcome in ("failed", "switched"):
            self.swaps.labels(model, outcome)

    def faults(self, model: str, kinds: Sequence[str]) -> None:
        """Show how many faults of each kind the archive of a model passes over."""
        for kind in FAULT_KINDS:
            self.archive_faults.labels(model, kind).set(kinds.count(kind))

    def live(self, model: str, found: dict[str, Any]) -> None:
        """Set the live verification of a model, in the form of /v1/verification."""
        below = {(entry["variable"], entry["lead"]) for entry in found["below"]}
        for name, scores in found["variables"].items():
            for i, lead in enumerate(found["leads"]):
                labels = (model, name, str(lead))
                self.live_cases.labels(*labels).set(scores["cases"][i])
                self.live_below.labels(*labels).set((name, lead) in below)
                for who, values in scores["rmse"].items():
                    self.live_rmse.labels(*labels, who).set(_number(values[i]))
                for who, values in scores["skill"].items():
                    self.live_skill.labels(*labels, who).set(_number(values[i]))

    def text(self) -> bytes:
        """Write the metrics in the text format of Prometheus, version 0.0.4."""
        return generate_latest(self.registry)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


class CountRequests:
    """ASGI middleware that counts and times requests by route template, because paths are unbounded."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and record its status."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 500

        async def noting_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        began = time.perf_counter()
        self.metrics.in_flight.inc()
        try:
            await self.app(scope, receive, noting_send)
        finally:
            self.metrics.in_flight.dec()
            method = scope["method"] if scope["method"] in METHODS else "other"
            route = getattr(scope.get("route"), "path", "none")
            self.metrics.requests.labels(method, route, status).inc()
            self.metrics.seconds.labels(method, route).observe(time.perf_counter() - began)
