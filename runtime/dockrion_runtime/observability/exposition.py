"""The metrics as Prometheus reads them."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final, get_args

from litestar import Response, get
from litestar.handlers import BaseRouteHandler
from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from dockrion_adapters import abandoned_threads
from dockrion_events import BackendUnavailable

from ..edge import REASONS
from ..openapi import Describer, text
from ..output import dropped_records
from ..stream import EndStatus
from ..wire import AnyRequest, header
from .meter import CODES, KINDS, OTHER, Buckets

if TYPE_CHECKING:
    from ..runs.service import Runs
    from ..service import Service

STORE_SECONDS: Final = 1.0
"""How long a scrape waits for the store; what it did not say by then is left out."""


class Store:
    """What the store said when it was asked last: None is what it did not say."""

    def __init__(self) -> None:
        self.waiting: int | None = None
        self.ping_seconds: float | None = None

    async def ask(self, runs: Runs) -> None:
        """Ask it, for as long as `STORE_SECONDS`."""
        self.waiting = self.ping_seconds = None
        try:
            async with asyncio.timeout(STORE_SECONDS):
                began = time.perf_counter()
                await runs.backend.ping()
                self.ping_seconds = time.perf_counter() - began
                self.waiting = await runs.backend.count_accepted()
        except (BackendUnavailable, TimeoutError):
            pass


class ServiceCollector(Collector):
    """Turns the numbers of one app into metrics, when they are asked for."""

    def __init__(self, service: Service, runs: Runs | None, store: Store, version: str) -> None:
        self._service = service
        self._runs = runs
        self._store = store
        self._version = version

    def describe(self) -> Iterable[Metric]:
        return ()  # nothing is collected when the registry is made

    def collect(self) -> Iterator[Metric]:
        yield from self._about_server()
        yield from self._about_executions()
        yield from self._about_events()
        if self._runs is not None:
            yield from self._about_runs(self._runs)

    def _about_server(self) -> Iterator[Metric]:
        service, meter = self._service, self._service.observability.meter
        adapter = service.agent.adapter
        yield InfoMetricFamily(
            "dockrion",
            "The agent, its framework and the version of dockrion",
            {"agent": service.dockfile.agent.name, "framework": adapter.framework, "version": self._version},
        )
        yield _gauge(
            "dockrion_executions_limit", "Places for invocations and direct streams",
            service.dockfile.expose.max_concurrent,
        )  # fmt: skip
        yield _gauge(
            "dockrion_abandoned_threads",
            "Worker threads held by cancelled code that has not returned",
            abandoned_threads(),
        )
        edge = service.edge
        yield _gauge("dockrion_connections", "Open connections", edge.connections)
        yield _gauge("dockrion_connections_limit", "Connections that there may be", edge.limit)
        yield _counter(
            "dockrion_connections_refused", "Connections that a limit refused or closed",
            {"reason": {reason: edge.refused[reason] for reason in REASONS}},
        )  # fmt: skip
        yield _count(
            "dockrion_connections_idle", "Connections that were closed because no request came", edge.idle
        )
        yield _count(
            "dockrion_connections_held",
            "Times that a connection was not read from because its requests waited for answers",
            edge.held,
        )
        yield _count(
            "dockrion_malformed_requests", "Requests and WebSockets that broke their protocol", edge.malformed
        )
        yield _gauge(
            "dockrion_abandoned_threads_limit",
            "Abandoned threads from which on /ready refuses",
            service.abandoned_limit,
        )
        yield _histogram(
            "dockrion_loop_lag_seconds", "How late the event loop ran a timer that is always due",
            meter.loop_lag,
        )  # fmt: skip
        yield _count(
            "dockrion_log_records_dropped",
            "Writes to stdout and stderr, such as lines of the log, that their reader was too slow for",
            dropped_records(),
        )
        yield _counter(
            "dockrion_problems", "Requests that were answered with an error", {"status": meter.problems}
        )
        yield _counter(
            "dockrion_answers_shortened", "Answers over A2A that a limit shortened, by its key",
            {"limit": meter.shortened},
        )  # fmt: skip

    def _about_executions(self) -> Iterator[Metric]:
        meter = self._service.observability.meter
        active = GaugeMetricFamily(
            "dockrion_executions_active", "Executions under way, by kind", labels=["kind"]
        )
        ended = CounterMetricFamily(
            "dockrion_executions", "Executions that are over, by kind and status", labels=["kind", "status"]
        )
        durations = HistogramMetricFamily(
            "dockrion_execution_duration_seconds", "How long executions took", labels=["kind"]
        )
        for kind in KINDS:
            active.add_metric([kind], meter.active[kind])
            _add(durations, meter.durations[kind], [kind])
            for status in get_args(EndStatus):
                ended.add_metric([kind, status], meter.ended[kind, status])
        yield from (active, ended, durations)
        failures = {code: meter.failures[code] for code in (*CODES, OTHER)}
        yield _counter("dockrion_execution_failures", "Executions that failed, by code", {"code": failures})

    def _about_events(self) -> Iterator[Metric]:
        meter = self._service.observability.meter
        yield _counter(
            "dockrion_events", "Events that left executions",
            {"type": {name: total[0] for name, total in meter.events.items()}},
        )  # fmt: skip
        yield _counter(
            "dockrion_event_bytes", "Bytes of the JSON of events that left executions",
            {"type": {name: total[1] for name, total in meter.events.items()}},
        )  # fmt: skip
        yield _histogram(
            "dockrion_time_to_first_event_seconds",
            "From the beginning of an execution to the first event behind started",
            meter.first_event,
        )
        yield _histogram(
            "dockrion_time_between_tokens_seconds",
            "Between two tokens of an execution; those that leave together share the time",
            meter.between_tokens,
        )

    def _about_runs(self, runs: Runs) -> Iterator[Metric]:
        meter, store = self._service.observability.meter, self._store
        yield _count("dockrion_runs_accepted", "Runs that this process accepted", meter.runs_accepted)
        yield _count(
            "dockrion_runs_cancelled", "Runs that this process was asked to cancel", meter.runs_cancelled
        )
        yield _counter(
            "dockrion_runs_refused", "Runs that the store had no room for", {"code": meter.runs_refused}
        )
        settings = self._service.dockfile.streaming
        yield _gauge("dockrion_runs_waiting_limit", "Runs that may wait", settings.runs.max_waiting)
        usage = runs.backend.usage()
        if usage is not None:
            yield _gauge("dockrion_store_bytes", "Memory that runs take", usage.bytes)
            yield _gauge("dockrion_store_bytes_limit", "Memory that runs may take", usage.max_bytes)
            yield _count("dockrion_runs_evicted", "Ended runs that were removed to make room", usage.evicted)
        yield _count("dockrion_gaps", "Gaps that readers of runs were told of", meter.gaps)
        yield _gauge("dockrion_subscribers", "Readers that follow runs here", runs.subscribers)
        up = store.ping_seconds is not None
        yield _gauge("dockrion_store_up", "1 where the store of runs answers, else 0", int(up))
        if store.ping_seconds is not None:
            yield _gauge(
                "dockrion_store_ping_seconds", "How long the store took to answer", store.ping_seconds
            )
        if store.waiting is not None:
            yield _gauge("dockrion_runs_waiting", "Runs that nobody executes yet", store.waiting)
        if runs.backend.durable:
            yield _histogram(
                "dockrion_store_append_seconds", "How long writing events to the log took", meter.appends
            )
        yield _count(
            "dockrion_store_failures", "Times that the store failed its executor", meter.store_failures
        )
        if runs.executor is not None:
            limit = self._service.dockfile.streaming.runs.max_concurrent
            yield _gauge("dockrion_runs_limit", "Places for runs", limit)
            yield _count("dockrion_lease_renewals", "Leases that were renewed", meter.renewals)


def metrics_route(service: Service, runs: Runs | None, version: str) -> BaseRouteHandler:
    """Return the route of the metrics; they have a registry of their own."""
    store = Store()
    registry = CollectorRegistry()
    registry.register(ServiceCollector(service, runs, store, version))
    ProcessCollector(registry=registry)

    describe = Describer(service.dockfile)

    @get(
        "/metrics",
        tags=["server"],
        summary="Metrics, as Prometheus reads them",
        operation_id="metrics",
        operation_class=describe(
            {200: text("text/plain", "All of them, or OpenMetrics where it is asked for.")}
        ),
    )
    async def metrics(request: AnyRequest) -> Response[bytes]:
        if runs is not None:
            await store.ask(runs)
        encode, content_type = choose_encoder(header(request, b"accept") or "")
        return Response(encode(registry), media_type=content_type)

    return metrics


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value)


def _count(name: str, text: str, value: int) -> Metric:
    return CounterMetricFamily(name, text, value)


def _counter(name: str, text: str, by: Mapping[str, Mapping[str, int]]) -> Metric:
    """Return a counter with one label: ``{label: {its value: how many}}``."""
    ((label, counts),) = by.items()
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family


def _histogram(name: str, text: str, buckets: Buckets) -> Metric:
    family = HistogramMetricFamily(name, text)
    _add(family, buckets, [])
    return family


def _add(family: HistogramMetricFamily, buckets: Buckets, labels: list[str]) -> None:
    total = 0
    cumulated: list[tuple[str, int]] = []
    for bound, count in zip((*buckets.bounds, math.inf), buckets.counts, strict=True):
        total += count
        cumulated.append(("+Inf" if bound == math.inf else str(float(bound)), total))
    family.add_metric(labels, cumulated, buckets.sum)
