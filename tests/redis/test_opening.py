"""What a backend says when it opens, and which URLs it takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from dockrion_events import BackendUnavailable
from dockrion_events.bus.redis import RedisBackend
from dockrion_events.bus.redis.urls import parse

from ..servers import RedisServer


async def _warnings(server: RedisServer, url: str | None = None) -> list[str]:
    backend = RedisBackend(url or server.url, patience_seconds=1)
    try:
        return await backend.open()
    finally:
        await backend.close()


async def test_a_safe_redis_gives_no_warning(redis_server: RedisServer) -> None:
    assert await _warnings(redis_server) == []


async def test_what_may_lose_runs_is_a_warning(tmp_path: Path) -> None:
    settings = {"appendonly": "no", "maxmemory_policy": "allkeys-lru", "maxmemory": "100mb"}
    with RedisServer(tmp_path, **settings) as server:
        evicting, forgetting = await _warnings(server)
        assert "maxmemory-policy allkeys-lru" in evicting
        assert "saves nothing to disk" in forgetting
        server.command("CONFIG", "SET", "save", "60 1")
        assert len(await _warnings(server)) == 1


async def test_what_may_not_be_asked_is_said_in_a_line(redis_server: RedisServer) -> None:
    redis_server.command("ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all", "-info", "-config")
    (line,) = await _warnings(redis_server, f"redis://app:pw@127.0.0.1:{redis_server.port}")
    assert "does not allow INFO" in line
    redis_server.command("ACL", "SETUSER", "app", "+info")
    redis_server.command("CONFIG", "SET", "appendonly", "no")
    (line,) = await _warnings(redis_server, f"redis://app:pw@127.0.0.1:{redis_server.port}")
    assert "does not allow CONFIG" in line


async def test_where_nobody_answers_it_does_not_open() -> None:
    backend = RedisBackend("redis://127.0.0.1:1", patience_seconds=0.3)
    with pytest.raises(BackendUnavailable, match=r"127\.0\.0\.1:1"):
        await backend.open()
    with pytest.raises(BackendUnavailable, match="not open"):
        await backend.ping()
    await backend.close()
    with pytest.raises(BackendUnavailable, match="closed"):
        await backend.open()


@pytest.mark.parametrize(
    ("url", "text", "kind"),
    [
        ("redis://h", "redis://h:6379/0", "single"),
        ("redis://u:p@h:1/2", "redis://h:1/2", "single"),
        ("rediss://h:1/2?ssl_cert_reqs=none", "rediss://h:1/2", "single"),
        ("unix:///run/redis.sock?db=3", "unix:///run/redis.sock", "single"),
        ("redis+sentinel://u:p@a:1,b/runs/4", "redis+sentinel://a:1,b:26379/runs", "sentinel"),
        ("redis+sentinel://a/runs?sentinel_password=s", "redis+sentinel://a:26379/runs", "sentinel"),
        ("rediss+cluster://:p@a:1,b:2", "rediss+cluster://a:1,b:2", "cluster"),
        ("redis+cluster://[::1]:7000", "redis+cluster://::1:7000", "cluster"),
    ],
)
def test_urls(url: str, text: str, kind: str) -> None:
    place = parse(url)
    assert (place.text, place.kind) == (text, kind)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "http://h",
        "redis+ring://h",
        "redis+sentinel://:canary@a:1",
        "redis+cluster://:canary@a:1/3",
        "redis+cluster://:canary@a:x",
        "redis+cluster://",
        "redis://:canary@h:port",
        "redis://:canary@h?nonsense=1",
        "redis://:canary@h?socket_connect_timeout=soon",
    ],
)
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(ValueError) as caught:
        RedisBackend(url)
    assert "canary" not in str(caught.value)
