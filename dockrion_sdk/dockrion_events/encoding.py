"""Events to JSON and to Server-Sent Events; pure functions of bytes and values.

msgspec writes what it knows at once. What it does not know is converted; what it refuses (keys that
are no strings, lone surrogates, very deep nesting) takes the slow road through `_plain`, an
iterative walk that yields plain JSON values or says why there are none.
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgspec

from .build import token_event
from .clock import RESOLUTION, timestamp_now
from .conversion import convert, convert_plainly, described, own_forms
from .errors import EventError, EventTooLarge, NotSerialisable
from .events import (
    EncodedEvent,
    Event,
    MessageEvent,
    ProgressEvent,
    ReasoningEvent,
    StepEvent,
    StepStartedEvent,
    TokenEvent,
)

MAX_EVENT_BYTES: Final = 8 * 1024 * 1024
MAX_DEPTH: Final = 500

_SMALL = 2 * MAX_DEPTH  # JSON shorter than this cannot be nested deeper than MAX_DEPTH


_encode = msgspec.json.Encoder(enc_hook=convert).encode
_time = time.time


def encode_json(value: Any, *, max_bytes: int = MAX_EVENT_BYTES, max_depth: int = MAX_DEPTH) -> bytes:
    """Encode any value as JSON.

    NaN and the infinities become null, lone surrogates U+FFFD, keys strings; see `convert` for the
    rest. Raises `NotSerialisable` for a value that contains itself, and `EventTooLarge` beyond
    ``max_bytes`` or ``max_depth`` levels; what an object's own method returned never causes either.
    """
    before = own_forms()
    try:
        return _encode_within(value, max_bytes, max_depth)
    except EventError:
        if own_forms() == before:
            raise
    data = _encode_slowly(value, max_depth, convert_plainly)  # without what may be endless, or too large
    _check_limits(data, max_bytes, max_depth)
    return data


def _encode_within(value: Any, max_bytes: int, max_depth: int) -> bytes:
    try:
        data = _encode(value)
        usual = not _may_hold_private_fields(data)
    except Exception:  # noqa: BLE001 - the slow road finds out which value it was
        usual = False
    if not usual:
        data = _encode_slowly(value, max_depth, convert)
    if len(data) > min(2 * max_depth, max_bytes):
        _check_limits(data, max_bytes, max_depth)
    return data


def _encode_slowly(value: Any, max_depth: int, conversion: Conversion) -> bytes:
    try:
        return _encode(_plain(value, max_depth, conversion))
    except RecursionError:
        raise EventTooLarge("the event is nested too deeply for the stack of this thread") from None


_private_key = re.compile(rb'"_[^"\\\x00-\x1f]*":').search
_OF_TEXT: Final = frozenset(
    {TokenEvent, ReasoningEvent, MessageEvent, StepEvent, StepStartedEvent, ProgressEvent}
)
"""Events that hold no values but text and numbers."""


def _may_hold_private_fields(data: bytes) -> bool:
    """Whether a name in JSON begins with an underscore; that of a dataclass's field is to be left out."""
    return 95 in data and _private_key(data) is not None  # 95 is "_"


def _check_limits(data: bytes, max_bytes: int, max_depth: int) -> None:
    if len(data) > max_bytes:
        raise EventTooLarge(f"the event has {len(data):,} bytes of JSON; at most {max_bytes:,} are allowed")
    if data.count(b"[") + data.count(b"{") > max_depth and _depth(data) > max_depth:
        raise EventTooLarge(f"the event is nested deeper than {max_depth} levels")


_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def _depth(data: bytes) -> int:
    """Return the deepest nesting of a JSON text; brackets inside strings do not count."""
    outside_strings = data.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')[::2]
    deepest = depth = 0
    for bracket in b"".join(outside_strings).translate(None, _NO_BRACKETS):
        if bracket in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        else:
            depth -= 1
    return deepest


_MAX_BITS = 14_000  # Python makes no text of integers that are much longer
_CONVERSIONS = 8  # a value that is something else after each of them never becomes simple
_LEAVES = frozenset({bool, int, float, type(None), bytes, bytearray, memoryview})

