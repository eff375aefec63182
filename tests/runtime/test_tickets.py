"""Tickets: what opens one run's events, or one socket, where no header can be sent."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from dockrion_runtime import create_app
from dockrion_runtime.auth import KeyRing
from dockrion_runtime.server import bind
from dockrion_runtime.tickets.signing import SECONDS, Tickets

from .conftest import DEADLINE, Live, Serve, Store, agent_module, dockfile

ALICE = {"X-API-Key": "key-of-alice"}
BOB = {"X-API-Key": "key-of-bob"}
ENV = {"DOCKRION_API_KEY": "alice:key-of-alice,bob:key-of-bob,nameless-key-123"}
AUTH = {"mode": "api_key"}
SECTIONS: dict[str, Any] = {
    "expose": {"streaming": ["sse", "websocket"]},
    "streaming": {"async_runs": True},
}


async def talk(payload: dict[str, Any], context: Any) -> dict[str, Any]:
    await context.emit_token("hello")
    return {}


def served(serve: Serve, env: dict[str, str] | None = None, **sections: Any) -> Live:
    return serve(talk, env=env or ENV, auth=AUTH, **{**SECTIONS, **sections})


def run_of(live: Live, headers: dict[str, str] = ALICE) -> str:
    run_id: str = live.post("/runs", headers=headers).json()["run_id"]
    return run_id


def ticket_for(live: Live, run_id: str, headers: dict[str, str] = ALICE) -> str:
    answer = live.post(f"/runs/{run_id}/ticket", headers=headers)
    assert answer.status_code == 201, answer.text
    ticket: str = answer.json()["ticket"]
    return ticket


def url(live: Live, path: str) -> str:
    return f"ws://127.0.0.1:{live.port}{path}"


# -- what a ticket opens ------------------------------------------------------------------------


def test_a_ticket_opens_the_events_of_its_run_again_and_again(serve: Serve) -> None:
    live = served(serve)
    run_id = run_of(live)
    answer = live.post(f"/runs/{run_id}/ticket", headers=ALICE)
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    assert told == {
        "ticket": told["ticket"],
        "expires_in": 60,
        "events_url": f"/runs/{run_id}/events?ticket={told['ticket']}",
        "ws_url": f"/runs/{run_id}/ws?ticket={told['ticket']}",
    }
    for _ in range(2):
        opened = live.get(told["events_url"])
        assert opened.status_code == 200
        assert "event: complete" in opened.text
        assert opened.headers["referrer-policy"] == "no-referrer"
    later = live.get(told["events_url"] + "&from_sequence=3")
    assert [line for line in later.text.splitlines() if line.startswith("id")] == ["id: 3"]


async def test_a_ticket_opens_the_socket_of_its_run(serve: Serve) -> None:
    live = served(serve)
    run_id = run_of(live)
    ticket = ticket_for(live, run_id)
    for _ in range(2):
        async with (
            asyncio.timeout(DEADLINE),
            connect(url(live, f"/runs/{run_id}/ws?ticket={ticket}")) as socket,
        ):
            assert [json.loads(frame)["type"] async for frame in socket] == ["started", "token", "complete"]


def test_another_server_with_the_same_key_verifies_it(serve: Serve, store: Store) -> None:
    streaming = {"async_runs": True, **store.streaming()}
    one = served(serve, streaming=streaming)
    # Other keys beside it, in another order, change nothing.
    other = served(serve, {"DOCKRION_API_KEY": "carol:key-of-carol,alice:key-of-alice"}, streaming=streaming)
    run_id = run_of(one)
    if store.backend == "memory":  # no run is shared, but the ticket is read before the run is looked for
        answer = other.get(f"/runs/{run_id}/events", params={"ticket": ticket_for(one, run_id)})
        assert answer.json()["code"] == "RUN_NOT_FOUND"
        return
    answer = other.get(f"/runs/{run_id}/events", params={"ticket": ticket_for(one, run_id)})
    assert answer.status_code == 200
    stranger = served(serve, {"DOCKRION_API_KEY": "alice:another-key"}, streaming=streaming)
    refused = stranger.get(f"/runs/{run_id}/events", params={"ticket": ticket_for(one, run_id)})
    assert refused.status_code == 401


# -- what it does not open ----------------------------------------------------------------------


def refused(answer: httpx.Response, ticket: str = "") -> bool:
    assert not ticket or ticket not in answer.text
    return answer.status_code == 401 and answer.json()["code"] == "UNAUTHORIZED"


def test_a_ticket_opens_nothing_else(serve: Serve) -> None:
    live = served(serve)
    run_id, another = run_of(live), run_of(live)
    ticket = ticket_for(live, run_id)
    for method, path in [
        ("GET", f"/runs/{another}/events"),
        ("GET", f"/runs/{run_id}"),
        ("DELETE", f"/runs/{run_id}"),
        ("POST", f"/runs/{run_id}/ticket"),
        ("POST", "/ticket"),
        ("GET", "/runs"),
        ("POST", "/runs"),
        ("POST", "/invoke"),
        ("POST", "/invoke/stream"),
        ("GET", "/info"),
        ("GET", "/schema"),
        ("GET", "/docs"),
        ("GET", "/health"),
        ("GET", "/"),
        ("GET", "/playground/main.js"),
    ]:
        with live.client() as client:
            for headers in ({}, ALICE):
                answer = client.request(method, path, params={"ticket": ticket}, headers=headers)
                assert refused(answer, ticket), (method, path)


def test_a_ticket_is_its_owners(serve: Serve) -> None:
    live = served(serve)
    mine = live.post("/runs?run_id=same", headers=ALICE).json()["run_id"]
    live.post("/runs?run_id=same", {"bobs": True}, headers=BOB)
    assert live.post("/runs/nothing/ticket", headers=ALICE).status_code == 404
    alices = run_of(live)
    assert live.post(f"/runs/{alices}/ticket", headers=BOB).json()["code"] == "RUN_NOT_FOUND"
    assert live.post(f"/runs/{alices}/ticket").status_code == 401
    answers = [
        live.get(f"/runs/{mine}/events", params={"ticket": ticket_for(live, mine, headers)}).text
        for headers in (ALICE, BOB)
    ]
    assert answers[0] != answers[1]


async def test_sockets_take_tickets_of_their_own_purpose(serve: Serve) -> None:
    live = served(serve)
    run_id = run_of(live)
    for_run, for_socket = ticket_for(live, run_id), live.post("/ticket", headers=ALICE).json()["ticket"]
    for path in (f"/invoke/ws?ticket={for_run}", f"/runs/{run_id}/ws?ticket={for_socket}"):
        with pytest.raises(InvalidStatus) as answer:
            await connect(url(live, path))
        assert answer.value.response.status_code == 401
    assert refused(live.get(f"/runs/{run_id}/events", params={"ticket": for_socket}), for_socket)


async def test_a_ticket_for_a_socket_is_good_for_one(serve: Serve) -> None:
    live = served(serve)
    told = live.post("/ticket", headers=ALICE).json()
    assert told["ws_url"] == f"/invoke/ws?ticket={told['ticket']}"
    async with asyncio.timeout(DEADLINE), connect(url(live, told["ws_url"])) as socket:
        await socket.send('{"payload": {}}')
        assert json.loads(await socket.recv())["type"] == "started"
    with pytest.raises(InvalidStatus) as answer:
        await connect(url(live, told["ws_url"]))
    assert answer.value.response.status_code == 401


def changed(ticket: str, index: int) -> str:
    body, _, signature = ticket.partition(".")
    grant = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    grant[index] = {0: "socket", 1: "bob", 2: "another", 3: grant[3] + 3600, 4: "x"}[index]
    return base64.urlsafe_b64encode(json.dumps(grant).encode()).decode().rstrip("=") + "." + signature


def test_forged_and_mangled_tickets_are_refused(serve: Serve) -> None:
    live = served(serve)
    run_id = run_of(live)
    ticket = ticket_for(live, run_id)
    body, _, signature = ticket.partition(".")
    bad = [
        "",
        ".",
        body,
        f"{body}.",
        f".{signature}",
        f"{ticket}x",
        ticket[:-1],
        ticket.upper(),
        "x" * 5000,
        "ü.ü",
    ]
    bad += [
        f"{ticket}.{ticket}",
        f"{body}.{signature}=",
        f"W10.{signature}",
        f"{body}.{signature[::-1]}",
        "%00",
    ]
    bad += [changed(ticket, index) for index in range(5)]
    for forged in bad:
        assert refused(live.get(f"/runs/{run_id}/events", params={"ticket": forged})), forged
    twice = live.get(f"/runs/{run_id}/events?ticket={ticket}&ticket={ticket}")
    assert refused(twice, ticket)
    assert live.get(f"/runs/{run_id}/events?{'%74icket'}={ticket}").status_code == 200


@pytest.mark.parametrize("name", ["api_key", "token", "X-API-Key"])
def test_a_key_in_the_query_stays_refused(serve: Serve, name: str) -> None:
    live = served(serve)
    run_id = run_of(live)
    ticket = ticket_for(live, run_id)
    for params in ({name: "key-of-alice"}, {name: "key-of-alice", "ticket": ticket}):
        assert refused(live.get(f"/runs/{run_id}/events", params=params), ticket)


# -- time, and what a ticket is made of ---------------------------------------------------------


def test_tickets_expire_and_are_used_up() -> None:
    now = 1_000_000.0
    ring = KeyRing(ENV["DOCKRION_API_KEY"], variable="X")
    tickets = Tickets(ring.keys_of, clock=lambda: now)
    run, socket = tickets.make("run", "alice", "r1"), tickets.make("socket", "alice")
    assert tickets.check(run, "run", "r2") is None
    assert tickets.check(run, "socket") is None
    elsewhere = Tickets(ring.keys_of, clock=lambda: now)
    for _ in range(2):
        assert tickets.check(run, "run", "r1") is not None
    for one in (tickets, elsewhere):  # each process remembers for itself
        assert one.check(socket, "socket") is not None
        assert one.check(socket, "socket") is None
    now += SECONDS - 0.1
    assert tickets.check(run, "run", "r1") is not None
    now += 0.2
    assert tickets.check(run, "run", "r1") is None
    assert tickets.check(tickets.make("socket", "bob"), "socket") is not None
    assert len(tickets._used) == 1  # what has expired is forgotten
    nobody = Tickets(KeyRing("bob:key-of-bob", variable="X").keys_of, clock=lambda: now)
    assert nobody.check(tickets.make("run", "alice", "r1"), "run", "r1") is None


def test_no_two_tickets_are_alike_and_no_key_is_in_them() -> None:
    tickets = Tickets(KeyRing(ENV["DOCKRION_API_KEY"], variable="X").keys_of)
    made = {tickets.make("socket", "alice") for _ in range(50)}
    assert len(made) == 50
    for ticket in made:
        decoded = base64.urlsafe_b64decode(ticket.partition(".")[0] + "==")
        assert b"key-of" not in decoded


def test_an_owner_with_two_keys() -> None:
    both = Tickets(KeyRing("alice:old-key,alice:new-key", variable="X").keys_of)
    old = Tickets(KeyRing("alice:old-key", variable="X").keys_of)
    new = Tickets(KeyRing("alice:new-key", variable="X").keys_of)
    assert both.check(new.make("run", "alice", "r"), "run", "r") is not None
    assert both.check(old.make("run", "alice", "r"), "run", "r") is not None
    assert new.check(old.make("run", "alice", "r"), "run", "r") is None


# -- without authentication ---------------------------------------------------------------------


def test_where_nobody_needs_one(serve: Serve) -> None:
    live = serve(talk, **SECTIONS)
    run_id = run_of(live, {})
    told = live.post(f"/runs/{run_id}/ticket").json()
    events, socket = f"/runs/{run_id}/events", f"/runs/{run_id}/ws"
    assert told == {"ticket": None, "expires_in": None, "events_url": events, "ws_url": socket}
    assert "event: complete" in live.get(told["events_url"]).text
    assert live.post("/ticket").json() == {"ticket": None, "expires_in": None, "ws_url": "/invoke/ws"}
    assert live.post("/runs/nothing/ticket").status_code == 404


def test_there_are_tickets_only_for_what_is_served(serve: Serve) -> None:
    assert serve(talk).post("/ticket").status_code == 404
    assert serve(talk).post("/runs/x/ticket").status_code == 404
    live = served(serve, expose={"streaming": "sse"})
    assert live.post("/ticket", headers=ALICE).status_code == 404
    assert "ws_url" not in live.post(f"/runs/{run_of(live)}/ticket", headers=ALICE).json()


# -- logs ---------------------------------------------------------------------------------------


@contextmanager
def with_an_access_log() -> Iterator[str]:
    """Serve by uvicorn as it comes, with its log of every request."""
    module = agent_module(agent=talk)
    app = create_app(dockfile({"handler": f"{module}:agent"}, {**SECTIONS, "auth": AUTH}), env=ENV)
    sock = bind("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=True, lifespan="on"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[sock])), daemon=True)
    thread.start()
    yield f"127.0.0.1:{sock.getsockname()[1]}"
    server.should_exit = True
    thread.join(DEADLINE)
    assert not thread.is_alive()


async def test_a_ticket_never_appears_in_a_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for name in ("uvicorn", "uvicorn.access", "uvicorn.error", "dockrion"):
        caplog.set_level(logging.INFO, name)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it is the client's, and in this process by chance
    with with_an_access_log() as address:
        async with httpx.AsyncClient(base_url=f"http://{address}", timeout=DEADLINE) as client:
            run_id = (await client.post("/runs", headers=ALICE, json={})).json()["run_id"]
            ticket = (await client.post(f"/runs/{run_id}/ticket", headers=ALICE)).json()["ticket"]
            for path in (f"/runs/{run_id}/events", "/runs/other/events", "/info", "/nothing", "/health", "/"):
                answer = await client.get(path, params={"ticket": ticket, "from_sequence": 1})
                assert ticket not in answer.text + str(answer.headers)
            async with connect(f"ws://{address}/runs/{run_id}/ws?ticket={ticket}") as socket:
                assert len([frame async for frame in socket]) == 3
            with pytest.raises(InvalidStatus):
                await connect(f"ws://{address}/runs/other/ws?ticket={ticket}")
    log = caplog.text
    assert f"/runs/{run_id}/events?from_sequence=1" in log  # the log is there, and says all else
    assert f"/runs/{run_id}/ws" in log
    assert "ticket=" not in log
    assert ticket not in log
    assert ticket.partition(".")[2] not in log
