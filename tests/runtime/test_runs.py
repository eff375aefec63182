"""Runs: made, followed from anywhere, cancelled, listed; in each store."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx_sse
import pytest

from dockrion_events.cursor import Cursor

from .conftest import DEADLINE, Live, Serve, Store

TERMINAL = {"complete", "error", "cancelled"}


async def talk(payload: dict[str, Any], context: Any) -> dict[str, Any]:
    for number in range(payload.get("tokens", 3)):
        await context.emit_token(f"t{number}")
    return {"said": payload.get("tokens", 3)}


class Gate:
    """An agent that emits one token for each permit."""

    def __init__(self) -> None:
        self.permits = threading.Semaphore(0)
        self.entered = threading.Event()
        self.calls = 0

    def allow(self, count: int = 1) -> None:
        self.permits.release(count)

    def agent(self) -> Any:
        async def gated(payload: dict[str, Any], context: Any) -> str:
            self.calls += 1
            self.entered.set()
            for number in range(payload.get("tokens", 3)):
                await asyncio.to_thread(self.permits.acquire)
                await context.emit_token(f"t{number}")
            return "done"

        return gated


def serve_runs(serve: Serve, store: Store, agent: Any = talk, **options: Any) -> Live:
    kept = store.streaming(**options.pop("keep", {}))
    streaming = {"async_runs": True, **kept, **options.pop("streaming", {})}
    return serve(agent, streaming=streaming, **options)


def make(live: Live, payload: Any = None, query: str = "", **options: Any) -> str:
    answer = live.post(f"/runs{query}", payload, **options)
    assert answer.status_code == 202, answer.text
    run_id: str = answer.json()["run_id"]
    return run_id


def read(live: Live, run_id: str, query: str = "", **headers: str) -> list[tuple[str, dict[str, Any]]]:
    """Follow a run to the end of the response; (id, event) of each frame."""
    with (
        live.client() as client,
        httpx_sse.connect_sse(client, "GET", f"/runs/{run_id}/events{query}", headers=headers) as source,
    ):
        assert source.response.status_code == 200, source.response.read()
        return [(event.id, json.loads(event.data)) for event in source.iter_sse() if event.data]


def ended(live: Live, run_id: str, **options: Any) -> dict[str, Any]:
    """Return the run once it has ended."""
    read(live, run_id, **options)
    shown: dict[str, Any] = live.get(f"/runs/{run_id}", **({"headers": options} if options else {})).json()
    assert shown["status"] in ("completed", "failed", "cancelled")
    return shown


def sequences(frames: list[tuple[str, dict[str, Any]]]) -> list[int]:
    return [event["sequence"] for _, event in frames]


# -- the main way ----------------------------------------------------------------------------------


def test_a_run_is_accepted_followed_and_shown(serve: Serve, store: Store) -> None:
    live = serve_runs(serve, store)
    answer = live.post("/runs", {"tokens": 2})
    assert answer.status_code == 202
    body = answer.json()
    assert set(body) == {"run_id", "status", "events_url", "created_at"}
    assert body["status"] == "accepted"
    assert body["events_url"] == f"/runs/{body['run_id']}/events"
    assert answer.headers["location"] == f"/runs/{body['run_id']}"

    frames = read(live, body["run_id"])
    assert [event["type"] for _, event in frames] == ["started", "token", "token", "complete"]
    assert sequences(frames) == [1, 2, 3, 4]
    ids = [Cursor.parse(last_id) for last_id, _ in frames]
    assert ids == [1, 2, 3, 4]
    assert len({last_id.epoch for last_id in ids}) == 1
    assert bool(ids[0].epoch) == (store.backend == "redis"), "a store that cannot lose data has no epochs"
    assert {event["run_id"] for _, event in frames} == {body["run_id"]}
    assert not any("request_id" in event for _, event in frames)

    shown = live.get(f"/runs/{body['run_id']}").json()
    assert shown["status"] == "completed"
    assert shown["output"] == {"said": 2}
    assert (shown["attempt"], shown["first_sequence"], shown["last_sequence"]) == (1, 1, 4)
    assert body["created_at"] == shown["created_at"] <= shown["started_at"] <= shown["ended_at"]


def test_the_frames_end_with_the_id(serve: Serve, store: Store) -> None:
    live = serve_runs(serve, store)
    run_id = make(live)
    with live.client() as client:
        answer = client.get(f"/runs/{run_id}/events")
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["cache-control"] == "no-cache, no-transform"
    for frame in answer.text.removesuffix("\n\n").split("\n\n"):
        event, data, last_id = frame.split("\n")
        assert event.startswith("event: ")
        assert data.startswith("data: {")
        assert last_id.startswith("id: ")


def test_events_arrive_while_the_run_goes_on(serve: Serve, store: Store) -> None:
    gate = Gate()
    live = serve_runs(serve, store, gate.agent())
    run_id = make(live)
    with live.client() as client, httpx_sse.connect_sse(client, "GET", f"/runs/{run_id}/events") as source:
        frames = source.iter_sse()
        assert next(frames).event == "started"
        assert live.get(f"/runs/{run_id}").json()["status"] == "running"
        for number in range(3):
            gate.allow()
            assert json.loads(next(frames).data)["content"] == f"t{number}"
        assert next(frames).event == "complete"
        assert next(frames, None) is None


def test_what_is_replayed_is_what_was_live(serve: Serve, store: Store) -> None:
    gate = Gate()
    live = serve_runs(serve, store, gate.agent())
    run_id = make(live, {"tokens": 50})

    def body() -> bytes:
        with live.client() as client:
            return client.get(f"/runs/{run_id}/events").content

    with ThreadPoolExecutor(3) as readers:
        live_bodies = [readers.submit(body) for _ in range(3)]
        gate.allow(50)
        bodies = {future.result(DEADLINE) for future in live_bodies}
    assert bodies == {body()}


def test_a_run_outlives_the_reader_that_leaves(serve: Serve, store: Store) -> None:
    gate = Gate()
    live = serve_runs(serve, store, gate.agent())
    run_id = make(live)
    with live.client() as client, httpx_sse.connect_sse(client, "GET", f"/runs/{run_id}/events") as source:
        assert next(source.iter_sse()).event == "started"
    gate.allow(3)
    assert ended(live, run_id)["status"] == "completed"


def test_a_failing_agent_is_a_failed_run(serve: Serve, store: Store) -> None:
    async def fail(payload: dict[str, Any]) -> None:
        raise ValueError("no such thing")

    live = serve_runs(serve, store, fail, expose={"errors": "full"})
    shown = ended(live, make(live))
    assert shown["status"] == "failed"
    assert shown["error"]["code"] == "AGENT_ERROR"
    assert "no such thing" in shown["error"]["error"]
    assert "output" not in shown


def test_a_run_that_takes_too_long_is_stopped(serve: Serve, store: Store) -> None:
    stopped = threading.Event()

    async def slow(payload: dict[str, Any]) -> None:
        try:
            await asyncio.sleep(DEADLINE)
        finally:
            stopped.set()

    live = serve_runs(serve, store, slow, streaming={"events": {"max_run_duration": 0.2}})
    shown = ended(live, make(live))
    assert (shown["status"], shown["error"]["code"]) == ("failed", "RUN_TIMEOUT")
    assert stopped.wait(DEADLINE)


def test_odd_payloads_survive_the_log(serve: Serve, store: Store) -> None:
    odd = {"text": "a\r\nb\u2028c\ufeff\x00 ü 🎉", "n": [1.5, None, True], "": {"deep": [[[]]]}}

    async def echo(payload: dict[str, Any], context: Any) -> Any:
        await context.emit("odd", payload)
        await context.emit_token("\ud800")
        return payload

    live = serve_runs(serve, store, echo)
    frames = read(live, make(live, odd))
    assert frames[1][1]["data"] == odd
    assert frames[2][1]["content"] == "\ufffd"
    assert frames[3][1]["output"] == odd


def test_a_body_that_is_refused_makes_no_run(serve: Serve, store: Store) -> None:
    live = serve_runs(serve, store, io_schema={"input": {"type": "object", "required": ["query"]}})
    with live.client() as client:
        assert client.post("/runs", content=b"{").json()["code"] == "INVALID_JSON"
        assert client.post("/runs", content=b"[]").json()["code"] == "NOT_AN_OBJECT"
        assert client.post("/runs", json={}).status_code == 422
    assert live.get("/runs").json() == {"runs": [], "next": None}


# -- cursors ---------------------------------------------------------------------------------------


def test_reading_begins_where_the_client_asks(serve: Serve, store: Store) -> None:
    live = serve_runs(serve, store)
    run_id = make(live)
    everything = read(live, run_id)
    assert len(everything) == 5
    for start in range(6):
        assert read(live, run_id, f"?from_sequence={start}") == everything[max(start - 1, 0) :], start
    for seen in range(5):
        assert read(live, run_id, **{"last-event-id": str(seen)}) == everything[seen:], seen
    assert read(live, run_id, "?from_sequence=1", **{"last-event-id": "3"}) == everything[3:]


def test_a_reconnect_past_the_end_gets_204(serve: Serve, store: Store) -> None:
    live = serve_runs(serve, store)
    run_id = make(live)
    read(live, run_id)
    for options in ({"headers": {"last-event-id": "5"}}, {"params": {"from_sequence": "6"}}):
        answer = live.get(f"/runs/{run_id}/events", **options)
        assert answer.status_code == 204
        assert answer.content == b""


def test_a_cursor_beyond_the_end_is_told_so_and_gets_the_end(serve: Serve, store: Store) -> None:
    live = serve_runs(serve, store)
    run_id = make(live)
    last = read(live, run_id)[-1]
    gap, end = read(live, run_id, **{"last-event-id": "70"})
    assert gap[0] == ""
    assert gap[1]["type"] == "gap"
    assert (gap[1]["requested"], gap[1]["first_available"]) == (71, 5)
    assert "sequence" not in gap[1]
    assert end == last


def test_a_cursor_ahead_of_a_live_run_waits_for_it(serve: Serve, store: Store) -> None:
    gate = Gate()
    live = serve_runs(serve, store, gate.agent())
    run_id = make(live, {"tokens": 5})
    assert gate.entered.wait(DEADLINE)
    with ThreadPoolExecutor(1) as reader:
        following = reader.submit(read, live, run_id, "?from_sequence=5")
        gate.allow(5)
        assert sequences(following.result(DEADLINE)) == [5, 6, 7]


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5", "1e3", str(2**63), str(2**64), "9" * 50, "٣"])
def test_a_cursor_that_is_none_is_400(serve: Serve, store: Store, cursor: str) -> None:
    live = serve_runs(serve, store)
    run_id = make(live)
    answer = live.get(f"/runs/{run_id}/events", params={"from_sequence": cursor})
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_CURSOR")
    answer = live.get(f"/runs/{run_id}/events", headers={b"last-event-id": cursor.encode()})
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_CURSOR")


def test_history_that_is_gone_is_a_gap(serve: Serve, store: Store) -> None:
    live = serve_runs(serve, store, keep={"max_events_per_run": 10})
    run_id = make(live, {"tokens": 500})
    ended(live, run_id)
    (gap_id, gap), *rest = read(live, run_id, "?from_sequence=3")
    assert (gap_id, gap["type"], gap["requested"]) == ("", "gap", 3)
    assert gap["first_available"] == rest[0][1]["sequence"] <= 493
    assert sequences(rest) == list(range(gap["first_available"], 503))
    assert live.get(f"/runs/{run_id}").json()["first_sequence"] == gap["first_available"]


def test_a_response_may_end_in_mid_run_and_be_taken_up_again(serve: Serve, store: Store) -> None:
    gate = Gate()
    live = serve_runs(serve, store, gate.agent())
    run_id = make(live)
    gate.allow()
    with live.client() as client:
        body = client.get(f"/runs/{run_id}/events?timeout=0.3").text
    *frames, retry = body.removesuffix("\n\n").split("\n\n")
    assert [frame.split("\n")[0] for frame in frames] == ["event: started", "event: token"]
    assert retry.startswith("retry: ")
    gate.allow(2)
    assert sequences(read(live, run_id, **{"last-event-id": "2"})) == [3, 4, 5]


@pytest.mark.parametrize("timeout", ["0", "-1", "x", "nan", "inf", "1e9", ""])
def test_a_time_that_is_none_is_400(serve: Serve, store: Store, timeout: str) -> None:
    live = serve_runs(serve, store)
    answer = live.get(f"/runs/{make(live)}/events", params={"timeout": timeout})
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_TIMEOUT")


def test_joins_at_any_moment_see_the_log_once_and_in_order(serve: Serve, store: Store) -> None:
    async def pour(payload: dict[str, Any], context: Any) -> None:
        for number in range(3000):
            await context.emit_token(str(number))
            if number % 50 == 0:
                await asyncio.sleep(0.001)

    live = serve_runs(serve, store, pour)
    run_id = make(live)
    with ThreadPoolExecutor(12) as readers:
        joins = [readers.submit(read, live, run_id, f"?from_sequence={n % 7 * 300}") for n in range(24)]
        seen = [future.result(30) for future in joins]
    for number, frames in enumerate(seen):
        assert sequences(frames) == list(range(max(number % 7 * 300, 1), 3003))
    assert len({json.dumps(frames[-1]) for frames in seen}) == 1


# -- names -----------------------------------------------------------------------------------------


def test_a_run_named_again_is_the_same_run(serve: Serve, store: Store) -> None:
    live = serve_runs(serve, store)
    first = live.post("/runs?run_id=mine", {"tokens": 1, "x": {"a": 1, "b": [1.0]}})
    assert first.status_code == 202
    ended(live, "mine")
    again = live.post("/runs?run_id=mine", {"x": {"b": [1], "a": 1.0}, "tokens": 1})
    assert again.status_code == 200
    assert (again.json()["run_id"], again.json()["status"]) == ("mine", "completed")
    other = live.post("/runs?run_id=mine", {"tokens": 2})
    assert (other.status_code, other.json()["code"]) == (409, "RUN_EXISTS")
    other = live.post("/runs?run_id=mine", {"tokens": True, "x": {"a": 1, "b": [1.0]}})
    assert other.status_code == 409


def test_fifty_requests_at_once_make_one_run(serve: Serve, store: Store) -> None:
    gate = Gate()
    live = serve_runs(serve, store, gate.agent())
    with ThreadPoolExecutor(50) as clients:
        answers = list(clients.map(lambda _: live.post("/runs?run_id=one", {"tokens": 1}), range(50)))
    assert sorted(answer.status_code for answer in answers) == [200] * 49 + [202]
    gate.allow(1)
    assert ended(live, "one")["attempt"] == 1
    assert gate.calls == 1


def test_an_idempotency_key_names_the_run_too(serve: Serve, store: Store) -> None:
    live = serve_runs(serve, store)
    key = {"headers": {"Idempotency-Key": "order 17"}}
    first, again = live.post("/runs", {"tokens": 1}, **key), live.post("/runs", {"tokens": 1}, **key)
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json()["run_id"] == again.json()["run_id"]
    assert live.post("/runs", {"tokens": 2}, **key).status_code == 409
    other = live.post("/runs", {"tokens": 1}, headers={"Idempotency-Key": "order 18"})
    assert other.json()["run_id"] != first.json()["run_id"]
    both = live.post("/runs?run_id=x", {"tokens": 1}, **key)
    assert (both.status_code, both.json()["code"]) == (400, "AMBIGUOUS_RUN")
    assert live.post("/runs", {}, headers={"Idempotency-Key": "k" * 256}).status_code == 400


@pytest.mark.parametrize("run_id", ["", "a b", "a/b", "x" * 129, "ü", "a\nb"])
def test_a_name_that_is_none_is_400(serve: Serve, store: Store, run_id: str) -> None:
    live = serve_runs(serve, store)
    answer = live.post("/runs", {}, params={"run_id": run_id})
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_RUN_ID")


def test_clients_may_be_kept_from_naming_runs(serve: Serve, store: Store) -> None:
    live = serve_runs(serve, store, streaming={"allow_client_ids": False})
    answer = live.post("/runs?run_id=mine", {})
    assert (answer.status_code, answer.json()["code"]) == (400, "RUN_ID_NOT_ALLOWED")
    make(live, headers={"Idempotency-Key": "still fine"})


def test_a_generator_of_ones_own_names_runs(serve: Serve, store: Store, module: Any) -> None:
    numbers = itertools.count()
    names = module(new=lambda payload: f"{payload.get('prefix', 'run')}-{next(numbers)}")
    generator = {"id_generator": {"type": "custom", "handler": f"{names}:new"}}
    live = serve_runs(serve, store, streaming=generator)
    assert [make(live), make(live, {"prefix": "order"})] == ["run-0", "order-1"]
    refused = live.post("/runs", {"prefix": "a b"})
    assert (refused.status_code, refused.json()["code"]) == (500, "INVALID_RUN_ID")


# -- cancelling ------------------------------------------------------------------------------------


def test_a_cancelled_run_stops_its_agent_and_has_one_end(serve: Serve, store: Store) -> None:
    stopped = threading.Event()
    begun = threading.Event()

    async def endless(payload: dict[str, Any], context: Any) -> None:
        begun.set()
        try:
            while True:
                await context.emit_token("on")
                await asyncio.sleep(0.005)
        finally:
            stopped.set()

    live = serve_runs(serve, store, endless)
    run_id = make(live)
    assert begun.wait(DEADLINE)
    with live.client() as client:
        answer = client.delete(f"/runs/{run_id}", params={"reason": "enough"})
        assert answer.json() == {"run_id": run_id, "status": "cancelled"}
        assert stopped.wait(DEADLINE)
        assert client.delete(f"/runs/{run_id}").status_code == 200
    frames = read(live, run_id)
    assert [event["type"] for _, event in frames if event["type"] in TERMINAL] == ["cancelled"]
    assert frames[-1][1]["reason"] == "enough"
    assert sequences(frames) == list(range(1, len(frames) + 1))
    shown = live.get(f"/runs/{run_id}").json()
    assert (shown["status"], shown["reason"]) == ("cancelled", "enough")


def test_a_run_is_cancelled_at_once_while_synchronous_code_winds_down(serve: Serve, store: Store) -> None:
    begun, go_on = threading.Event(), threading.Event()
    cancelled: list[str] = []

    def stuck(payload: dict[str, Any], context: Any) -> str:
        begun.set()
        go_on.wait(DEADLINE)
        try:
            context.sync_emit_token("late")
        except BaseException as error:
            cancelled.append(type(error).__name__)
            raise
        return "late"

    live = serve_runs(serve, store, stuck)
    run_id = make(live)
    assert begun.wait(DEADLINE)
    with live.client() as client:
        assert client.delete(f"/runs/{run_id}").status_code == 200
    assert live.get(f"/runs/{run_id}").json()["status"] == "cancelled"
    live.eventually(lambda: live.get_info()["abandoned_threads"] == 1)
    go_on.set()
    live.eventually(lambda: cancelled == ["RunCancelled"])
    assert [event["type"] for _, event in read(live, run_id)] == ["started", "cancelled"]


def test_a_run_that_waits_its_turn_can_be_cancelled(serve: Serve, store: Store) -> None:
    gate = Gate()
    live = serve_runs(serve, store, gate.agent(), streaming={"runs": {"max_concurrent": 1}})
    first, second, third = (make(live, {"tokens": 1}) for _ in range(3))
    assert gate.entered.wait(DEADLINE)
    with live.client() as client:
        assert client.delete(f"/runs/{second}").status_code == 200
    assert [event["type"] for _, event in read(live, second)] == ["started", "cancelled"]
    gate.allow(2)
    assert ended(live, first)["status"] == "completed"
    assert ended(live, third)["status"] == "completed"
    assert gate.calls == 2


def test_what_has_ended_cannot_be_cancelled(serve: Serve, store: Store) -> None:
    live = serve_runs(serve, store)
    run_id = make(live)
    read(live, run_id)
    with live.client() as client:
        answer = client.delete(f"/runs/{run_id}")
    assert (answer.status_code, answer.json()["code"]) == (409, "RUN_ENDED")
    assert live.get(f"/runs/{run_id}").json()["status"] == "completed"


# -- bounds ----------------------------------------------------------------------------------------


def test_runs_beyond_the_bound_wait_in_order(serve: Serve, store: Store) -> None:
    order: list[int] = []
    running: list[int] = []

    async def agent(payload: dict[str, Any]) -> None:
        order.append(payload["n"])
        running.append(payload["n"])
        assert len(running) <= 2
        await asyncio.sleep(0.01)
        running.remove(payload["n"])

    live = serve_runs(serve, store, agent, streaming={"runs": {"max_concurrent": 2}})
    made = [make(live, {"n": n}) for n in range(12)]
    assert [ended(live, run_id)["status"] for run_id in made] == ["completed"] * 12
    assert order == sorted(order)


def test_subscribers_beyond_the_bound_are_429(serve: Serve, store: Store) -> None:
    gate = Gate()
    live = serve_runs(serve, store, gate.agent(), streaming={"connection": {"max_subscribers_per_run": 2}})
    run_id = make(live)
    url = f"/runs/{run_id}/events"
    with live.client() as client:
        with client.stream("GET", url) as one, client.stream("GET", url) as two:
            assert (one.status_code, two.status_code) == (200, 200)
            refused = client.get(url)
            assert (refused.status_code, refused.json()["code"]) == (429, "TOO_MANY_SUBSCRIBERS")
            assert refused.headers["retry-after"]
            assert client.get(f"/runs/{run_id}").status_code == 200
        gate.allow(3)
        live.eventually(lambda: live.get(f"/runs/{run_id}").json()["status"] == "completed")
    assert sequences(read(live, run_id)) == [1, 2, 3, 4, 5]


def test_silence_is_filled_with_heartbeats_that_are_not_stored(serve: Serve, store: Store) -> None:
    gate = Gate()
    live = serve_runs(serve, store, gate.agent(), streaming={"events": {"heartbeat_interval": 0.1}})
    run_id = make(live)
    with live.client() as client, httpx_sse.connect_sse(client, "GET", f"/runs/{run_id}/events") as source:
        frames = source.iter_sse()
        assert next(frames).event == "started"
        beat = next(frames)
        assert beat.event == "heartbeat"
        assert "sequence" not in json.loads(beat.data)
        assert Cursor.parse(beat.id) == 1  # what a reader keeps is the last real one
        gate.allow(3)
        rest = [event for event in frames if event.event != "heartbeat"]
    assert [json.loads(event.data)["sequence"] for event in rest] == [2, 3, 4, 5]
    assert not [event for _, event in read(live, run_id) if event["type"] == "heartbeat"]


# -- lists and owners ------------------------------------------------------------------------------


def test_runs_are_listed_newest_first_and_in_pages(serve: Serve, store: Store) -> None:
    live = serve_runs(serve, store)
    made = [make(live, {"tokens": 0}) for _ in range(7)]
    pages: list[list[str]] = []
    cursor = None
    while True:
        page = live.get("/runs", params={"limit": 3, **({"cursor": cursor} if cursor else {})}).json()
        pages.append([run["run_id"] for run in page["runs"]])
        cursor = page["next"]
        if cursor is None:
            break
    assert [len(page) for page in pages] == [3, 3, 1]
    assert list(itertools.chain(*pages)) == made[::-1]
    for wrong in ({"limit": "0"}, {"limit": "x"}, {"limit": "501"}, {"cursor": "x"}, {"cursor": "_-_-"}):
        assert live.get("/runs", params=wrong).status_code == 400, wrong


def test_a_run_belongs_to_the_key_that_made_it(serve: Serve, store: Store) -> None:
    live = serve_runs(
        serve, store, env={"DOCKRION_API_KEY": "alice:key-of-alice,bob:key-of-bob"}, auth={"mode": "api_key"}
    )
    alice, bob = {"X-API-Key": "key-of-alice"}, {"X-API-Key": "key-of-bob"}
    run_id = make(live, query="?run_id=mine", headers=alice)
    assert sequences(read(live, run_id, **alice)) == [1, 2, 3, 4, 5]

    absent = live.get("/runs/absent", headers=alice)
    for method, path in [("GET", ""), ("GET", "/events"), ("DELETE", "")]:
        with live.client() as client:
            foreign = client.request(method, f"/runs/mine{path}", headers=bob)
            unkeyed = client.request(method, f"/runs/mine{path}")
            again = client.request(method, f"/runs/mine{path}", headers={**bob, "last-event-id": "2"})
        assert unkeyed.status_code == 401
        for answer in (foreign, again):
            assert answer.status_code == absent.status_code == 404
            assert answer.json() == {**absent.json(), "detail": "there is no run 'mine'"}
    assert live.get("/runs", headers=bob).json()["runs"] == []

    his = live.post("/runs?run_id=mine", {"tokens": 1}, headers=bob)  # the same name, another run
    assert his.status_code == 202
    assert sequences(read(live, "mine", **bob)) == [1, 2, 3]
    assert [run["last_sequence"] for run in live.get("/runs", headers=alice).json()["runs"]] == [5]


def test_an_unknown_run_is_404_on_every_route(serve: Serve, store: Store) -> None:
    live = serve_runs(serve, store)
    with live.client() as client:
        for method, path in [("GET", ""), ("GET", "/events"), ("DELETE", "")]:
            for name in ("absent", "x" * 129, "a%20b"):
                answer = client.request(method, f"/runs/{name}{path}")
                assert (answer.status_code, answer.json()["code"]) == (404, "RUN_NOT_FOUND")


def test_without_async_runs_there_are_none(serve: Serve) -> None:
    live = serve(talk)
    assert live.post("/runs", {}).status_code == 404
    assert live.get("/runs").status_code == 404


def test_a_run_is_gone_after_its_time(serve: Serve, store: Store) -> None:
    live = serve_runs(serve, store, keep={"stream_ttl_seconds": 1})
    run_id = make(live)
    assert read(live, run_id)[-1][1]["type"] == "complete"
    live.eventually(lambda: live.get(f"/runs/{run_id}").status_code == 404)
    assert live.get(f"/runs/{run_id}/events").status_code == 404
    live.eventually(lambda: live.get("/runs").json()["runs"] == [])
