"""The handler_progress example as a plain function, with a context and without."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from dockrion_events import (
    CheckpointEvent,
    CustomEvent,
    EventsFilter,
    ProgressEvent,
    StreamContext,
    TokenEvent,
)

EXAMPLE = Path(__file__).parents[2] / "examples" / "handler_progress"

TEXT = """\
The tide turned at noon. Boats left the harbour with the tide.

Nobody on the quay saw the boats leave the harbour! It rained.
"""


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(EXAMPLE)
    return importlib.import_module("service")


def test_tells_of_its_work_in_order(service: ModuleType) -> None:
    context = StreamContext("run-1")
    output = service.handle({"text": TEXT}, context)
    events = context.drain_queued_events()

    tokens = [event for event in events if isinstance(event, TokenEvent)]
    assert [event.type for event in events] == [
        "progress",
        "progress",
        "checkpoint",
        "custom:readability",
        *["token"] * len(tokens),
        "progress",
    ]
    reading, read, counted, readability = events[:4]
    assert isinstance(reading, ProgressEvent)
    assert (reading.step, reading.progress, reading.message) == ("reading", 0.45, "paragraph 1 of 2")
    assert isinstance(read, ProgressEvent)
    assert read.progress == 0.9
    assert isinstance(counted, CheckpointEvent)
    assert counted.data == {"sentences": 4, "words": 24, "distinct_words": 16}
    assert isinstance(readability, CustomEvent)
    assert readability.data == {"score": output["reading_ease"], "level": "easy"}
    assert "".join(token.content for token in tokens) == output["summary"]
    assert [token.finish_reason for token in tokens[-2:]] == [None, "stop"]


def test_without_a_context_the_result_is_the_same(service: ModuleType) -> None:
    with_context = service.handle({"text": TEXT, "sentences": 1}, StreamContext("run-1"))
    assert service.handle({"text": TEXT, "sentences": 1}) == with_context
    assert with_context["summary"] == "Boats left the harbour with the tide."
    assert with_context["frequent_words"]["harbour"] == 2


def test_a_long_text_gives_a_bounded_number_of_progress_events(service: ModuleType) -> None:
    context = StreamContext("run-1", events_filter=EventsFilter(["progress"]))
    service.handle({"text": "\n\n".join(["Boats float."] * 1_000)}, context)
    shares = [event.progress for event in context.drain_queued_events() if isinstance(event, ProgressEvent)]
    assert len(shares) == service.PROGRESS_EVENTS + 1
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_a_text_without_words_is_refused(service: ModuleType) -> None:
    with pytest.raises(ValueError, match="no words"):
        service.handle({"text": " 12 + 30 \n"}, StreamContext("run-1"))


@pytest.mark.parametrize(
    ("word", "syllables"), [("boat", 1), ("harbour", 2), ("leave", 1), ("table", 2), ("hmm", 1)]
)
def test_syllables(service: ModuleType, word: str, syllables: int) -> None:
    assert service.count_syllables(word) == syllables


def test_reading_ease_follows_the_formula(service: ModuleType) -> None:
    words = ["the", "cat", "sat", "on", "the", "table"]
    assert service.reading_ease(words, 1) == pytest.approx(206.835 - 1.015 * 6 - 84.6 * 7 / 6)
