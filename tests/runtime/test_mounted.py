"""The server mounted in somebody else's application, by a real uvicorn of theirs."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import httpx_sse
import litestar
import pytest
import uvicorn
from fastapi import FastAPI
from litestar.handlers import asgi
from starlette.applications import Starlette
from starlette.routing import Mount
from websockets.sync.client import connect

from dockrion_runtime import create_app

from .conftest import DEADLINE, agent_module, dockfile

PATHS = ("/one", "/deep/two")


async def talk(payload: dict[str, Any], context: Any) -> dict[str, Any]:
    await context.emit_token("said")
    return {"said": payload}


def agents(**sections: Any) -> dict[str, Any]:
    """Make an agent's application for each path."""
    expose = {"streaming": ["sse", "websocket"], "protocols": ["a2a"], **sections.pop("expose", {})}
    given = {"expose": expose, "streaming": {"async_runs": True}, **sections}
    made = {}
    for path in PATHS:
        module = agent_module(agent=talk)
        given["agent"] = {"name": path.strip("/").replace("/", "-"), "handler": f"{module}:agent"}
        made[path] = create_app(dockfile({}, given))
    return made


@asynccontextmanager
async def all_open(apps: dict[str, Any]) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for app in apps.values():
            await stack.enter_async_context(app.lifespan())
        yield


def fastapi(apps: dict[str, Any], opened: bool) -> Any:
    host = FastAPI(lifespan=(lambda _: all_open(apps)) if opened else None)
    host.get("/own")(lambda: {"own": True})
    for path, app in apps.items():
        host.mount(path, app)
    return host


def starlette(apps: dict[str, Any], opened: bool) -> Any:
    routes = [Mount(path, app) for path, app in apps.items()]
    return Starlette(routes=routes, lifespan=(lambda _: all_open(apps)) if opened else None)


def litestar_host(apps: dict[str, Any], opened: bool) -> Any:
    mounts = [asgi(path, is_mount=True, copy_scope=False)(app) for path, app in apps.items()]
    return litestar.Litestar(mounts, lifespan=[lambda _: all_open(apps)] if opened else [])


Host = Callable[[dict[str, Any], bool], Any]
HOSTS = pytest.mark.parametrize("host", [fastapi, starlette, litestar_host])


@contextmanager
def served(app: Any, **options: Any) -> Iterator[httpx.Client]:
    """Serve by uvicorn as it comes."""
    sock = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on", **options))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[sock])), daemon=True)
    thread.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{sock.getsockname()[1]}", timeout=DEADLINE) as client:
        yield client
    server.should_exit = True
    thread.join(DEADLINE)
    assert not thread.is_alive()
    sock.close()


def events(client: httpx.Client, method: str, path: str, **options: Any) -> list[str]:
    with httpx_sse.connect_sse(client, method, path, **options) as source:
        assert source.response.status_code == 200, source.response.read()
        return [event.event for event in source.iter_sse()]


@HOSTS
def test_several_agents_in_one_application(host: Host) -> None:
    with served(host(agents(), True)) as client:
        for path in PATHS:
            assert client.get(f"{path}/ready").json() == {
                "status": "ready",
                "agent": path.strip("/").replace("/", "-"),
            }
            assert client.post(f"{path}/invoke", json={"a": 1}).json()["output"] == {"said": {"a": 1}}
            assert events(client, "POST", f"{path}/invoke/stream", json={}) == [
                "started",
                "token",
                "complete",
            ]
            made = client.post(f"{path}/runs", json={}, params={"run_id": "mine"})
            assert (made.status_code, made.json()["events_url"]) == (202, f"{path}/runs/mine/events")
            assert made.headers["location"] == f"{path}/runs/mine"
            assert events(client, "GET", made.json()["events_url"]) == ["started", "token", "complete"]
            assert client.get(made.headers["location"]).json()["status"] == "completed"
            assert client.head(f"{path}/runs/mine").status_code == 200
            page = client.get(f"{path}/docs").text
            asset = page.partition('src="')[2].partition('"')[0]
            assert asset == f"{path}/docs/assets/swagger-ui-bundle.js"
            assert client.get(asset).status_code == 200
            assert client.get(f"{path}/docs/openapi.json").json()["servers"] == [{"url": path}]
            card = client.get(f"{path}/.well-known/agent-card.json").json()
            assert card["url"] == str(client.base_url).rstrip("/") + f"{path}/a2a"
            assert client.get(f"{path}/").headers["content-type"].startswith("text/html")
            assert client.get(f"{path}/playground/main.js").status_code == 200
            assert client.get(f"{path}/nothing").json()["code"] == "NOT_FOUND"
            with connect(f"ws://{client.base_url.netloc.decode()}{path}/invoke/ws") as line:
                line.send(json.dumps({"payload": {}}))
                assert [json.loads(line.recv(DEADLINE))["type"] for _ in range(3)] == [
                    "started",
                    "token",
                    "complete",
                ]
            evil = {"Origin": "https://evil.example"}
            assert client.post(f"{path}/invoke", json={}, headers=evil).status_code == 403
            assert client.get(f"{path}/runs", headers={"Host": "evil.example"}).status_code == 421
        assert [run["run_id"] for run in client.get("/one/runs").json()["runs"]] == ["mine"]


