"""Runs that wait, of all owners and of one, and lists of runs with large outputs; in each store."""

from __future__ import annotations

import asyncio
import re
import socket
from typing import Any

from ..servers import RedisServer
from .conftest import DEADLINE, Live, Serve, Store

MIB = 1 << 20
KIB_EACH = 1024

KEYS = {"DOCKRION_API_KEY": "alice:key-of-alice,bob:key-of-bob"}
ALICE, BOB = {"X-API-Key": "key-of-alice"}, {"X-API-Key": "key-of-bob"}


async def echo(payload: dict[str, Any]) -> Any:
    if payload.get("hang"):
        await asyncio.Event().wait()
    return payload.get("output")


def metric(live: Live, name: str, **options: Any) -> float:
    found = re.search(rf"^{name} (\S+)$", live.get("/metrics", **options).text, re.MULTILINE)
    assert found, name
    return float(found[1])


# -- runs that wait --------------------------------------------------------------------------------


def busy(serve: Serve, store: Store, **options: Any) -> Live:
    """Serve an agent with one place for runs, which is taken."""
    runs = {"max_concurrent": 1, "max_waiting": 10}
    streaming = {"async_runs": True, **store.streaming(), "runs": runs}
    live = serve(echo, streaming=streaming, **options)
    headers = {"headers": ALICE} if options else {}
    assert live.post("/runs?run_id=hanging", {"hang": True}, **headers).status_code == 202
    live.until(lambda: live.service.runs.info().executing == 1)  # type: ignore[union-attr]
    return live


def test_a_full_queue_refuses_and_says_what_to_do(serve: Serve, store: Store) -> None:
    live = busy(serve, store)
    for number in range(10):
        assert live.post(f"/runs?run_id=run-{number}", {"n": number}).status_code == 202
    answer = live.post("/runs", {})
    assert (answer.status_code, answer.json()["code"]) == (503, "QUEUE_FULL")
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) > 0
    assert "10 accepted runs wait already" in answer.json()["detail"]
    assert "try again later" in answer.json()["detail"]
    assert metric(live, "dockrion_runs_waiting") == metric(live, "dockrion_runs_waiting_limit") == 10
    assert metric(live, r'dockrion_runs_refused_total\{code="QUEUE_FULL"\}') == 1
    again = live.post("/runs?run_id=run-3", {"n": 3})
    assert (again.status_code, again.json()["run_id"]) == (200, "run-3")
    with live.client() as client:
        assert client.delete("/runs/run-3").status_code == 200
    assert live.post("/runs?run_id=in-its-place", {}).status_code == 202
    with live.client() as client:
        assert client.delete("/runs/hanging").status_code == 200
    live.eventually(lambda: live.get("/runs/in-its-place").json()["status"] == "completed")
    assert live.post("/runs", {}).status_code == 202


def test_one_owner_fills_its_share_and_the_other_is_served(serve: Serve, store: Store) -> None:
    live = busy(serve, store, env=KEYS, auth={"mode": "api_key"})
    statuses = [live.post("/runs", {}, headers=ALICE).status_code for _ in range(20)]
    assert statuses == [202] * 5 + [429] * 15
    refused = live.post("/runs", {}, headers=ALICE)
    assert refused.json()["code"] == "OWNER_QUOTA"
    assert "5 accepted runs of this owner wait" in refused.json()["detail"]
    assert int(refused.headers["retry-after"]) > 0
    run_id = live.post("/runs", {"output": "here"}, headers=BOB).json()["run_id"]
    with live.client() as client:
        assert client.delete("/runs/hanging", headers=ALICE).status_code == 200
    live.eventually(lambda: live.get(f"/runs/{run_id}", headers=BOB).json()["status"] == "completed")
    assert live.post("/runs", {}, headers=ALICE).status_code == 202


def test_a_single_owner_may_take_it_all(serve: Serve, store: Store) -> None:
    env = {"DOCKRION_API_KEY": "alice:key-of-alice,alice:another-key-of-alice"}
    live = busy(serve, store, env=env, auth={"mode": "api_key"})
    statuses = [live.post("/runs", {}, headers=ALICE).status_code for _ in range(11)]
    assert statuses == [202] * 10 + [503]


def test_two_servers_share_the_places_of_one_redis(serve: Serve, shared_redis: RedisServer) -> None:
    shared_redis.command("FLUSHALL")
    store = Store("redis", {"url": shared_redis.url})
    one = busy(serve, store)
    other = serve(
        echo,
        executing=False,
        streaming={"async_runs": True, **store.streaming(), "runs": {"max_waiting": 10}},
    )
    for number in range(10):
        assert (one, other)[number % 2].post("/runs", {}).status_code == 202
    assert [live.post("/runs", {}).status_code for live in (one, other)] == [503, 503]


