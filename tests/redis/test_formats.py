"""What Redis holds that is broken, older or newer than what this process writes."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from dockrion_events import RunUnreadable
from dockrion_events.bus import Claim, Cursor, EventBackend
from dockrion_events.testing.backend.support import (
    LONG,
    OWNER,
    SHORT,
    accepted,
    assert_same,
    claimed,
    ending,
    nothing_to_claim,
    opened,
    rest,
    soon,
    taken_over,
    whole,
)

from ..runtime.conftest import Serve, serve
from ..servers import RedisServer
from .conftest import Backends

__all__ = ["serve"]

RECORD = "dockrion:run:{%s}"
LOG = "dockrion:run:{%s}:log"
QUEUE = "dockrion:{queue}"


def _damages(server: RedisServer) -> dict[str, Any]:
    """Return ways to break the record of a run; each takes the run's key."""
    return {
        "status": lambda key: server.command("HSET", RECORD % key, "st", "\xff\xfe"),
        "unknown": lambda key: server.command("HSET", RECORD % key, "st", "paused"),
        "number": lambda key: server.command("HSET", RECORD % key, "la", "many"),
        "time": lambda key: server.command("HSET", RECORD % key, "ca", "9" * 40),
        "owner": lambda key: server.command("HDEL", RECORD % key, "ca", "at"),
        "losses": lambda key: server.command("HSET", RECORD % key, "lo", "many"),
        "parts": lambda key: server.command("HSET", RECORD % key, "ep", "x:y;"),
        "newer": lambda key: server.command("HSET", RECORD % key, "v", "2"),
        "string": lambda key: (server.command("DEL", RECORD % key), server.command("SET", RECORD % key, "x")),
        "log": lambda key: (server.command("DEL", LOG % key), server.command("SET", LOG % key, "x")),
    }


async def test_what_is_broken_is_left_out_of_lists_and_logged_once(
    backends: Backends, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "dockrion")
    damages = _damages(redis_server)
    async with backends() as backend:
        for key in ("first", *damages, "last"):
            await opened(backend, key, whole(key, 3))
        for key, damage in damages.items():
            damage(key)
        for _ in range(3):
            found = await backend.list_runs(OWNER, limit=50)
            # Lists do not read who wrote which part of a log, so that cannot be broken there.
            assert [record.key for record in found] == ["last", "parts", "first"]
            states = {state.key for state in await backend.run_states(OWNER)}
            assert states == {"last", "parts", "first"}
        for key in damages:
            with pytest.raises(RunUnreadable):
                await backend.get_run(key)
            with pytest.raises(RunUnreadable):
                await backend.follow(key, after=0)
        with pytest.raises(RunUnreadable, match="newer version"):
            await backend.end_run("newer", ending("newer"))
    lines = [record.getMessage() for record in caplog.records if "lists leave it out" in record.getMessage()]
    assert len(lines) == len(set(lines)), "each is logged once"
    assert {key for key in damages if any(repr(key) in line for line in lines)} == set(damages) - {"parts"}


def test_over_http_a_broken_run_is_a_clear_problem(serve: Serve, redis_server: RedisServer) -> None:
    async def agent(payload: dict[str, Any]) -> int:
        return 1

    live = serve(
        agent, streaming={"async_runs": True, "backend": "redis", "redis": {"url": redis_server.url}}
    )
    for run_id in ("good", "broken", "newer", "ending"):
        assert live.post(f"/runs?run_id={run_id}").status_code == 202
        live.eventually(lambda run_id=run_id: live.get(f"/runs/{run_id}").json()["status"] == "completed")
    key = "dockrion:tested:run:{%s}"
    redis_server.command("HSET", key % "broken", "la", "many")
    redis_server.command("HSET", key % "newer", "v", "7")
    redis_server.command("DEL", key % "ending" + ":log")
    redis_server.command("XADD", key % "ending" + ":log", "2-0", "t", "complete", "j", '{"type":"comp')
    listed = live.get("/runs")
    assert listed.status_code == 200
    # A list shows no output, and so does not read the event that holds it.
    assert [run["run_id"] for run in listed.json()["runs"]] == ["ending", "good"]
    for run_id, status, code in (
        ("broken", 500, "RUN_UNREADABLE"),
        ("newer", 503, "RUN_TOO_NEW"),
        ("ending", 500, "RUN_UNREADABLE"),
    ):
        answer = live.get(f"/runs/{run_id}")
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert "Traceback" not in answer.text


