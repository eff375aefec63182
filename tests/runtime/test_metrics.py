"""`GET /metrics`: what is counted, seen from outside."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from dockrion_events import CONFIGURABLE, LogLost, StreamContext
from dockrion_runtime.observability.meter import WAITS, Buckets

from .conftest import Live, Serve, Store


def families(live: Live, **options: Any) -> dict[str, Metric]:
    answer = live.get("/metrics", **options)
    assert answer.status_code == 200, answer.text
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def value(live: Live, sample: str, **labels: str) -> float:
    """Return a sample's value; -1 where it is not there."""
    for family in families(live).values():
        for found in family.samples:
            if found.name == sample and found.labels == labels:
                return found.value
    return -1


def chatty(payload: dict[str, Any], context: StreamContext) -> dict[str, Any]:
    for _ in range(payload.get("tokens", 0)):
        context.sync_emit_token("word ")
    for number in range(payload.get("custom", 0)):
        context.sync_emit(f"name_{number}", {"a": 1})
    if payload.get("fail"):
        raise ValueError("no")
    return {}


def test_executions_by_kind_and_status(serve: Serve) -> None:
    live = serve(chatty)
    live.post("/invoke")
    live.events()
    live.events({"fail": True})
    for kind, status, count in (
        ("invoke", "completed", 1),
        ("stream", "completed", 1),
        ("stream", "failed", 1),
        ("stream", "cancelled", 0),
        ("run", "completed", 0),
    ):
        assert value(live, "dockrion_executions_total", kind=kind, status=status) == count
    assert value(live, "dockrion_execution_failures_total", code="AGENT_ERROR") == 1
    assert value(live, "dockrion_execution_duration_seconds_count", kind="stream") == 2
    assert value(live, "dockrion_execution_duration_seconds_bucket", kind="invoke", le="+Inf") == 1


def test_events_by_type_and_the_agents_own_under_one_label(serve: Serve) -> None:
    live = serve(chatty)
    sent = live.events({"tokens": 50, "custom": 30})
    assert value(live, "dockrion_events_total", type="token") == 50
    assert value(live, "dockrion_events_total", type="custom") == 30
    assert value(live, "dockrion_events_total", type="started") == 1
    assert value(live, "dockrion_events_total", type="complete") == 1
    size = len('{"type":"token","content":"word ","timestamp":""') + len(sent[1]["timestamp"])
    assert value(live, "dockrion_event_bytes_total", type="token") == 50 * size
    types = {sample.labels["type"] for sample in families(live)["dockrion_events"].samples}
    assert types <= {*CONFIGURABLE, "started", "complete", "error", "cancelled", "restarted"}


def test_times_to_the_first_event_and_between_tokens(serve: Serve) -> None:
    go_on = threading.Event()

    def slow(_: Any, context: StreamContext) -> None:
        for _ in range(4):
            context.sync_emit_token("a")
            go_on.wait(0.03)

    live = serve(slow)
    live.events()
    assert value(live, "dockrion_time_to_first_event_seconds_count") == 1
    assert value(live, "dockrion_time_between_tokens_seconds_count") == 3
    assert value(live, "dockrion_time_between_tokens_seconds_bucket", le="0.01") == 0
    assert 0.07 <= value(live, "dockrion_time_between_tokens_seconds_sum") < 3


def test_tokens_that_leave_together_share_the_time(serve: Serve) -> None:
    live = serve(chatty)
    live.events({"tokens": 1000})
    assert value(live, "dockrion_time_between_tokens_seconds_count") == 999
    assert value(live, "dockrion_time_between_tokens_seconds_sum") < 5


def test_of_many_tokens_that_leave_alone_one_gap_in_eight_counts_for_eight(serve: Serve) -> None:
    async def steady(_: Any, context: StreamContext) -> None:
        for _ in range(100):
            await context.emit_token("a")
            await asyncio.sleep(0.005)

    live = serve(steady)
    live.events()
    count = value(live, "dockrion_time_between_tokens_seconds_count")
    assert 90 <= count <= 110
    assert 0.005 <= value(live, "dockrion_time_between_tokens_seconds_sum") / count < 0.05


