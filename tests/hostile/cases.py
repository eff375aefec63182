"""What the fuzzer sends: requests, heads and frames, drawn from a seeded generator.

Each case is the bytes of one connection. Most of them begin with something that is right and then damage
it, because what is wrong from its first byte on is refused before it gets anywhere.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from .support import AUTHORISED, opening, request

ROUTES = (
    ("GET", "/health"),
    ("GET", "/ready"),
    ("GET", "/info"),
    ("GET", "/schema"),
    ("GET", "/metrics"),
    ("GET", "/docs"),
    ("GET", "/"),
    ("GET", "/docs/assets/swagger-ui.css"),
    ("GET", "/.well-known/agent-card.json"),
    ("GET", "/runs"),
    ("GET", "/runs?limit=3&cursor=x"),
    ("GET", "/runs/known"),
    ("GET", "/runs/known/events?from_sequence=1"),
    ("POST", "/runs?run_id=known"),
    ("POST", "/invoke"),
    ("POST", "/invoke?thread_id=t"),
    ("POST", "/invoke/stream"),
    ("POST", "/tickets"),
    ("POST", "/a2a"),
    ("DELETE", "/runs/known"),
    ("OPTIONS", "/invoke"),
    ("HEAD", "/info"),
)
SOCKETS = ("/invoke/ws", "/runs/known/ws", "/nowhere")
ODD = (
    b"\0",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"\x7f",
    b"\x80",
    b"\xff\xfe",
    b"%00",
    b"%",
    b"%u0000",
    b"..",
    b"//",
    b"\\",
    b"?",
    b"#",
    b"\xe2\x80\xa8",
    b"\xed\xa0\x80",
    b"\xf0\x9f\x98\x80",
    b"\x1b[2J",
)
NUMBERS = ("-1", "0", "1", "2", "00", "1e3", "0x10", "4294967296", "18446744073709551616", "9" * 400, "١", "")
VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -0.0,
    -1,
    2**53 + 1,
    10**400,
    1e308,
    "",
    "known",
    "x" * 5000,
    "\ud83d",
    "\0",
    "\u2028",
    [],
    {},
    [[]],
    {"": {}},
    {"$ref": "http://127.0.0.1:9/"},
    [None] * 500,
    {str(n): n for n in range(200)},
)
"""Values for members of JSON bodies; a lone surrogate is written as its escape."""

A2A_METHODS = (
    "SendMessage",
    "SendStreamingMessage",
    "GetTask",
    "ListTasks",
    "CancelTask",
    "SubscribeToTask",
    "message/send",
    "x",
)
HEADERS = (
    "Host",
    "Content-Length",
    "Transfer-Encoding",
    "Connection",
    "Upgrade",
    "Expect",
    "Content-Type",
    "Cookie",
    "TE",
    "Content-Encoding",
    "Accept",
    "Last-Event-ID",
    "Idempotency-Key",
    "X-Request-ID",
    "X-API-Key",
    "Authorization",
    "traceparent",
    "Origin",
    "Sec-Fetch-Site",
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Prefix",
    "A2A-Version",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Version",
    "Sec-WebSocket-Extensions",
    "Sec-WebSocket-Protocol",
    "Range",
)


def cases(seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield cases without end, each with its kind. The same seed yields the same ones."""
    random = Random(seed)
    while True:
        kind, draw = random.choice(_KINDS)
        yield kind, draw(random)


def body(random: Random) -> bytes:
    """Return a JSON text of the kind that the routes take, or one that is damaged."""
    value: Any = random.choice(
        (
            {"tokens": random.randrange(5), "size": random.randrange(2000)},
            {"payload": {"tokens": 1}, "request_id": f"r{random.randrange(9)}"},
            {"cancel": "r1"},
            _rpc(random),
            nested(random, 4),
        )
    )
    text = json.dumps(value).encode()
    roll = random.random()
    if roll < 0.4:
        return text
    if roll < 0.5:
        return random.choice((b"[", b'{"a":', b'"')) * random.randrange(1, 20_000)
    return mutated(random, text)


def nested(random: Random, depth: int) -> Any:
    """Return a JSON value of some depth and width."""
    if depth == 0 or random.random() < 0.3:
        return random.choice(VALUES)
    if random.random() < 0.5:
        return [nested(random, depth - 1) for _ in range(random.randrange(4))]
    names = ("payload", "messages", "thread_id", "tokens", "jsonrpc", "a", "")
    return {random.choice(names): nested(random, depth - 1) for _ in range(random.randrange(4))}


