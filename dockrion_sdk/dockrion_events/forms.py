"""The forms in which events leave an execution: objects, JSON, or Server-Sent Events.

A form gives events their identifier and their numbers, the first being ``sequence + 1``. All but
`as_objects` take events that are encoded, and only add the envelope.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import msgspec

from .encoding import encode_json, sse_prefix
from .events import AnyEvent

CHUNK_BYTES = 64 * 1024
"""Bytes that a chunk of Server-Sent Events has, about, where there is more to send."""


MANY = 8
"""Events from which on it pays to look at a batch as a whole."""


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """What all events of an execution have in common.

    ``json`` is what ends an event's JSON but for its number and the closing brace.
    """

    id_field: Literal["request_id", "run_id"]
    identifier: str
    json: bytes


_MEMBERS = {
    "request_id": b',"request_id":%b,"sequence":',
    "run_id": b',"run_id":%b,"sequence":',
}


def envelope(id_field: Literal["request_id", "run_id"], identifier: str) -> Envelope:
    """Return the envelope of the execution that ``identifier`` names."""
    return Envelope(id_field, identifier, _MEMBERS[id_field] % encode_json(identifier))


Form: TypeAlias = Callable[[list[Any], Envelope, int], list[Any]]


def as_objects(events: list[AnyEvent], envelope: Envelope, sequence: int) -> list[AnyEvent]:
    """Return the very event objects."""
    id_field, identifier = envelope.id_field, envelope.identifier
    for event in events:
        sequence += 1
        event.sequence = sequence
        setattr(event, id_field, identifier)
    return events


def as_encoded(events: list[Any], envelope: Envelope, sequence: int) -> list[Any]:
    """Return the events as `EncodedEvent`, their JSON complete: what a log keeps."""
    tail = envelope.json
    for event in events:
        sequence += 1
        event.sequence = sequence
        event.json = b"%b%b%d}" % (event.json, tail, sequence)
    return events


def as_text(events: list[Any], envelope: Envelope, sequence: int) -> list[str]:
    """Return each event as a JSON string."""
    return [event.json.decode() for event in as_encoded(events, envelope, sequence)]


def as_sse(events: list[Any], envelope: Envelope, sequence: int) -> list[bytes]:
    """Return the events as Server-Sent Events without ids, joined into chunks to be sent at once.

    The JSON is never built by itself: a burst's events are joined once, straight into their chunk. A
    chunk has about `CHUNK_BYTES`: as many events as have that many bytes on average.
    """
    if len(events) == 1:
        (event,) = events
        return [b"%b%b%b%d}\n\n" % (sse_prefix(event.type), event.json, envelope.json, sequence + 1)]
    count = len(events)
    jsons = [event.json for event in events]
    kinds = [event.type for event in events]
    prefixes: list[bytes] = []
    for kind, times in stretches(kinds) if count >= MANY else ():
        prefixes += [sse_prefix(kind)] * times
    if not prefixes:
        prefixes = list(map(sse_prefix, kinds))
    ends = _ends(sequence + 1, count)
    size = sum(map(len, jsons)) + (len(envelope.json) + 40) * count
    at_once = max(1, count if size < CHUNK_BYTES else count * CHUNK_BYTES // size)
    chunks = []
    for start in range(0, count, at_once):
        part = slice(start, start + at_once)
        here = jsons[part]
        parts = [envelope.json] * (4 * len(here))
        parts[0::4] = prefixes[part]
        parts[1::4] = here
        parts[3::4] = ends[part]
        chunks.append(b"".join(parts))
    return chunks


def stretches(kinds: list[str]) -> list[tuple[str, int]]:
    """Return how many of each type follow each other, where a batch is of one type but for its ends.

    It nearly always is, and then much is done once for all of them. An empty list for any other batch.
    """
    if not kinds:
        return []
    kind = kinds[len(kinds) // 2]
    count = kinds.count(kind)
    begin = kinds.index(kind)
    end = begin + count
    if count == len(kinds):
        return [(kind, count)]
    if 2 * count >= len(kinds) and kinds[begin:end].count(kind) == count:
        before, behind = kinds[:begin], kinds[end:]
        return [*((other, 1) for other in before), (kind, count), *((other, 1) for other in behind)]
    return []


_ENDS = [b"%d}\n\n" % number for number in range(4096)]  # writing the number is a third of a frame's work


def _ends(first: int, count: int) -> list[bytes]:
    """Return what ends the frames of these numbers."""
    if first + count <= len(_ENDS):
        return _ENDS[first : first + count]
    return [b"%d}\n\n" % number for number in range(first, first + count)]