async def test_everything_stored_has_a_version(backends: Backends, redis_server: RedisServer) -> None:
    async with backends() as backend:
        await accepted(backend, "run")
        queued = redis_server.command("XRANGE", QUEUE, "-", "+")
        assert queued.split(b"\r\n")[-5:-1] == [b"$1", b"v", b"$1", b"1"]
        await backend.append(await claimed(backend), whole("run", 3)[:2])
        await backend.end_run("run", ending("run"))
        await opened(backend, "open")
        for key in ("run", "open"):
            assert redis_server.command("HGET", RECORD % key, "v") == b"$1\r\n1\r\n"
        assert redis_server.command("XRANGE", LOG % "run", "-", "+").count(b"$1\r\nv\r\n$1\r\n1\r\n") == 3


async def test_what_the_release_before_versions_stored_is_read_and_executed(
    backends: Backends, redis_server: RedisServer
) -> None:
    command = redis_server.command
    async with backends() as backend:
        log = whole("run", 5)
        command(
            "HSET", RECORD % "run", "st", "accepted", "ow", OWNER, "rq", "{}", "ca", "1700000000000000",
            "no", "x", "at", "1", "la", "3", "mx", "200", "fe", "", "pr", "", "en", "", "ba", "0",
        )  # fmt: skip
        for event in log[:3]:
            command("XADD", LOG % "run", f"{event.sequence}-0", "t", event.type, "j", event.json)
        command("XADD", QUEUE, "*", "k", "run")
        claim = await claimed(backend)
        assert (claim.token, claim.record.last_sequence) == (2, 3)
        await backend.append(claim, log[3:])
        assert_same(await rest(await backend.follow("run", after=0)), log)
        for last_id in ("2", "2.9f86d081"):  # nobody knows who wrote it
            assert_same(await rest(await backend.follow("run", after=Cursor.parse(last_id))), log[2:])


@pytest.mark.parametrize("where", ["record", "queue"])
async def test_an_executor_leaves_newer_runs_to_others(
    backends: Backends, redis_server: RedisServer, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    async with backends() as backend, backends() as other:
        if where == "record":
            await accepted(backend, "newer")
            redis_server.command("HSET", RECORD % "newer", "v", "2")
        else:
            redis_server.command("XADD", QUEUE, "*", "k", "newer", "v", "2")
        await accepted(backend, "mine")
        assert (await claimed(backend)).record.key == "mine"
        await nothing_to_claim(backend)
        await nothing_to_claim(other)
        assert caplog.text.count("'newer' is of a newer version") == 2, "once in each process"
        # A process that understands it, which these become now, finds it at once.
        if where == "record":
            redis_server.command("HSET", RECORD % "newer", "v", "1")
            async with backends() as upgraded:
                claim = await taken_over(upgraded)
                assert (claim.record.key, claim.record.attempt) == ("newer", 1)
                await upgraded.append(claim, whole("newer", 3))


async def test_the_leases_of_many_runs_are_renewed(backends: Backends) -> None:
    """More than Lua's unpack takes at once."""
    count = 9_000
    async with backends(patience_seconds=60) as backend, backends() as other:
        await _accepted(backend, count)
        claims = await asyncio.wait_for(
            backend.claim("executor", accepted=count, expired=0, lease_seconds=SHORT, timeout=5), LONG
        )
        assert len(claims) == count
        await asyncio.wait_for(backend.renew(claims, lease_seconds=LONG), LONG)
        await nothing_to_claim(other)
        await asyncio.wait_for(backend.renew(claims, lease_seconds=SHORT), LONG)
        lost: list[Claim] = []
        async with asyncio.timeout(LONG):
            while len(lost) < count:
                lost += await other.claim(
                    "other", accepted=0, expired=count, lease_seconds=LONG, timeout=LONG
                )
        assert not any(claim.revoked.done() for claim in lost)
        await soon(other.ping())


async def _accepted(backend: EventBackend, count: int) -> None:
    for start in range(0, count, 500):
        names = [f"run-{number}" for number in range(start, min(start + 500, count))]
        await asyncio.gather(*(backend.create_run(name, owner=OWNER, request=b"{}") for name in names))
