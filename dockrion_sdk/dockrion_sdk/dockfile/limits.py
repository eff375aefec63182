"""`expose.limits`: what one connection, and all connections together, may take from the server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from .fields import Count, Seconds, fault
from .section import Faults, Section


class Limits(Section):
    """`expose.limits`: bounds on what a client may cost the server. Those of connections hold before a key
    is checked.

    `head_bytes` and `headers` bound the request line and the header lines together, and the trailers of a
    chunked body. `message_bytes` is a WebSocket message's, after decompression, and never more than
    `expose.max_body_bytes`. `connections` is reduced to what the process's limit on open files allows.
    `buffered_bytes` is at least `head_bytes`, and `abandoned_threads` at most `threads`.
    """

    connections: Count = Field(
        default=2000, description="Open connections; further ones get 503 and are closed."
    )
    head_bytes: Count = Field(
        default=64 * 1024, description="Bytes of a request's line and headers; beyond it 431."
    )
    headers: Count = Field(default=100, description="Header lines of a request; beyond it 431.")
    head_seconds: Seconds = Field(
        default=10.0, description="How long a request's head may take to arrive; beyond it 408."
    )
    body_seconds: Seconds = Field(
        default=30.0, description="How long a request's body may take to arrive; beyond it 408."
    )
    idle_seconds: Seconds = Field(
        default=5.0, description="How long a connection may stay open without a request after an answer."
    )
    unread_seconds: Seconds = Field(
        default=20.0,
        description="How long a client may take to read an answer, or 64 KiB of a long one, before its "
        "connection is dropped.",
    )
    ping_seconds: Seconds = Field(
        default=20.0,
        description="Time between two pings on a WebSocket, and how long a client may take to answer one; "
        "beyond it close code 1011.",
    )
    pipelined: Count = Field(
        default=16, description="Requests of one connection that wait for the answers before them."
    )
    buffered_bytes: Count = Field(
        default=16 * 1024 * 1024,
        description="Bytes of all unfinished heads, waiting requests and unread bodies together; beyond it "
        "503 for connections that hold more than 8 KiB.",
    )
    message_bytes: Count = Field(
        default=1024 * 1024, description="Bytes of a WebSocket message; beyond it close code 1009."
    )
    compression: bool = Field(default=False, description="Whether WebSockets may use permessage-deflate.")
    socket_executions: Count = Field(
        default=64, description="Executions at once on one WebSocket; beyond it 429."
    )
    json_growth: Count = Field(
        default=10,
        description="How many times its size a JSON body may take in memory, by estimate; more gets 413. "
        "A body below 1 MiB counts as one of 1 MiB.",
    )
    check_seconds: Seconds = Field(
        default=0.5,
        description="How long checking a payload against costly parts of its schema may take; beyond it 422.",
    )
    page_runs: Count = Field(
        default=500, description="The largest `limit` that `GET /runs` takes; beyond it 400."
    )
    a2a_values: Count = Field(
        default=10_000,
        description="How many values the JSON of an A2A request may have; more gets 413.",
    )
    a2a_tasks: Count = Field(
        default=10_000,
        description="How many of an owner's newest runs A2A's `ListTasks` looks at; older ones are left out.",
    )
    a2a_page_bytes: Count = Field(
        default=1024 * 1024,
        description="Bytes of a page of A2A's `ListTasks`; it has at least one task.",
    )
    threads: Count = Field(
        default=256, description="Threads for synchronous code; further calls wait for one."
    )
    abandoned_threads: Count = Field(
        default=128,
        description="Threads held by cancelled code at which `/ready` answers 503; never more than "
        "`expose.max_concurrent`.",
    )
    output_bytes: Count = Field(
        default=1024 * 1024,
        description="Bytes that wait for a slow reader of stdout, and of stderr; further ones are dropped.",
    )

    @classmethod
    def check_keys(cls, given: Mapping[str, Any]) -> Faults:
        """Refuse values that contradict each other; an ``abandoned_threads`` that is not set gives way."""
        head, buffered = _number(given, "head_bytes"), _number(given, "buffered_bytes")
        if head is not None and buffered is not None and buffered < head:
            yield (
                ("buffered_bytes" if "buffered_bytes" in given else "head_bytes",),
                fault(
                    "buffered_bytes is less than head_bytes: one large head would be refused",
                    hint="raise buffered_bytes or lower head_bytes",
                    told=True,
                ),
            )
        threads, abandoned = _number(given, "threads"), _number(given, "abandoned_threads")
        if (
            "abandoned_threads" in given
            and threads is not None
            and abandoned is not None
            and abandoned > threads
        ):
            told = "abandoned_threads is more than threads: it would never be reached"
            yield ("abandoned_threads",), fault(told, hint=f"at most {threads}", told=True)


def _number(given: Mapping[str, Any], key: str) -> int | None:
    """Return a key's value or its default; None for one that its own check refuses."""
    value = given.get(key, Limits.model_fields[key].default)
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