# -- large outputs ---------------------------------------------------------------------------------


def test_a_list_is_small_however_large_the_outputs(serve: Serve, store: Store) -> None:
    live = serve(echo, streaming={"async_runs": True, **store.streaming()})
    names = [f"run-{number:03}" for number in range(60)]
    for name in names:
        payload = {"output": "y" * MIB}
        assert live.post(f"/runs?run_id={name}&thread_id=t-{name}", payload).status_code == 202
    live.eventually(lambda: metric(live, r'dockrion_executions_total\{kind="run",status="completed"\}') == 60)
    sent = _sent_by_redis(store)
    answer = live.get("/runs?limit=500")
    assert len(answer.content) < 60 * KIB_EACH
    assert _sent_by_redis(store) - sent < 60 * KIB_EACH
    runs = answer.json()["runs"]
    assert [run["run_id"] for run in runs] == names[::-1]
    for run in runs:
        assert not {"output", "error", "reason"} & set(run)
        assert (run["status"], run["thread_id"]) == ("completed", f"t-{run['run_id']}")
    assert len(live.get(f"/runs/{names[0]}").json()["output"]) == MIB


def _sent_by_redis(store: Store) -> int:
    """Return how many bytes Redis has sent so far; 0 for a store that is none."""
    if store.backend != "redis":
        return 0
    port = int(re.findall(r":(\d+)/", store.settings["url"])[0])
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as connection:
        connection.sendall(b"INFO stats\r\n")
        told = connection.recv(1 << 16).decode()
    return int(re.findall(r"total_net_output_bytes:(\d+)", told)[0])


# -- memory ----------------------------------------------------------------------------------------

SMALL = {"max_bytes": 4 * MIB}


def test_one_owner_fills_the_memory_and_anothers_runs_stay(serve: Serve) -> None:
    streaming = {"async_runs": True, "memory": SMALL}
    live = serve(echo, streaming=streaming, env=KEYS, auth={"mode": "api_key"})
    assert live.post("/runs?run_id=quiet", {"output": "z" * MIB}, headers=BOB).status_code == 202
    completed = r'dockrion_executions_total\{kind="run",status="completed"\}'
    for number in range(12):
        answer = live.post(f"/runs?run_id=loud-{number}", {"output": "y" * (MIB // 2)}, headers=ALICE)
        assert answer.status_code == 202, answer.text
        live.eventually(lambda done=number: metric(live, completed, headers=ALICE) == done + 2)
    assert live.get("/runs/quiet", headers=BOB).json()["output"] == "z" * MIB
    assert live.get("/runs/loud-0", headers=ALICE).status_code == 404
    assert live.get("/runs/loud-11", headers=ALICE).status_code == 200
    assert metric(live, "dockrion_runs_evicted_total", headers=ALICE) > 0
    assert metric(live, "dockrion_store_bytes", headers=ALICE) <= SMALL["max_bytes"]


def test_runs_that_go_on_fill_the_memory_and_new_ones_are_refused(serve: Serve) -> None:
    live = serve(echo, streaming={"async_runs": True, "memory": SMALL})
    payload = {"hang": True, "padding": "p" * (3 * MIB)}
    assert live.post("/runs?run_id=hanging", payload).status_code == 202
    refused = live.post("/runs", {"padding": "p" * (2 * MIB)})
    assert (refused.status_code, refused.json()["code"]) == (503, "STORE_FULL")
    assert int(refused.headers["retry-after"]) > 0
    assert metric(live, r'dockrion_runs_refused_total\{code="STORE_FULL"\}') == 1
    assert live.post("/runs", {}).status_code == 202
    with live.client() as client:
        assert client.delete("/runs/hanging").status_code == 200
    assert live.post("/runs", {"padding": "p" * (2 * MIB)}).status_code == 202


def test_a_log_that_outgrows_the_memory_shows_a_gap(serve: Serve) -> None:
    async def talk(payload: dict[str, Any], context: Any) -> str:
        for _ in range(200):
            await context.emit_token("t" * 50_000)
        return "done"

    live = serve(talk, streaming={"async_runs": True, "memory": SMALL})
    assert live.post("/runs?run_id=long", {}).status_code == 202
    live.eventually(lambda: live.get("/runs/long").json()["status"] == "completed")
    shown = live.get("/runs/long").json()
    assert (shown["last_sequence"], shown["output"]) == (202, "done")
    assert shown["first_sequence"] > 100
    with live.client() as client:
        frames = client.get("/runs/long/events").text.split("\n\n")
    assert frames[0].startswith("event: gap\n")
    assert f'"first_available":{shown["first_sequence"]}' in frames[0]
    assert frames[-2].startswith("event: complete\n")