def test_what_is_under_way(serve: Serve) -> None:
    let_go = threading.Event()

    def waiting(_: Any, context: StreamContext) -> None:
        context.sync_emit_token("a")
        let_go.wait(10)

    live = serve(waiting)
    with live.stream() as events:
        next(events)
        assert value(live, "dockrion_executions_active", kind="stream") == 1
        assert value(live, "dockrion_abandoned_threads") == 0
    live.eventually(lambda: value(live, "dockrion_executions_active", kind="stream") == 0)
    assert value(live, "dockrion_executions_total", kind="stream", status="cancelled") == 1
    assert value(live, "dockrion_abandoned_threads") == 1
    let_go.set()
    live.eventually(lambda: value(live, "dockrion_abandoned_threads") == 0)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_runs_their_queue_and_their_readers(serve: Serve, store: Store, gate: threading.Event) -> None:
    def handler(payload: dict[str, Any], context: StreamContext) -> dict[str, Any]:
        context.sync_emit_token("a")
        gate.wait(10)
        return chatty(payload, context)

    streaming = {"async_runs": True, "runs": {"max_concurrent": 1, "lease_seconds": 0.6}}
    live = serve(handler, streaming={**store.streaming(), **streaming})
    live.post("/runs?run_id=first")
    live.until(lambda: live.service.runs.info().executing == 1)  # type: ignore[union-attr]
    live.post("/runs?run_id=second", {"fail": True})
    live.post("/runs?run_id=third")
    with live.client() as client:
        client.delete("/runs/third")
    live.eventually(lambda: value(live, "dockrion_lease_renewals_total") >= 1)
    assert value(live, "dockrion_runs_accepted_total") == 3
    assert value(live, "dockrion_runs_cancelled_total") == 1
    assert value(live, "dockrion_runs_waiting") == 1
    assert value(live, "dockrion_executions_active", kind="run") == 1
    assert value(live, "dockrion_store_up") == 1
    assert value(live, "dockrion_store_ping_seconds") >= 0
    assert value(live, "dockrion_subscribers") == 0
    with live.client() as client, client.stream("GET", "/runs/first/events") as following:
        lines = following.iter_lines()
        next(lines)
        assert value(live, "dockrion_subscribers") == 1
        gate.set()
        list(lines)
    live.eventually(lambda: value(live, "dockrion_executions_total", kind="run", status="failed") == 1)
    assert value(live, "dockrion_executions_total", kind="run", status="completed") == 1
    live.eventually(lambda: value(live, "dockrion_runs_waiting") == 0)
    appended = value(live, "dockrion_store_append_seconds_count")
    assert appended == -1 if store.backend == "memory" else appended > 1


def test_a_run_that_is_cancelled_while_it_is_executed(
    serve: Serve, store: Store, gate: threading.Event
) -> None:
    live = serve(lambda _: gate.wait(10), streaming={**store.streaming(), "async_runs": True})
    live.post("/runs?run_id=one")
    live.until(lambda: live.service.runs.info().executing == 1)  # type: ignore[union-attr]
    with live.client() as client:
        client.delete("/runs/one")
    live.eventually(lambda: value(live, "dockrion_executions_total", kind="run", status="cancelled") == 1)


def test_a_run_whose_log_was_lost_has_failed(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async def endless(payload: dict[str, Any], context: StreamContext) -> None:
        while True:
            await context.emit_token("word ")
            await asyncio.sleep(0.01)

    live = serve(endless, streaming={"async_runs": True})
    assert live.service.runs is not None

    async def lose(*_: Any) -> None:
        raise LogLost("gone")

    monkeypatch.setattr(live.service.runs.backend, "append", lose)  # type: ignore[attr-defined]
    run_id = live.post("/runs").json()["run_id"]
    live.eventually(lambda: live.get(f"/runs/{run_id}").json()["status"] == "failed")
    live.eventually(lambda: value(live, "dockrion_executions_total", kind="run", status="failed") == 1)
    assert value(live, "dockrion_execution_failures_total", code="LOG_LOST") == 1


def test_a_store_that_is_away(serve: Serve, redis_server: Any) -> None:
    live = serve(
        chatty, streaming={"async_runs": True, "backend": "redis", "redis": {"url": redis_server.url}}
    )
    assert value(live, "dockrion_store_up") == 1
    redis_server.kill()
    assert value(live, "dockrion_store_up") == 0
    assert value(live, "dockrion_runs_waiting") == -1
    live.eventually(lambda: value(live, "dockrion_store_failures_total") > 0)


def test_it_needs_a_key_like_every_other_route(serve: Serve) -> None:
    auth = {"mode": "api_key", "api_keys": {"env_var": "KEY"}}
    live = serve(chatty, auth=auth, env={"KEY": "prometheus:s3same"})
    assert live.get("/metrics").status_code == 401
    read = families(live, headers={"Authorization": "Bearer s3same"})
    assert [s.value for s in read["dockrion_problems"].samples if s.labels == {"status": "401"}] == [1]


def test_it_can_be_switched_off(serve: Serve) -> None:
    live = serve(chatty, observability={"metrics": False})
    live.events({"tokens": 3})
    assert live.get("/metrics").status_code == 404
    assert live.service.observability.meter.events["token"] == [0, 0]


def test_each_app_has_numbers_of_its_own(serve: Serve) -> None:
    one, other = serve(chatty), serve(chatty)
    one.events({"tokens": 3})
    assert value(one, "dockrion_events_total", type="token") == 3
    assert value(other, "dockrion_events_total", type="token") == 0


def test_both_formats(serve: Serve) -> None:
    live = serve(chatty)
    plain = live.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain; version=")
    answer = live.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert "dockrion_executions" in {family.name for family in openmetrics(answer.text)}


def test_a_bucket_holds_its_upper_bound() -> None:
    buckets = Buckets(WAITS)
    for seconds in (0.0, 0.001, 0.0011, 30.0, 31.0):
        buckets.add(seconds)
    assert (buckets.counts[0], buckets.counts[1], buckets.counts[-2], buckets.counts[-1]) == (2, 1, 1, 1)
    assert sum(buckets.counts) == 5
