"""A real server on a real port, in a thread, so that tests can hold the agent's reins."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import httpx
import httpx_sse
import pytest

from dockrion_runtime import create_app
from dockrion_runtime.server import Server, bind, server_config
from dockrion_runtime.service import Service
from dockrion_sdk import Dockfile

from .redis import RedisServer

DEADLINE = 10.0
_modules = itertools.count()


@dataclass
class Live:
    """A server that is up, and the means to talk to it."""

    url: str
    port: int
    service: Service
    loop: asyncio.AbstractEventLoop
    server: Server

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=DEADLINE, **options)

    def post(self, path: str, payload: Any = None, **options: Any) -> httpx.Response:
        with self.client() as client:
            return client.post(path, json={} if payload is None else payload, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        with self.client() as client:
            return client.get(path, **options)

    @contextmanager
    def stream(self, payload: Any = None, **options: Any) -> Iterator[Iterator[dict[str, Any]]]:
        """Stream one execution; yields the events' JSON as they arrive."""
        with (
            self.client() as client,
            httpx_sse.connect_sse(
                client, "POST", "/invoke/stream", json={} if payload is None else payload, **options
            ) as source,
        ):
            assert source.response.status_code == 200, source.response.read()
            yield (json.loads(event.data) for event in source.iter_sse())

    def events(self, payload: Any = None, **options: Any) -> list[dict[str, Any]]:
        """Stream one execution to its end."""
        with self.stream(payload, **options) as events:
            return list(events)

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait, on the server's loop, until something observable is true."""

        async def wait() -> None:
            async with asyncio.timeout(DEADLINE):
                while not condition():  # noqa: ASYNC110 - it looks at the server from outside
                    await asyncio.sleep(0.005)

        asyncio.run_coroutine_threadsafe(wait(), self.loop).result(DEADLINE + 1)

    def eventually(self, condition: Callable[[], bool]) -> None:
        """Wait, on the test's thread, until something is true that a client can see."""
        deadline = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def stop(self) -> None:
        """Tell the server to end, if it has not ended yet."""
        with suppress(RuntimeError):  # its loop is closed
            self.loop.call_soon_threadsafe(setattr, self.server, "should_exit", True)

    def get_info(self) -> dict[str, Any]:
        info: dict[str, Any] = self.get("/info").json()
        return info


Serve = Callable[..., Live]


@dataclass
class Store:
    """A store of runs that nobody else uses."""

    backend: str
    settings: dict[str, Any]

    def streaming(self, **keep: Any) -> dict[str, Any]:
        """Return what a Dockfile's ``streaming`` says of it."""
        return {"backend": self.backend, self.backend: {**self.settings, **keep}}


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> Store:
    """Each store in turn."""
    if request.param == "memory":
        return Store("memory", {})
    server: RedisServer = request.getfixturevalue("shared_redis")
    server.command("FLUSHALL")
    return Store("redis", {"url": server.url})


@pytest.fixture
def module() -> Callable[..., str]:
    """Make an importable module of members; returns its name."""
    return agent_module


def agent_module(**members: Any) -> str:
    """Make an importable module of these members and return its name."""
    name = f"agent_under_test_{next(_modules)}"
    module = ModuleType(name)
    vars(module).update(members)
    sys.modules[name] = module
    return name


def dockfile(agent: dict[str, Any], sections: dict[str, Any]) -> Dockfile:
    return Dockfile.model_validate({"version": "1.0", "agent": {"name": "tested", **agent}, **sections})


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve a handler (or, with ``framework="langgraph"``, a graph); sections are the Dockfile's."""
    running: list[tuple[Live, threading.Thread]] = []

    def start(
        agent: Any,
        *,
        framework: str | None = None,
        env: dict[str, str] | None = None,
        recursion_limit: int = 1000,
        executing: bool = True,
        **sections: Any,
    ) -> Live:
        module = agent_module(agent=agent)
        key: dict[str, Any] = {"handler": f"{module}:agent"}
        if framework is not None:
            key = {"entrypoint": f"{module}:agent", "framework": framework}
        if isinstance(agent, str):
            key = {"entrypoint": f"{module}:agent", "adapter": agent}
        key["recursion_limit"] = recursion_limit
        app = create_app(dockfile(key, sections), env=env or {}, executing=executing)
        sock = bind("127.0.0.1", 0)
        service = app.state.service
        config = server_config(app, service.edge)
        server = Server(config, service)
        started: list[asyncio.AbstractEventLoop] = []
        up = threading.Event()

        async def main() -> None:
            started.append(asyncio.get_running_loop())
            serving = asyncio.ensure_future(server.serve(sockets=[sock]))
            while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event
                await asyncio.sleep(0.002)
            up.set()
            await serving

        def run() -> None:
            with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
                runner.run(main())

        thread = threading.Thread(target=run, name="server", daemon=True)
        thread.start()
        assert up.wait(DEADLINE)
        port = sock.getsockname()[1]
        live = Live(f"http://127.0.0.1:{port}", port, service, started[0], server)
        running.append((live, thread))
        return live

    yield start
    for live, thread in running:
        live.stop()
        thread.join(DEADLINE)
        assert not thread.is_alive(), "the server did not end"
