"""The app on a server that is not ours: it says that a client has left by ASGI only."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import closing
from typing import Any

import uvicorn

from dockrion_runtime import create_app

from .conftest import DEADLINE, agent_module, dockfile


def test_a_client_that_leaves_invoke_stops_its_agent_there_too() -> None:
    began, stopped = threading.Event(), threading.Event()

    async def hang(payload: dict[str, Any]) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    app = create_app(dockfile({"handler": f"{agent_module(agent=hang)}:agent"}, {}), env={})
    server = uvicorn.Server(uvicorn.Config(app, http="h11", lifespan="on", log_config=None))  # type: ignore[arg-type]
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        serving = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])), daemon=True)
        serving.start()
        client = socket.create_connection(listening.getsockname(), timeout=DEADLINE)
        client.sendall(b"POST /invoke HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
        assert began.wait(DEADLINE)
        assert app.state.service.active == 1
        client.close()
        assert stopped.wait(DEADLINE)
        server.should_exit = True
        serving.join(DEADLINE)
        assert app.state.service.active == 0