@HOSTS
def test_without_its_lifespan_an_agent_says_what_is_missing(host: Host) -> None:
    with served(host(agents(), False)) as client:
        for method, path in (
            ("POST", "/one/invoke"),
            ("POST", "/one/invoke/stream"),
            ("POST", "/one/runs"),
            ("GET", "/one/runs"),
            ("GET", "/one/runs/x/events"),
        ):
            answer = client.request(method, path, json={} if method == "POST" else None)
            assert (answer.status_code, answer.json()["code"]) == (503, "NOT_STARTED"), path
            assert "app.lifespan()" in answer.json()["detail"]
        assert client.get("/one/health").status_code == 200
        assert client.get("/one/ready").json()["status"] == "starting"


def test_the_application_around_it_goes_on(tmp_path: Path) -> None:
    with served(fastapi(agents(), True)) as client:
        assert client.get("/own").json() == {"own": True}
        assert client.get("/own", headers={"Host": "any.example"}).status_code == 200


def test_below_a_root_path_of_the_server() -> None:
    """The proxy takes the prefix off, and uvicorn is told of it."""
    with served(fastapi(agents(), True), root_path="/outer") as client:
        made = client.post("/one/runs", json={}, params={"run_id": "mine"}).json()
        assert made["events_url"] == "/outer/one/runs/mine/events"


def test_a_dockfile_is_named_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"agent_of_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text("def handle(payload):\n    return payload\n")
    (tmp_path / "Dockfile.yaml").write_text(
        f"agent: {{name: tested, handler: '{name}:handle'}}\nauth: {{mode: api_key}}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    for path in (tmp_path, str(tmp_path / "Dockfile.yaml")):
        app = create_app(path, env={"DOCKRION_API_KEY": "a-key-of-some-length"})
        assert app.state.service.dockfile.file == tmp_path / "Dockfile.yaml"


@pytest.mark.parametrize("stripped", [True, False])
def test_a_proxy_may_take_off_the_prefix_of_the_application_that_mounts(stripped: bool) -> None:
    apps = agents()
    host = fastapi(apps, True)
    host.root_path = "/outer"
    before = "" if stripped else "/outer"
    with served(host) as client:
        for path in PATHS:
            accepted = client.post(f"{before}{path}/runs", json={})
            assert accepted.headers["Location"].startswith(f"/outer{path}/runs/")
            document = client.get(f"{before}{path}/docs/openapi.json").json()
            assert document["servers"] == [{"url": f"/outer{path}"}]
            assert events(client, "POST", f"{before}{path}/invoke/stream", json={})[-1] == "complete"


def test_a_key_opens_a_mounted_agent_and_a_ticket_stays_out_of_sight(
    caplog: pytest.LogCaptureFixture,
) -> None:
    module = agent_module(agent=talk)
    app = create_app(
        dockfile(
            {"handler": f"{module}:agent"}, {"auth": {"mode": "api_key"}, "streaming": {"async_runs": True}}
        ),
        env={"DOCKRION_API_KEY": "a-key-of-some-length"},
    )
    key = {"X-API-Key": "a-key-of-some-length"}
    caplog.set_level("INFO", "uvicorn.access")
    with served(fastapi({"/one": app}, True)) as client:
        assert client.post("/one/invoke", json={}).status_code == 401
        assert client.post("/one/runs", json={}, params={"run_id": "mine"}, headers=key).status_code == 202
        url = client.post("/one/runs/mine/ticket", headers=key).json()["events_url"]
        assert url.startswith("/one/runs/mine/events?ticket=")
        assert events(client, "GET", url)[-1] == "complete"
    ticket = url.partition("ticket=")[2]
    requests = [record.getMessage() for record in caplog.records if record.name == "uvicorn.access"]
    assert requests
    assert not any(ticket in request for request in requests)


@pytest.mark.parametrize("runs", [False, True], ids=["direct", "runs"])
async def test_an_application_is_started_more_than_once(runs: bool) -> None:
    """As a client of tests does that enters its lifespan in each test."""
    given = {"handler": f"{agent_module(agent=talk)}:agent"}
    app = create_app(dockfile(given, {"streaming": {"async_runs": runs}}))
    for _ in range(2):
        async with app.lifespan():
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                assert (await client.post("/invoke", json={})).status_code == 200
                if runs:
                    accepted = await client.post("/runs", json={})
                    events = await client.get(accepted.json()["events_url"])
                    assert "event: complete" in events.text
