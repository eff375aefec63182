"""What dockrion's user has to be allowed to do in Redis, and that it is told what is missing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dockrion_events import BackendUnavailable, QuotaExceeded
from dockrion_events.bus.redis import RedisBackend, selftest
from dockrion_events.testing.backend.support import (
    OWNER,
    claimed,
    ending,
    failure,
    opening,
    rest,
    tokens,
)

from ..runtime.conftest import Serve, serve
from ..servers import RedisServer
from .conftest import Backends, opened_backend

__all__ = ["serve"]

PAGE = Path(__file__).parents[2] / "docs" / "operators.md"
PREFIX = "dockrion:"


def documented() -> list[str]:
    """Return the rules of the ACL line in the documentation, behind the password."""
    (line,) = re.findall(r"^ACL SETUSER dockrion on >\S+ (.*)$", PAGE.read_text(), re.MULTILINE)
    return str(line).split()


def test_the_documented_line_allows_what_is_tested_and_no_more() -> None:
    commands = (
        *selftest.COMMANDS,
        *selftest.HINT_COMMANDS,
        *selftest.OPTIONAL_COMMANDS,
        *selftest.CONNECTION_COMMANDS,
        *selftest.CLUSTER_COMMANDS,
    )
    rights = [rule[1:].upper() for rule in documented() if rule.startswith("+")]
    assert sorted(rights) == sorted(commands)
    assert [rule for rule in documented() if not rule.startswith("+")] == [
        "resetchannels",
        "~dockrion:*",
        "&dockrion:*",
    ]


@pytest.fixture
def allowed(redis_server: RedisServer) -> Callable[..., str]:
    """Make a user with the documented rights, but for some; returns the URL."""

    def make(*removed: str) -> str:
        rules = [rule for rule in documented() if rule not in removed]
        reply = redis_server.command("ACL", "SETUSER", "app", "reset", "on", ">pw", *rules)
        assert reply == b"+OK\r\n"
        return f"redis://app:pw@127.0.0.1:{redis_server.port}"

    return make


async def test_these_rights_are_enough(allowed: Callable[..., str]) -> None:
    backend = RedisBackend(allowed(), max_waiting=4, owner_share=0.5)
    assert await backend.open() == []
    try:
        for key in ("run", "other"):
            await backend.create_run(key, owner=OWNER, request=b"{}")
        claim = await claimed(backend)
        follower = await backend.follow("run", after=0)
        await backend.append(claim, opening("run", 4))
        await backend.renew([claim], lease_seconds=5)
        await backend.release(claim)
        await backend.create_run("third", owner=OWNER, request=b"{}")
        with pytest.raises(QuotaExceeded):
            await backend.create_run("fourth", owner=OWNER, request=b"{}")
        await backend.end_run("run", ending("run", failure("X")))
        assert len(await rest(follower)) == 5
        assert len(await backend.list_runs(OWNER, limit=5)) == len(await backend.run_states(OWNER)) == 3
        await backend.ping()
    finally:
        await backend.close()


@pytest.mark.parametrize("command", selftest.COMMANDS)
async def test_each_right_that_is_missing_is_named(
    allowed: Callable[..., str], command: str, redis_server: RedisServer
) -> None:
    backend = RedisBackend(allowed(f"+{command.lower()}"), patience_seconds=2)
    with pytest.raises(BackendUnavailable, match=rf"not allow .*\b{command}\b"):
        await backend.open()
    await backend.close()
    assert b"selftest" not in redis_server.command("KEYS", "*") or command in ("DEL", "EVAL", "EVALSHA")


@pytest.mark.parametrize("rule", ["+publish", "+subscribe", "+unsubscribe", "&dockrion:*"])
async def test_without_hints_it_works_and_warns(allowed: Callable[..., str], rule: str) -> None:
    backend = RedisBackend(allowed(rule))
    (warning,) = await backend.open()
    try:
        assert "PUBLISH and SUBSCRIBE" in warning
        await backend.create_run("run", owner=OWNER, request=b"{}")
        claim = await claimed(backend)
        follower = await backend.follow("run", after=0)
        await backend.append(claim, opening("run", 4))
        record = await backend.end_run("run", ending("run"))
        assert record.status == "cancelled"
        assert len(await rest(follower)) == 5
    finally:
        await backend.close()


@pytest.mark.parametrize(("rule", "what"), [("~dockrion:*", "keys"), ("+info", "INFO"), ("+config|get", "")])
async def test_what_else_is_missing_is_said(allowed: Callable[..., str], rule: str, what: str) -> None:
    backend = RedisBackend(allowed(rule))
    if what == "keys":
        with pytest.raises(BackendUnavailable, match="keys that begin with its prefix"):
            await backend.open()
    else:
        assert all(what in line for line in await backend.open())
    await backend.close()


async def test_a_key_that_is_somebody_elses_is_named(redis_server: RedisServer) -> None:
    redis_server.command("SET", "dockrion:{queue}", "x")
    backend = RedisBackend(redis_server.url)
    with pytest.raises(BackendUnavailable, match=r"dockrion:\{queue\}.* is a string"):
        await backend.open()
    await backend.close()


async def test_a_command_that_was_renamed_away_is_named(tmp_path: Path) -> None:
    with RedisServer(tmp_path, rename_command='xtrim ""') as server:
        backend = RedisBackend(server.url)
        with pytest.raises(BackendUnavailable, match="XTRIM"):
            await backend.open()
        await backend.close()


# -- rights that go away, and keys in the way -------------------------------------------------------


async def test_a_run_is_made_whole_or_not_at_all(backends: Backends, redis_server: RedisServer) -> None:
    """Whatever key is in the way: what was refused is not executed, and what was accepted is."""
    for in_the_way in ("dockrion:{queue}", "dockrion:{queue}:of:" + OWNER, f"dockrion:owner:{OWNER}"):
        redis_server.command("FLUSHALL")
        async with backends(owner_share=0.5) as backend:
            redis_server.command("SET", in_the_way, "x")
            with pytest.raises(BackendUnavailable, match="something else"):
                await backend.create_run("run", owner=OWNER, request=b"{}")
            assert redis_server.command("EXISTS", "dockrion:run:{run}") == b":0\r\n"
            redis_server.command("DEL", in_the_way)
            _, new = await backend.create_run("run", owner=OWNER, request=b"{}")
            assert new
            assert (await claimed(backend)).record.key == "run"


@pytest.mark.parametrize("command", ["hset", "xadd", "pexpire", "zadd", "publish", "del", "xtrim"])
async def test_a_right_that_goes_away_leaves_nothing_that_lies(
    allowed: Callable[..., str], redis_server: RedisServer, command: str
) -> None:
    """Each call either happened, as it says, or can be made again once the right is back."""
    async with opened_backend(
        allowed(), patience_seconds=2, max_events_per_run=5, owner_share=0.5
    ) as backend:

        async def with_and_without(call: Callable[[], Any]) -> Any:
            redis_server.command("ACL", "SETUSER", "app", f"-{command}")
            try:
                return await call()
            except BackendUnavailable:
                redis_server.command("ACL", "SETUSER", "app", f"+{command}")
                return await call()
            finally:
                redis_server.command("ACL", "SETUSER", "app", f"+{command}")

        await with_and_without(lambda: backend.create_run("run", owner=OWNER, request=b"{}"))
        claim = await claimed(backend)
        log = [*opening("run", 4), *tokens("run", 30, after=4)]
        for start in range(0, 34, 17):
            await with_and_without(lambda start=start: backend.append(claim, log[start : start + 17]))
        record = await with_and_without(lambda: backend.end_run("run", ending("run")))
        assert (record.status, record.last_sequence) == ("cancelled", 35)
        events = await rest(await backend.follow("run", after=record.first_sequence - 1))
        assert [event.sequence for event in events] == list(range(record.first_sequence, 36))
        opened_run = await with_and_without(lambda: backend.open_run("open", owner=OWNER, request=b"{}"))
        await with_and_without(lambda: backend.append(opened_run, opening("open", 3)))
        assert (await backend.get_run("open")).last_sequence == 3


def test_without_the_right_to_publish_a_cancellation_says_so_and_ready_names_what_is_missing(
    serve: Serve, allowed: Callable[..., str], redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dockrion_events.bus.redis.backend.TEST_SECONDS", 0.0)

    async def agent(payload: dict[str, Any], context: Any) -> None:
        while True:
            await context.emit_token("on")
            await asyncio.sleep(0.01)

    store = {"backend": "redis", "redis": {"url": allowed()}}
    live = serve(agent, streaming={"async_runs": True, **store, "runs": {"lease_seconds": 1}})
    assert live.post("/runs?run_id=mine").status_code == 202
    live.eventually(lambda: live.get("/runs/mine").json()["last_sequence"] > 3)
    redis_server.command("ACL", "SETUSER", "app", "resetchannels", "-publish")
    with live.client() as client:
        answer = client.delete("/runs/mine")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert live.get("/runs/mine").json()["status"] == "cancelled"
    live.eventually(lambda: live.get_info()["runs"]["executing"] == 0)  # renewing tells it
    assert live.get("/ready").status_code == 200
    redis_server.command("ACL", "SETUSER", "app", "-xtrim")
    live.eventually(lambda: live.get("/ready").status_code == 503)
    redis_server.command("ACL", "SETUSER", "app", "+xtrim")
    live.eventually(lambda: live.get("/ready").status_code == 200)
