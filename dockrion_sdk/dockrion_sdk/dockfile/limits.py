"""`expose.limits`: what one connection, and all connections together, may take from the server."""

from __future__ import annotations

from pydantic import Field

from .fields import Count, Seconds
from .section import Section


class Limits(Section):
    """`expose.limits`: bounds on what a client may cost the server. Those of connections hold before a key
    is checked.

    `head_bytes` and `headers` bound the request line and the header lines together, and the trailers of a
    chunked body. `message_bytes` is a WebSocket message's, after decompression, and never more than
    `expose.max_body_bytes`. `connections` is reduced to what the process's limit on open files allows.
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
    pipelined: Count = Field(
        default=16, description="Requests of one connection that wait for the answers before them."
    )
    message_bytes: Count = Field(
        default=1024 * 1024, description="Bytes of a WebSocket message; beyond it close code 1009."
    )
    compression: bool = Field(default=False, description="Whether WebSockets may use permessage-deflate.")
    json_growth: Count = Field(
        default=10,
        description="How many times its size a JSON body may take in memory, by estimate; more gets 413. "
        "A body below 1 MiB counts as one of 1 MiB.",
    )
    a2a_values: Count = Field(
        default=10_000,
        description="How many values the JSON of an A2A request may have; more gets 413.",
    )