Conversion: TypeAlias = Callable[[Any], Any]
_Link: TypeAlias = "tuple[Any, _Link] | None"  # a value and the containers around it


def _plain(root: Any, max_depth: int, conversion: Conversion) -> Any:
    """Rebuild ``root`` out of dicts with string keys, lists and leaves that msgspec encodes.

    Walks without recursion, and keeps what surrounds a value alive, so that identity means identity.
    """
    result: list[Any] = [None]
    todo: list[tuple[Any, Any, Any, _Link, int]] = [(root, result, 0, None, 0)]
    while todo:
        value, target, key, around, depth = todo.pop()
        if _is_leaf(value):
            target[key] = _leaf(value)
            continue
        _refuse_cycle(value, around)
        try:
            children = _children(value, conversion)
        except Exception:  # noqa: BLE001 - foreign code: whatever it raises, the value gets a form
            children = described(value)
        inside = (value, around)
        if not isinstance(children, dict | list):
            target[key] = _leaf(children)
            continue
        if depth >= max_depth:
            raise EventTooLarge(f"the event is nested deeper than {max_depth} levels")
        if isinstance(children, dict):
            target[key] = built = dict.fromkeys(children)
            todo.extend((child, built, name, inside, depth + 1) for name, child in children.items())
        else:
            target[key] = items = [None] * len(children)
            todo.extend((child, items, place, inside, depth + 1) for place, child in enumerate(children))
    return result[0]


def _refuse_cycle(value: Any, around: _Link) -> None:
    while around is not None:
        if around[0] is value:
            raise NotSerialisable(f"a {type(value).__name__} contains itself, so it has no finite JSON")
        around = around[1]


def _is_leaf(value: Any) -> bool:
    kind = type(value)
    return kind in _LEAVES or issubclass(kind, str)


def _leaf(value: Any) -> Any:
    if isinstance(value, str):
        return _text(value)
    if type(value) is int and value.bit_length() > _MAX_BITS:
        return described(value)
    return value


def _children(value: Any, conversion: Conversion) -> Any:
    """Return one level of ``value``: a dict with string keys, a list, or a leaf."""
    simple = value
    for _ in range(_CONVERSIONS):
        if isinstance(simple, dict):
            return {_key(key): child for key, child in simple.items()}
        if isinstance(simple, list | tuple | set | frozenset):
            return list(simple)
        if _is_leaf(simple):
            return simple
        simple = _simplified(simple, conversion)
    return described(value)


def _simplified(value: Any, conversion: Conversion) -> Any:
    kind = type(value)
    if isinstance(value, msgspec.Struct):
        omit = value.__struct_config__.omit_defaults
        fields = {
            field.encode_name: getattr(value, field.name)
            for field in msgspec.structs.fields(kind)
            if not (omit and getattr(value, field.name) is field.default)
        }
        config = value.__struct_config__
        return fields if config.tag is None else {config.tag_field: config.tag, **fields}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if not field.name.startswith("_")]
        return {name: getattr(value, name) for name in names if hasattr(value, name)}
    try:
        return msgspec.to_builtins(value, enc_hook=_refuse)
    except Exception:  # noqa: BLE001 - not msgspec's: our own conversion takes it
        return conversion(value)


def _refuse(value: Any) -> Any:
    raise NotImplementedError


def _key(key: Any) -> str:
    if isinstance(key, str):
        return _text(key)
    simple = key
    for _ in range(2):
        try:
            return next(iter(msgspec.json.decode(_encode({simple: None}), type=dict[str, None])))
        except Exception:  # noqa: BLE001 - a key of any type at all
            simple = convert_plainly(simple)
    return _text(described(key)["repr"])


def _text(value: str) -> str:
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


_stamp = (0.0, 0.0, b"")  # a timestamp's JSON, and from when until when it may be used; for all streams


def _renewed_stamp() -> bytes:
    global _stamp
    now = timestamp_now()
    begin = now.timestamp()
    json = b',"timestamp":' + _encode(now)
    _stamp = (begin, begin + RESOLUTION, json)
    return json


