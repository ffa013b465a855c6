"""Prometheus metrics, with bounded labels: models, route templates, methods, statuses."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

FAULT_KINDS = ("file", "future", "input", "store")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """Metrics of one application, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "stconv_requests", "Requests by route.", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "stconv_request_seconds",
            "Time from the request's headers to the last byte of the answer, s.",
            ["method", "route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "stconv_requests_in_flight", "Requests being processed.", registry=self.registry
        )
        self.computing = Histogram(
            "stconv_forecast_seconds",
            "Time of a model's work on one request, s.",
            ["model"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.batches = Histogram(
            "stconv_batch_windows",
            "Windows in the batch of each request.",
            ["model"],
            buckets=(1, 2, 4, 8, 16, 32),
            registry=self.registry,
        )
        self.waiting = Gauge(
            "stconv_queue_length", "Requests waiting for a model.", ["model"], registry=self.registry
        )
        self.rejected = Counter(
            "stconv_dropped", "Requests not computed.", ["model", "reason"], registry=self.registry
        )
        self.restarts = Counter(
            "stconv_worker_restarts", "Workers replaced.", ["model"], registry=self.registry
        )
        self.swaps = Counter(
            "stconv_model_swaps",
            "Attempts to load another version.",
            ["model", "outcome"],
            registry=self.registry,
        )
        self.ready = Gauge(
            "stconv_model_ready", "1 if the model is loaded.", ["model"], registry=self.registry
        )
        self.stored = Gauge(
            "stconv_stored_forecasts", "Forecasts in the archive.", ["model"], registry=self.registry
        )
        self.archive_failures = Counter(
            "stconv_archive_failures",
            "Failed checks of the data source.",
            ["model"],
            registry=self.registry,
        )
        self.archive_faults = Gauge(
            "stconv_archive_faults",
            "Files, frames and stores that are passed over at present.",
            ["model", "kind"],
            registry=self.registry,
        )
        lead = ["model", "variable", "lead"]
        self.live_rmse = Gauge(
            "stconv_live_rmse",
            "RMSE of stored forecasts and references against observed fields.",
            [*lead, "of"],
            registry=self.registry,
        )
        self.live_skill = Gauge(
            "stconv_live_skill",
            "1 - RMSE / RMSE of a reference.",
            [*lead, "reference"],
            registry=self.registry,
        )
        self.live_cases = Gauge("stconv_live_cases", "Verified forecasts.", lead, registry=self.registry)
        self.live_below = Gauge(
            "stconv_live_skill_below_minimum",
            "1 if the live skill against persistence is below the minimum.",
            lead,
            registry=self.registry,
        )

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
