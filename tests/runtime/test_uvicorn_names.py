"""The private names that `dockrion_runtime.uvicorn_hooks` relies on are there, and mean what they did.

Where an upgrade of uvicorn, websockets or httptools fails here, look at what became of the name before
anything else: the limits on connections depend on it.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import httptools
import pytest
import uvicorn
from uvicorn.protocols.http import flow_control, httptools_impl
from uvicorn.protocols.websockets import websockets_sansio_impl
from websockets.protocol import Protocol as SansIO
from websockets.streams import StreamReader

from dockrion_runtime import uvicorn_hooks
from dockrion_runtime.edge import Edge

HTTP, CYCLE = httptools_impl.HttpToolsProtocol, httptools_impl.RequestResponseCycle
SOCKET, FLOW = websockets_sansio_impl.WebSocketsSansIOProtocol, flow_control.FlowControl

METHODS = {
    HTTP: {
        "connection_made": ["transport"],
        "connection_lost": ["exc"],
        "data_received": ["data"],
        "eof_received": [],
        "handle_websocket_upgrade": [],
        "on_body": ["body"],
        "on_header": ["name", "value"],
        "on_headers_complete": [],
        "on_message_begin": [],
        "on_message_complete": [],
        "on_response_complete": [],
        "timeout_keep_alive_handler": [],
        "_should_upgrade": [],
        "_start_asgi_task": ["cycle", "app"],
        "_unset_keepalive_if_required": [],
        "_unsupported_upgrade_warning": [],
    },
    SOCKET: {
        "connection_lost": ["exc"],
        "data_received": ["data"],
        "handle_cont": ["event"],
        "handle_parser_exception": [],
        "handle_ping": [],
        "keepalive_timeout": [],
        "receive": [],
        "resume_writing": [],
        "run_asgi": [],
        "send": ["message"],
        "send_receive_event_to_app": [],
    },
    FLOW: {"pause_reading": [], "resume_reading": [], "drain": []},
    SansIO: {"data_to_send": [], "fail": ["code", "reason"]},
    StreamReader: {"discard": []},
}

ATTRIBUTES = {
    "http": (
        "app_state", "config", "connections", "cycle", "expect_100_continue", "flow", "headers", "loop",
        "parser", "pipeline", "scope", "server_state", "timeout_keep_alive", "timeout_keep_alive_task",
        "transport", "ws_protocol_class",
    ),
    "socket": (
        "close_sent", "conn", "curr_msg_data_type", "frames", "handshake_complete", "handshake_initiated",
        "initial_response", "loop", "queue", "read_paused", "transport",
    ),
    "cycle": (
        "body", "chunked_encoding", "default_headers", "disconnected", "keep_alive", "message_event",
        "more_body", "on_response", "response_complete", "response_started", "scope",
        "waiting_for_100_continue",
    ),
}  # fmt: skip


@pytest.mark.parametrize("owner", METHODS, ids=lambda owner: owner.__name__)
def test_methods_are_there_and_take_what_they_took(owner: type) -> None:
    for name, expected in METHODS[owner].items():
        method = getattr(owner, name, None)
        assert method is not None, f"{owner.__module__}.{owner.__name__} has no {name} any more"
        found = list(inspect.signature(method).parameters)[1:]
        assert found == expected, f"{owner.__name__}.{name} takes {found} now"


async def test_attributes_are_there() -> None:
    config = uvicorn.Config(app=lambda scope: None, log_config=None, lifespan="off")  # type: ignore[arg-type,misc]
    options: dict[str, Any] = {
        "config": config,
        "server_state": uvicorn.Server(config).server_state,
        "app_state": {},
    }
    http, socket = HTTP(**options), SOCKET(**options)
    transport = asyncio.Transport()
    cycle = CYCLE(
        scope={"type": "http"}, transport=transport, flow=FLOW(transport), logger=None, access_logger=None,
        access_log=False, default_headers=[], message_event=asyncio.Event(), expect_100_continue=False,
        keep_alive=True, on_response=lambda: None,
    )  # type: ignore[arg-type,typeddict-item]  # fmt: skip
    for kind, found in (("http", http), ("socket", socket), ("cycle", cycle)):
        missing = [name for name in ATTRIBUTES[kind] if not hasattr(found, name)]
        assert not missing, f"{type(found).__name__} has no {missing} any more"
    assert httptools_impl.STATUS_LINE[431].startswith(b"HTTP/1.1 431 ")


def test_our_classes_add_no_name_that_uvicorn_has_come_to_use() -> None:
    """What we add must not override by accident what a newer version adds."""
    for ours, theirs in ((uvicorn_hooks.Protocol, HTTP), (uvicorn_hooks.SocketProtocol, SOCKET)):
        added = {name for name in vars(ours) if not name.startswith("__")}
        meant = set(METHODS[theirs]) | {"flow"}
        both = {name for name in added if hasattr(theirs, name)} - meant
        assert not both, f"{theirs.__name__} has {sorted(both)} of its own now"


class Heard:
    """What a parser calls, in order."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def on_message_begin(self) -> None:
        self.calls.append("begin")

    def on_header(self, name: bytes, value: bytes) -> None:
        self.calls.append(name.decode())
        if name == b"stop":
            raise ValueError("enough")

    def on_headers_complete(self) -> None:
        self.calls.append("head")

    def on_body(self, body: bytes) -> None:
        self.calls.append("body")

    def on_message_complete(self) -> None:
        self.calls.append("end")


def test_the_parser_calls_as_the_limits_need_it() -> None:
    heard = Heard()
    parser = httptools.HttpRequestParser(heard)
    parser.feed_data(b"\r\n")
    assert heard.calls == []  # empty lines before a request are not told, and are counted all the same
    parser.feed_data(
        b"GET / HTTP/1.1\r\na: b\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\nz\r\n0\r\nc: d\r\n\r\n"
    )
    assert heard.calls == ["begin", "a", "Transfer-Encoding", "head", "body", "c", "end"]


def test_a_callback_ends_the_parsing_by_raising() -> None:
    heard = Heard()
    parser = httptools.HttpRequestParser(heard)
    with pytest.raises(httptools.HttpParserError):
        parser.feed_data(b"GET / HTTP/1.1\r\nstop: x\r\nb: c\r\n\r\n")
    assert heard.calls == ["begin", "stop"]


@pytest.mark.parametrize("ending", [b"\n\n", b"\r\n\n", b"\r\r", b"\r\n \r\n"])
def test_no_head_ends_without_the_bytes_that_are_counted(ending: bytes) -> None:
    """Requests in one read are counted by what their heads end in, before they are parsed."""
    heard = Heard()
    parser = httptools.HttpRequestParser(heard)
    try:
        parser.feed_data(b"GET / HTTP/1.1\r\na: b" + ending)
    except httptools.HttpParserError:
        pass
    assert "head" not in heard.calls


def test_an_upgrade_says_where_it_ends() -> None:
    sent = b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    with pytest.raises(httptools.HttpParserUpgrade) as upgrade:
        httptools.HttpRequestParser(Heard()).feed_data(sent + b"more")
    assert upgrade.value.args[0] == len(sent)


def test_the_protocol_factory_takes_what_uvicorn_gives_it() -> None:
    source = inspect.getsource(uvicorn.Server.startup)
    for name in ("config", "server_state", "app_state", "_loop"):
        assert f"{name}=" in source
        assert name in inspect.signature(uvicorn_hooks.guarded(Edge())).parameters
