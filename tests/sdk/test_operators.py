"""Operators: lazy, in order, and closing what they wrap."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from dockrion_adapters import HandlerAdapter
from dockrion_events import (
    CompleteEvent,
    Event,
    InvalidFilter,
    ProgressEvent,
    StartedEvent,
    StepEvent,
    TokenEvent,
)
from dockrion_sdk.operators import batch, buffer, collect, merge, only, progress, text, timeout


class Source:
    """A stream of these items, which knows how far it was read and whether it was closed."""

    def __init__(self, *items: Any, fail: Exception | None = None) -> None:
        self.read = 0
        self.closed = False
        self._items = items
        self._fail = fail

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._run()

    async def _run(self) -> AsyncIterator[Any]:
        try:
            for item in self._items:
                if isinstance(item, float):
                    await asyncio.sleep(item)
                    continue
                self.read += 1
                yield item
            if self._fail is not None:
                raise self._fail
        finally:
            self.closed = True


def tokens(*texts: str, message_id: str | None = None) -> list[TokenEvent]:
    return [TokenEvent(text, message_id=message_id) for text in texts]


def contents(events: list[Any]) -> list[str]:
    return [event.content if isinstance(event, TokenEvent) else event.type for event in events]


END = CompleteEvent("done", 0.1, {})
OPERATORS = [only("all"), buffer(by="word"), batch(2), timeout(10.0), progress(), text()]


async def test_a_chain_over_an_agent() -> None:
    async def agent(payload: Any, context: Any) -> str:
        for word in ("Hel", "lo ", "wor", "ld"):
            await context.emit_token(word)
        await context.emit_progress("half", 0.5)
        return "said"

    adapter = HandlerAdapter(agent)
    assert await (adapter.invoke_stream({}) | text() | collect()) == ["Hel", "lo ", "wor", "ld"]
    words = await (adapter.invoke_stream({}) | only("token") | buffer(by="word") | collect())
    assert contents(words) == ["started", "Hello ", "world", "complete"]
    assert await collect()(only("token")(adapter.invoke_stream({})))


@pytest.mark.parametrize("operator", OPERATORS)
async def test_leaving_a_chain_closes_what_it_wraps(operator: Any) -> None:
    source = Source(StartedEvent("a"), *tokens("a ", "b ", "c "), END)
    chain = source | operator
    assert source.read == 0, "nothing is read before somebody reads"
    await anext(chain)
    assert source.read <= 3
    await chain.aclose()
    assert source.closed


@pytest.mark.parametrize("operator", OPERATORS)
async def test_what_the_stream_raises_comes_through(operator: Any) -> None:
    source = Source(StartedEvent("a"), fail=ValueError("wrong"))
    with pytest.raises(ValueError, match="wrong"):
        await (source | operator | collect())
    assert source.closed


async def test_only_is_the_filter_of_everywhere() -> None:
    events = [StartedEvent("a"), *tokens("t"), StepEvent("n"), END]
    assert contents(await (Source(*events) | only("step") | collect())) == ["started", "step", "complete"]
    assert contents(await (Source(*events) | only("minimal") | collect())) == ["started", "complete"]
    with pytest.raises(InvalidFilter):
        only("tokens")
    with pytest.raises(InvalidFilter, match="unknown event 'tokn'; did you mean 'token'") as caught:
        only("tokn")
    assert "preset" not in str(caught.value)


@pytest.mark.parametrize(
    ("by", "texts", "pieces"),
    [
        ("word", ["Hel", "lo wor", "ld"], ["Hello ", "world"]),
        ("word", ["one", " two", " ", "three"], ["one ", "two ", "three"]),
        ("sentence", ["It is. ", "So", "? Yes", '." ', "end"], ["It is. ", "So? ", 'Yes." ', "end"]),
        ("sentence", ["Version 1.2 of it. ", "Done"], ["Version 1.2 of it. ", "Done"]),
        ("sentence", ["终于。开", "始！"], ["终于。", "开始！"]),
        (5, ["a b c d e f ", "abcdefgh", " x"], ["a b c d e f ", "abcdefgh ", "x"]),
    ],
)
async def test_tokens_are_joined(by: Any, texts: list[str], pieces: list[str]) -> None:
    assert contents(await (Source(*tokens(*texts), END) | buffer(by=by) | collect())) == [*pieces, "complete"]


@given(
    st.lists(st.text(alphabet="ab .!?\n", max_size=6), max_size=20),
    st.sampled_from(["word", "sentence", 1, 7]),
)
def test_no_text_is_lost_and_no_word_is_cut(texts: list[str], by: Any) -> None:
    async def run() -> list[Any]:
        return await (Source(*tokens(*texts), END) | buffer(by=by) | collect())

    *pieces, end = contents(asyncio.run(run()))
    assert end == "complete"
    assert "".join(pieces) == "".join(texts)
    for piece in pieces[:-1]:
        assert piece[-1].isspace()


async def test_messages_do_not_mix_and_other_events_pass() -> None:
    one, other = (tokens(*texts, message_id=name) for name, texts in [("1", "ab"), ("2", "xy")])
    events = [one[0], other[0], StepEvent("n"), one[1], other[1], END]
    joined = await (Source(*events) | buffer(by="word") | collect())
    assert contents(joined) == ["step", "ab", "xy", "complete"]
    assert [event.message_id for event in joined if isinstance(event, TokenEvent)] == ["1", "2"]


async def test_what_waits_leaves_when_the_time_is_over() -> None:
    events = [*tokens("a b", "c"), 0.3, *tokens(" d"), END]
    began = time.monotonic()
    stream = Source(*events) | buffer(by=0.05)
    first = await anext(stream)
    assert isinstance(first, TokenEvent)
    assert first.content == "a "
    assert time.monotonic() - began < 0.25
    assert contents([event async for event in stream]) == ["bc d", "complete"]


@pytest.mark.parametrize("by", [0, -1, "line", True, None])
def test_what_cannot_be_a_piece(by: Any) -> None:
    with pytest.raises(ValueError, match="by is 'word'"):
        buffer(by=by)


async def test_batches_by_number_and_by_time() -> None:
    assert [len(part) for part in await (Source(*range(7)) | batch(3) | collect())] == [3, 3, 1]
    parts = await (Source(1, 2, 0.3, 3) | batch(10, 0.05) | collect())
    assert parts == [[1, 2], [3]]
    with pytest.raises(ValueError):
        batch(0)


async def test_merged_streams_are_labelled_and_keep_their_order() -> None:
    sources = {"a": Source(1, 0.02, 2), "b": Source(0.01, 3, 0.02, 4)}
    merged = [(item.source, item.item) async for item in merge(**sources)]
    assert [item for source, item in merged if source == "a"] == [1, 2]
    assert [item for source, item in merged if source == "b"] == [3, 4]


async def test_one_failure_does_not_end_the_others() -> None:
    seen = [item async for item in merge(bad=Source(1, fail=ValueError("wrong")), good=Source(1, 0.02, 2))]
    assert [(item.source, item.item) for item in seen if item.error is None] == [
        ("bad", 1),
        ("good", 1),
        ("good", 2),
    ]
    [failed] = [item for item in seen if item.error is not None]
    assert (failed.source, str(failed.error)) == ("bad", "wrong")


async def test_a_failure_may_end_them_all() -> None:
    good = Source(1, 5.0, 2)
    with pytest.raises(ValueError, match="wrong"):
        [item async for item in merge(fail_fast=True, bad=Source(fail=ValueError("wrong")), good=good)]
    assert good.closed


async def test_merged_streams_wait_for_their_reader() -> None:
    sources = {"a": Source(*range(100)), "b": Source(*range(100))}
    merged = merge(**sources)
    for _ in range(4):
        await anext(merged)
        await asyncio.sleep(0.01)
    assert sum(source.read for source in sources.values()) <= 6
    await merged.aclose()  # type: ignore[attr-defined]
    assert all(source.closed for source in sources.values())


async def test_time_limits() -> None:
    source = Source(1, 5.0, 2)
    with pytest.raises(TimeoutError, match=r"no event for 0\.05 s"):
        await (source | timeout(idle=0.05) | collect())
    assert source.closed
    with pytest.raises(TimeoutError, match=r"longer than 0\.05 s"):
        await (Source(*[0.02, 1] * 100) | timeout(0.05, idle=1.0) | collect())
    assert await (Source(1, 0.02, 2) | timeout(5.0, idle=1.0) | collect()) == [1, 2]
    with pytest.raises(TypeError):
        timeout()


@pytest.mark.parametrize("terminal", [True, False])
async def test_progress_is_shown_while_events_pass(terminal: bool) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=80)
    events: list[Event] = [ProgressEvent("load", 0.5, "half"), StepEvent("node"), END]
    assert await (Source(*events) | progress(console=console) | collect()) == events
    assert "half" in out.getvalue()
    assert "done  node" in out.getvalue()
