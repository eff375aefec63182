"""A plain function that reads a text: how long it is, how hard to read, and what it says in short.

It tells of its work through the context it is given, and works just as well without one.
"""

import re
from collections import Counter
from itertools import pairwise
from typing import Any

from dockrion_events import StreamContext

PROGRESS_EVENTS = 20  # at most, however long the text
MIN_CONTENT_WORD = 4

_PARAGRAPH_END = re.compile(r"\n\s*\n")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_VOWELS = re.compile(r"[aeiouy]+")
_LEVELS = ((70, "easy"), (50, "plain"), (30, "difficult"))


def handle(payload: dict[str, Any], context: StreamContext | None = None) -> dict[str, Any]:
    """Report on ``payload["text"]``; its summary has ``payload["sentences"]`` sentences, 2 if not given.

    Raises ValueError for a text without a word.
    """
    sentences = read_sentences(payload["text"], context)
    words = [word.lower() for sentence in sentences for word in _WORD.findall(sentence)]
    if not words:
        raise ValueError("the text has no words")
    counts = {"sentences": len(sentences), "words": len(words), "distinct_words": len(set(words))}
    if context:
        context.sync_checkpoint("counted", counts)

    ease = round(reading_ease(words, len(sentences)), 1)
    level = next((name for limit, name in _LEVELS if ease >= limit), "very difficult")
    if context:
        context.sync_emit("readability", score=ease, level=level)

    frequent = Counter(word for word in words if len(word) >= MIN_CONTENT_WORD)
    summary = " ".join(summarise(sentences, frequent, payload.get("sentences", 2)))
    if context:
        say(summary, context)
        context.sync_emit_progress("done", 1.0)
    return {
        **counts,
        "reading_ease": ease,
        "level": level,
        "frequent_words": dict(frequent.most_common(5)),
        "summary": summary,
    }


def read_sentences(text: str, context: StreamContext | None = None) -> list[str]:
    """The sentences of ``text``, with progress from 0.0 to 0.9 while it goes through the paragraphs."""
    paragraphs = [paragraph for paragraph in _PARAGRAPH_END.split(text.strip()) if paragraph]
    every = -(-len(paragraphs) // PROGRESS_EVENTS)
    sentences: list[str] = []
    for number, paragraph in enumerate(paragraphs, start=1):
        sentences += _SENTENCE_END.split(" ".join(paragraph.split()))
        if context and number % every == 0:
            share = number / len(paragraphs)
            context.sync_emit_progress("reading", 0.9 * share, f"paragraph {number} of {len(paragraphs)}")
    return sentences


def reading_ease(words: list[str], sentences: int) -> float:
    """How easily English text reads, about 0 (hardest) to 100.

    R. Flesch, "A new readability yardstick", Journal of Applied Psychology 32(3), 1948.
    """
    syllables = sum(count_syllables(word) for word in words)
    return 206.835 - 1.015 * len(words) / sentences - 84.6 * syllables / len(words)


def count_syllables(word: str) -> int:
    """Groups of vowels, without a silent final ``e``: an estimate, right for most English words."""
    groups = len(_VOWELS.findall(word))
    silent = word.endswith("e") and not word.endswith(("le", "ee")) and groups > 1
    return max(1, groups - silent)


def summarise(sentences: list[str], frequent: Counter[str], limit: int) -> list[str]:
    """The ``limit`` sentences whose words the text uses most, in their order.

    After H. P. Luhn, "The automatic creation of literature abstracts", IBM Journal 2(2), 1958.
    """

    def weight(sentence: str) -> float:
        words = [word.lower() for word in _WORD.findall(sentence)]
        return sum(frequent[word] for word in words) / (len(words) + 3)

    best = sorted(range(len(sentences)), key=lambda number: -weight(sentences[number]))[:limit]
    return [sentences[number] for number in sorted(best)]


def say(text: str, context: StreamContext) -> None:
    """Send ``text`` word by word."""
    starts = [0, *(space.end() for space in re.finditer(r"\s+", text)), len(text)]
    for start, end in pairwise(starts):
        context.sync_emit_token(text[start:end], finish_reason="stop" if end == len(text) else None)
