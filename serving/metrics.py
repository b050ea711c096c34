"""What Prometheus is told."""

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

# The parts of a request, in their order; ``all`` is from the first byte to the last.
STAGES = ("queue", "prepare", "network", "check", "encode", "all")

_DURATION_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2.5, 5, 10, 30)


class ServerMetrics:
    """The figures of one server.

    Attributes
    ----------
    seconds : how long each stage of a picture took, by stage.
    requests : answers by model, where it is known, and outcome: ``ok``, ``gone`` where nobody
        waited any more, or the error's code.
    waiting, running : drawings that wait, and that are worked on.
    batch : drawings in one batch on a GPU.
    models : 1 for what is served, by model, version, run and epoch.
    refused : 1 for a promotion that failed its check and is not served, by model and version.
    swaps : how often a model took the place of none or another, or was refused, by outcome.
    looked : time of the last look at the store that found all it wanted.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self.stage_duration = Histogram(
            "icanvas_stage_seconds",
            "Time that the stages of a picture took.",
            ["stage"],
            registry=self._registry,
            buckets=_DURATION_BUCKETS_S,
        )
        for stage in STAGES:
            self.stage_duration.labels(stage)
        self.requests = Counter(
            "icanvas_drawings",
            "Drawings that were answered, by outcome.",
            ["model", "outcome"],
            registry=self._registry,
        )
        self.queue_length = Gauge("icanvas_waiting", "Drawings that wait.", registry=self._registry)
        self.in_progress = Gauge(
            "icanvas_running", "Drawings that are worked on.", registry=self._registry
        )
        self.batch_size = Histogram(
            "icanvas_batch_drawings",
            "Drawings in one batch on a GPU.",
            registry=self._registry,
            buckets=(1, 2, 4, 8, 16, 32, 64),
        )
        self.model_info = Gauge(
            "icanvas_model_info",
            "1 for each model that is served.",
            ["model", "version", "run", "epoch"],
            registry=self._registry,
        )
        self.promotion_rejected = Gauge(
            "icanvas_promotion_refused",
            "1 for each promotion that failed its check and is not served.",
            ["model", "version"],
            registry=self._registry,
        )
        self.promotions = Counter(
            "icanvas_promotions",
            "Promotions that were found, by what came of them.",
            ["model", "outcome"],
            registry=self._registry,
        )
        self.store_last_success = Gauge(
            "icanvas_store_looked_timestamp_seconds",
            "When the store was last read without an error.",
            registry=self._registry,
        )
        Gauge(
            "icanvas_start_timestamp_seconds", "When the server started.", registry=self._registry
        ).set(time.time())

    def render(self) -> bytes:
        """Return all of it in Prometheus's text format."""
        return generate_latest(self._registry)
