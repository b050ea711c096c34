"""Prometheus metrics of the server."""

import time

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

# Stages of a request in order; ``all`` is the whole request, with its body.
STAGES = ("queue", "prepare", "network", "check", "encode", "all")

_DURATION_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2.5, 5, 10, 30)


class ServerMetrics:
    """Metrics of one server, in a registry of its own.

    Attributes
    ----------
    stage_duration : Histogram
        Seconds of each stage, by ``stage``.
    requests : Counter
        Generate requests by ``model`` (empty for unknown models) and ``outcome``: ``ok``,
        ``disconnected`` if the client closed the connection, or the error's code.
    queue_length : Gauge
        Requests that wait.
    in_progress : Gauge
        Requests that a worker runs.
    batch_size : Histogram
        Drawings in one batch of PyTorch.
    model_info : Gauge
        1 for each loaded model, by ``model``, ``version``, ``run`` and ``epoch``.
    promotion_rejected : Gauge
        1 for each promotion that failed its check, by ``model`` and ``version``.
    promotions : Counter
        Loaded promotions, by ``model`` and ``outcome``: ``loaded`` or ``rejected``.
    store_last_success : Gauge
        Unix time of the last poll of the store without an error.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self.stage_duration = Histogram(
            "icanvas_stage_duration_seconds",
            "Duration of the stages of a generate request.",
            ["stage"],
            registry=self._registry,
            buckets=_DURATION_BUCKETS_S,
        )
        for stage in STAGES:
            self.stage_duration.labels(stage)
        self.requests = Counter(
            "icanvas_requests",
            "Generate requests, by outcome.",
            ["model", "outcome"],
            registry=self._registry,
        )
        self.queue_length = Gauge(
            "icanvas_queue_length", "Requests that wait for a worker.", registry=self._registry
        )
        self.in_progress = Gauge(
            "icanvas_requests_in_progress",
            "Requests that a worker runs.",
            registry=self._registry,
        )
        self.batch_size = Histogram(
            "icanvas_batch_size",
            "Drawings in one batch on a GPU.",
            registry=self._registry,
            buckets=(1, 2, 4, 8, 16, 32, 64),
        )
        self.model_info = Gauge(
            "icanvas_model_info",
            "1 for each loaded model.",
            ["model", "version", "run", "epoch"],
            registry=self._registry,
        )
        self.promotion_rejected = Gauge(
            "icanvas_promotion_rejected",
            "1 for each promotion that failed its check and was not loaded.",
            ["model", "version"],
            registry=self._registry,
        )
        self.promotions = Counter(
            "icanvas_promotions",
            "Promotions that were loaded or rejected, by outcome.",
            ["model", "outcome"],
            registry=self._registry,
        )
        self.store_last_success = Gauge(
            "icanvas_store_last_success_timestamp_seconds",
            "Unix time of the last poll of the store without an error.",
            registry=self._registry,
        )
        Gauge(
            "icanvas_start_timestamp_seconds",
            "Unix time of the server's start.",
            registry=self._registry,
        ).set(time.time())

    def render(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self._registry)
