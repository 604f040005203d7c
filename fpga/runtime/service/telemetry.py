"""What a daemon tells of itself: numbers for Prometheus and structured lines for a log, both without secrets."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ..link.link import Link

LATENCY_BUCKETS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64)


class Telemetry:
    """The counters of one daemon: a party's, or the dealer's."""

    def __init__(self, party: int | str) -> None:
        self._party, self._lock = party, threading.Lock()
        self.registry = registry = CollectorRegistry()
        model = ["model"]
        self.requests = Counter("rrnet_requests", "Answered requests", [*model, "status"], registry=registry)
        self.latency = Histogram(
            "rrnet_request_seconds", "From a request to its answer", model, buckets=LATENCY_BUCKETS_S, registry=registry
        )
        self.batches = Histogram(
            "rrnet_batch_images", "Images of an execution", model, buckets=BATCH_BUCKETS, registry=registry
        )
        self.lanes = Gauge(
            "rrnet_link_lanes", "Connections to the other server that can execute", model, registry=registry
        )
        self.material = Gauge("rrnet_material_left", "Inferences with unused material", model, registry=registry)
        self.waiting = Gauge("rrnet_images_waiting", "Images that wait or are executed", model, registry=registry)
        ways = [*model, "direction"]
        self.link_bytes = Counter("rrnet_link_bytes", "Payload between the servers", ways, registry=registry)
        self.client_bytes = Counter("rrnet_client_bytes", "Bodies of requests and answers", ways, registry=registry)
        self.faults = Counter(
            "rrnet_lane_faults", "Connections to the other server that broke", model, registry=registry
        )

    def watch(self, model: str, **readings: Callable[[], int]) -> None:
        """Read gauges of a model (`lanes`, `material`, `waiting`) when they are asked for."""
        for name, reading in readings.items():
            getattr(self, name).labels(model).set_function(reading)

    def forget(self, model: str) -> None:
        """A model is no longer served: its gauges go, its counters stay."""
        for gauge in (self.lanes, self.material, self.waiting):
            gauge.remove(model)

    @contextlib.contextmanager
    def execution(self, model: str, images: int, link: Link) -> Iterator[None]:
        """Count one execution."""
        before = link.counters
        yield
        used = link.counters - before
        self.batches.labels(model).observe(images)
        self.link_bytes.labels(model, "sent").inc(used.bytes_sent)
        self.link_bytes.labels(model, "received").inc(used.bytes_received)

    def log(self, event: str, **fields: object) -> None:
        """One JSON line on standard error. Callers pass no share, seed, key or request's content."""
        line = json.dumps({"time": round(time.time(), 3), "party": self._party, "event": event, **fields})
        with self._lock:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

    def exposition(self) -> bytes:
        """All numbers in Prometheus' text format."""
        return generate_latest(self.registry)