def mutated(random: Random, data: bytes) -> bytes:
    """Return ``data`` with some bytes changed, cut out, repeated or put in."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 5, 20))):
        at = random.randrange(len(changed) + 1)
        match random.randrange(5):
            case 0:
                changed[at : at + 1] = bytes((random.randrange(256),))
            case 1:
                changed[at:at] = random.choice(ODD)
            case 2:
                del changed[at : at + random.randrange(1, 30)]
            case 3:
                changed[at:at] = changed[at : at + random.randrange(1, 30)] * random.randrange(1, 50)
            case _:
                changed[at:at] = random.choice(ODD) * random.randrange(1, 3000)
    return bytes(changed)


def _rpc(random: Random) -> dict[str, Any]:
    params = random.choice(
        (
            {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}]}},
            {"id": "known"},
            {"pageSize": random.choice((0, 1, -1, 10**9))},
            nested(random, 5),
        )
    )
    return {
        "jsonrpc": "2.0",
        "id": random.choice(VALUES),
        "method": random.choice(A2A_METHODS),
        "params": params,
    }


def _key(random: Random) -> tuple[str, ...]:
    """Return the header lines of a client, which has a key half of the time."""
    return AUTHORISED if random.random() < 0.5 else ()


def _request(random: Random) -> bytes:
    method, path = random.choice(ROUTES)
    lines = [*_key(random), *(_header(random) for _ in range(random.randrange(3)))]
    if path == "/a2a":
        lines.append("A2A-Version: 1.0")
    return request(method, path, *lines, body=body(random) if random.random() < 0.8 else None)


def _header(random: Random) -> str:
    value = random.choice(
        (*NUMBERS, "chunked", "close", "upgrade, keep-alive", "websocket", "gzip", "a,b", "x" * 3000)
    )
    return f"{random.choice(HEADERS)}: {value}"


def _target(random: Random) -> bytes:
    method, path = random.choice(ROUTES)
    parameter = random.choice(
        ("thread_id", "run_id", "limit", "cursor", "from_sequence", "ticket", "timeout")
    )
    value = random.choice((*NUMBERS, "a/b", "..", "%00", "%ff", "x" * 70_000, "%F0%9F", "known"))
    whole = request(
        method, f"{path}{'&' if '?' in path else '?'}{parameter}={value}", *_key(random), body=b"{}"
    )
    return mutated(random, whole) if random.random() < 0.3 else whole


def _damaged_head(random: Random) -> bytes:
    return mutated(random, request(*random.choice(ROUTES), *_key(random), body=b'{"tokens": 1}'))


def _chunked(random: Random) -> bytes:
    method, path = random.choice([route for route in ROUTES if route[0] == "POST"])
    head = request(
        method, path, *_key(random), "Content-Type: application/json", "Transfer-Encoding: chunked"
    )
    text = body(random)
    chunks = b""
    while text:
        size = random.randrange(1, len(text) + 1)
        extension = random.choice((b"", b"", b";a=b", b";" + b"x" * 5000))
        chunks += b"%x%b\r\n%b\r\n" % (size, extension, text[:size])
        text = text[size:]
    trailers = b"".join(
        b"T%d: %b\r\n" % (n, b"v" * random.randrange(200)) for n in range(random.choice((0, 1, 300)))
    )
    chunks += b"0\r\n" + trailers + b"\r\n"
    return head + (mutated(random, chunks) if random.random() < 0.5 else chunks)


def _pipelined(random: Random) -> bytes:
    return b"".join(
        random.choice((_request, _target, _damaged_head))(random) for _ in range(random.randrange(2, 40))
    )


def frame(
    opcode: int, data: bytes, *, fin: bool = True, reserved: int = 0, length: int | None = None
) -> bytes:
    """Return a client's WebSocket frame; ``length`` is what it claims to hold."""
    count = len(data) if length is None else length
    first = (0x80 if fin else 0) | reserved << 4 | opcode
    if count < 126:
        head = struct.pack("!BB", first, 0x80 | count)
    elif count < 1 << 16:
        head = struct.pack("!BBH", first, 0x80 | 126, count)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, count)
    mask = b"\x11\x22\x33\x44"
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
    return head + mask + masked


def _frame(random: Random) -> bytes:
    data = body(random)[:20_000]
    match random.randrange(8):
        case 0:
            return frame(random.randrange(16), data, fin=random.random() < 0.5, reserved=random.randrange(8))
        case 1:
            return frame(1, data, length=random.choice((0, 125, 65535, 1 << 20, 1 << 40, (1 << 63) - 1)))
        case 2:
            return (
                frame(1, b"", fin=False) + frame(0, b"x", fin=False) * random.randrange(2000) + frame(0, b"")
            )
        case 3:
            return frame(random.choice((8, 9, 10)), data[: random.randrange(200)])
        case 4:
            return frame(9, b"ping") * random.randrange(1, 2000)
        case _:
            return frame(1, data)


def _socket(random: Random) -> bytes:
    extension = ("Sec-WebSocket-Extensions: permessage-deflate",) if random.random() < 0.3 else ()
    start = opening(random.choice(SOCKETS), *_key(random), *extension)
    if random.random() < 0.2:
        start = mutated(random, start)
    frames = b"".join(_frame(random) for _ in range(random.randrange(1, 6)))
    return start + (mutated(random, frames) if random.random() < 0.3 else frames)


_KINDS: tuple[tuple[str, Callable[[Random], bytes]], ...] = (
    ("request", _request),
    ("target", _target),
    ("head", _damaged_head),
    ("chunked", _chunked),
    ("pipelined", _pipelined),
    ("socket", _socket),
    ("noise", lambda random: random.randbytes(random.randrange(1, 3000))),
)
