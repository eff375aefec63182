"""What a backend says when it opens, and which URLs it takes."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from dockrion_events import BackendUnavailable, RunNotFound
from dockrion_events.bus.redis import RedisBackend
from dockrion_events.bus.redis.urls import parse
from dockrion_events.testing.backend.support import claimed, nothing_to_claim
from dockrion_runtime.runs.service import event_backend
from dockrion_sdk import Dockfile

from ..servers import RedisServer
from ..servers.live import dockfile


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
        "redis://:canary/x@h:6379",
        "redis://:x/canary@h:6379/0",
        "redis://:12/canary@h:6379",
        "redis://:canary#x@h:6379",
        "redis://:x#canary@h:6379",
        "redis://:canary?x@h:6379",
        "redis://:x?canary@h:6379",
        "redis://:canary[x@h:6379",
        "redis://:ca]narycanary[x@h:6379",
        "rediss://u:a@b/canary@h:6379",
        "redis+sentinel://:can/canary@a:1/service",
        "redis+cluster://:canary#@a:1",
        "redis://h/canary",
        "redis://:canary@h/1/2",
        "redis://:canary@h/-1",
        "redis://:canary@h:70000",
        "unix://:canary@/run/redis.sock?db=first",
        "redis+sentinel://:canary@a:1/service/first",
        "redis://:canary@h?nonsense=1",
        "redis://:canary@h?socket_connect_timeout=soon",
    ],
)
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(ValueError) as caught:
        RedisBackend(url)
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize("character", "/#?[]@%&=+ ")
def test_a_password_that_is_percent_encoded_is_taken(character: str) -> None:
    password = f"4kX9{character}tail"
    for form in (
        "redis://:{}@h:6379/0",
        "redis+cluster://u:{}@a:1,b:2",
        "redis+sentinel://:{}@a:1/service/2",
    ):
        place = parse(form.format(quote(password, safe="")))
        assert place.options["password"] == password
        assert "4kX9" not in place.text


async def test_two_prefixes_do_not_see_each_other(redis_server: RedisServer) -> None:
    def streaming(**redis: str) -> Dockfile:
        return dockfile({"handler": "a:b"}, {"streaming": {"backend": "redis", "redis": redis}})

    url = redis_server.url
    one, other = (event_backend(streaming(url=url, prefix=f"{name}:tested")) for name in ("blue", "green"))
    usual = event_backend(streaming(url=url))
    for backend in (one, other, usual):
        await backend.open()
    try:
        await one.create_run("run", owner="me", request=b"{}")
        for backend in (other, usual):
            with pytest.raises(RunNotFound):
                await backend.get_run("run")
            assert await backend.list_runs("me", limit=5) == []
            await nothing_to_claim(backend)
        await usual.create_run("run", owner="me", request=b"{}")
        assert (await claimed(one)).record.key == "run"
        keys = redis_server.command("KEYS", "*")
        assert keys.count(b"blue:tested:") == 3
        assert keys.count(b"dockrion:tested:") == 3
    finally:
        for backend in (one, other, usual):
            await backend.close()