class EventEncoder:
    """Encodes events at the emitting call, within limits.

    Both methods give an `EncodedEvent` without its envelope; the exit of the execution completes it.
    They raise `NotSerialisable` or `EventTooLarge`. ``on_large`` is told the bytes of each event
    that is not small.
    """

    __slots__ = ("_max_bytes", "_on_large", "_threshold")

    def __init__(
        self, max_bytes: int = MAX_EVENT_BYTES, *, on_large: Callable[[int], None] | None = None
    ) -> None:
        self._max_bytes = max_bytes
        self._threshold = min(_SMALL, max_bytes)
        self._on_large = on_large

    def telling(self, on_large: Callable[[int], None]) -> EventEncoder:
        """Return an encoder with the same limits that tells ``on_large``."""
        return EventEncoder(self._max_bytes, on_large=on_large)

    def encode(self, event: Event) -> EncodedEvent:
        """Encode any event."""
        try:
            data = _encode(event)
            if 95 in data and event.__class__ not in _OF_TEXT and _private_key(data):
                return self._encode_unusual(event)  # as _may_hold_private_fields has it, without a call
            if len(data) > self._threshold:
                self._check(data)
        except Exception:  # noqa: BLE001 - encode_json knows every other road
            return self._encode_unusual(event)
        return EncodedEvent(event.type, data[:-1])

    def _encode_unusual(self, event: Event) -> EncodedEvent:
        data = encode_json(event, max_bytes=self._max_bytes, max_depth=MAX_DEPTH + 1)
        if len(data) > self._threshold and self._on_large is not None:
            self._on_large(len(data))
        return EncodedEvent(event.type, data[:-1])

    def encode_token(self, content: str, finish_reason: str | None = None) -> EncodedEvent:
        """Return what ``encode(TokenEvent(content, finish_reason))`` returns, at half the price.

        Tokens are the one kind of event that comes by the ten thousand. Content that is no string
        is shown as ``str`` shows it.
        """
        if finish_reason is not None or type(content) is not str:
            return self.encode(token_event(content, finish_reason))
        begin, end, stamp = _stamp
        if not begin <= _time() < end:
            stamp = _renewed_stamp()
        try:
            data = b'{"type":"token","content":' + _encode(content) + stamp
        except UnicodeEncodeError:
            return self.encode(TokenEvent(content))
        if len(data) >= self._threshold:
            self._check(data + b"}")
        return EncodedEvent("token", data)

    def encode_value(self, value: Any) -> bytes:
        """Return the JSON of any value, within the same limits; see `encode_json`."""
        return encode_json(value, max_bytes=self._max_bytes)

    def _check(self, data: bytes) -> None:
        _check_limits(data, self._max_bytes, MAX_DEPTH + 1)
        if self._on_large is not None:
            self._on_large(len(data))


_prefixes: dict[str, bytes] = {}


def sse_prefix(event_type: str) -> bytes:
    """Return what precedes the JSON in an event's frame."""
    prefix = _prefixes.get(event_type)
    if prefix is None:
        prefix = f"event: {event_type}\ndata: ".encode()
        if len(_prefixes) < 1024:  # names come from agents; the table must not grow for ever
            _prefixes[event_type] = prefix
    return prefix


def sse_frame(event: EncodedEvent, *, event_id: int | None = None) -> bytes:
    r"""Return one event as a Server-Sent Events frame; lines end with ``\n``.

    ``id:`` comes last: a reader that takes the id as soon as it has read that line, and is cut off
    within the frame, would otherwise skip an event that it never got.
    """
    if event_id is None:
        return b"%b%b\n\n" % (sse_prefix(event.type), event.json)
    return b"%b%b\nid: %d\n\n" % (sse_prefix(event.type), event.json, event_id)


def sse_comment(text: str = "") -> bytes:
    """Return a Server-Sent Events comment, which clients ignore and proxies see as life."""
    lines = text.splitlines() or [""]
    return "".join([*(f": {line}\n" for line in lines), "\n"]).encode()
