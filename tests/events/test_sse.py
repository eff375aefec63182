"""Server-Sent Events, read back by a parser that knows nothing of how they were written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockrion_events import (
    EncodedEvent,
    EventEncoder,
    Exit,
    StreamContext,
    as_encoded,
    as_sse,
    as_text,
    decode_event,
    sse_comment,
    sse_frame,
)
from dockrion_events.forms import CHUNK_BYTES, envelope, stretches

AWKWARD = '\r\n\n\r\u2028\u2029\x85\ufeff\0\x1c\ud800: data: x\n\nevent: complete\ndata: {}\n\nid: 9\n\n🙂\\"'


class Message(NamedTuple):
    event: str
    data: str
    last_event_id: str


def parse(stream: bytes) -> Iterator[Message]:
    """Read an event stream as the HTML standard says (section 9.2.6)."""
    text = stream.decode("utf-8")
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    event, data, last_id = "", [], ""
    for line in text.split("\n"):
        if not line:
            if data:
                yield Message(event or "message", "\n".join(data), last_id)
            event, data = "", []
            continue
        if line.startswith(":"):
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            event = value
        elif field == "data":
            data.append(value)
        elif field == "id" and "\0" not in value:
            last_id = value


def emitted(*contents: str) -> list[EncodedEvent]:
    context = StreamContext(AWKWARD)
    out = Exit(context, encoder=EventEncoder())
    for content in contents:
        context.sync_emit_token(content)
        context.sync_emit("fraud_check", {content: [content]})
    return out.take()


def test_a_frame_to_the_letter() -> None:
    event = EncodedEvent("token", b'{"type":"token","content":"a","sequence":7}', 7)
    assert sse_frame(event) == b'event: token\ndata: {"type":"token","content":"a","sequence":7}\n\n'
    assert sse_frame(event, event_id=7) == (
        b'event: token\ndata: {"type":"token","content":"a","sequence":7}\nid: 7\n\n'
    )


def test_the_id_is_the_last_line_of_its_frame() -> None:
    for event in emitted("a", AWKWARD):
        lines = sse_frame(event, event_id=event.sequence).split(b"\n")
        assert [line.partition(b":")[0] for line in lines] == [b"event", b"data", b"id", b"", b""]


def test_awkward_text_stays_within_its_frame() -> None:
    events = emitted(AWKWARD, *AWKWARD)
    stream = b"".join(sse_frame(event, event_id=event.sequence) for event in events)
    assert b"\r" not in stream
    messages = list(parse(stream))
    assert [m.event for m in messages] == ["token", "custom:fraud_check"] * (len(AWKWARD) + 1)
    assert [m.last_event_id for m in messages] == [str(n) for n in range(1, len(messages) + 1)]
    shown = AWKWARD.replace("\ud800", "\ufffd")
    assert json.loads(messages[0].data)["content"] == shown
    assert json.loads(messages[1].data)["data"] == {shown: [shown]}
    assert json.loads(messages[0].data)["request_id"] == shown


@given(st.lists(st.text(st.characters() | st.sampled_from(AWKWARD), max_size=50), max_size=10))
def test_any_text_comes_back(contents: list[str]) -> None:
    events = emitted(*contents)
    messages = list(parse(b"".join(sse_frame(event, event_id=event.sequence) for event in events)))
    assert len(messages) == 2 * len(contents)
    for content, message, event in zip(contents, messages[::2], events[::2], strict=True):
        decoded = decode_event(message.data)
        assert decoded == event.decode()
        expected = content.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        assert (message.event, decoded.content) == ("token", expected)  # type: ignore[attr-defined]


@given(st.lists(st.text(max_size=30), max_size=8))
def test_the_forms_say_the_same(contents: list[str]) -> None:
    def events() -> list[Any]:
        encoder = EventEncoder()
        return [encoder.encode_token(content) for content in contents]

    around = envelope("run_id", "run-1")
    encoded, text, sse = events(), events(), events()
    for one, two in zip(encoded, text, strict=True):
        two.json = one.json  # the same instant
    for one, two in zip(encoded, sse, strict=True):
        two.json = one.json
    encoded = as_encoded(encoded, around, 10)
    assert [event.json.decode() for event in encoded] == as_text(text, around, 10)
    assert b"".join(sse_frame(event) for event in encoded) == b"".join(as_sse(sse, around, 10))
    assert [json.loads(event.json)["sequence"] for event in encoded] == list(range(11, 11 + len(contents)))


@given(st.lists(st.sampled_from(["token", "step", "custom:a"]), max_size=12))
def test_stretches_are_what_they_were_made_of(kinds: list[str]) -> None:
    found = stretches(kinds)
    assert not found or [kind for kind, times in found for _ in range(times)] == kinds


def test_stretches_of_a_batch_that_is_of_one_type_but_for_its_ends() -> None:
    assert stretches(["token"] * 3) == [("token", 3)]
    tokens = ["token"] * 9
    assert stretches(["started", *tokens, "complete"]) == [("started", 1), ("token", 9), ("complete", 1)]
    assert stretches([*tokens, "step", *tokens]) == []
    assert stretches(["token", "step", "token", "step"]) == []


def test_each_event_has_its_own_type_in_its_frame() -> None:
    kinds = ["started", "token", "token", "step", "custom:a", "token", "token", "complete"]
    for batch in (kinds, kinds[:3], kinds[4:], ["token", "step"] * 3):
        events = [EncodedEvent(kind, b'{"type":"%b"' % kind.encode()) for kind in batch]
        stream = b"".join(as_sse(events, envelope("request_id", "r"), 0))
        assert [json.loads(message.data)["type"] for message in parse(stream)] == batch
        assert [message.event for message in parse(stream)] == batch


def test_what_is_ready_is_joined_into_chunks_of_a_bounded_size() -> None:
    encoder = EventEncoder()
    frame = 10_000
    events = [encoder.encode_token("x" * frame) for _ in range(50)]
    chunks = as_sse(events, envelope("request_id", "r"), 0)
    assert len(list(parse(b"".join(chunks)))) == 50
    assert all(CHUNK_BYTES - frame - 500 < len(chunk) <= CHUNK_BYTES for chunk in chunks[:-1])
    assert 0 < len(chunks[-1]) <= CHUNK_BYTES
    assert all(chunk.startswith(b"event: ") and chunk.endswith(b"}\n\n") for chunk in chunks)
    assert as_sse([], envelope("request_id", "r"), 0) == []


@pytest.mark.parametrize("text", ["", "heartbeat", "a\nb", "a\r\nevent: complete\rdata: {}\n\n", "\n\n\n"])
def test_a_comment_is_nothing_to_a_client(text: str) -> None:
    comment = sse_comment(text)
    assert comment.startswith(b":")
    assert comment.endswith(b"\n\n")
    [event] = emitted("a")[:1]
    assert len(list(parse(comment + sse_frame(event) + comment))) == 1


def test_names_of_events_do_not_fill_the_memory() -> None:
    for number in range(3000):
        frame = sse_frame(EncodedEvent(f"custom:n{number}", b"{}", 1))
        assert frame == b"event: custom:n%d\ndata: {}\n\n" % number
