"""An answer composed of sentences that the passages already contain.

A sentence earns the weight of each question term it holds, half of it for a term that only its heading holds,
and a little for question terms that stand side by side in both; all this times the share of the question's
terms that it holds. After a pick, the terms it covered earn less, so that the next one adds something (the
idea of maximal marginal relevance, Carbonell and Goldstein 1998).
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log

from .sentences import split_sentences
from .words import terms

NOT_FOUND = "The documents do not say."

COVERED_TERM_FACTOR = 0.35
SECOND_PICK_SHARE = 0.2  # of the best sentence's score; a lone sentence rarely answers
FURTHER_PICK_SHARE = 0.45
LONG_SENTENCE_CHARS = 260
MOSTLY_CODE = 0.4  # share of prose, in a long sentence
SAME_CONTENT = 0.7

_LEANS_BACK = re.compile(
    r"(?:It|Its|They|Their|This|That|These|Those|He|She|So|But|Then|Otherwise|Instead)\b"
)
_ASKS_FOR_NUMBER = re.compile(
    r"\bhow (?:many|much|long|often|old|large|big|far|fast)\b|\bwhen\b|\bdefault", re.I
)
_ASKS_WHAT_IT_IS = re.compile(r"\s*what(?:'s| is| are| does)\b", re.I)


@dataclass(frozen=True)
class Passage:
    """One numbered passage of the prompt; ``line`` is where it starts in its document."""

    number: int
    path: str
    line: int
    heading: str
    text: str


@dataclass(frozen=True)
class _Sentence:
    text: str
    passage: Passage
    position: int
    terms: tuple[str, ...]
    heading_terms: frozenset[str]

    @property
    def reach(self) -> frozenset[str]:
        return self.heading_terms.union(self.terms)


def compose_answer(question: str, passages: Sequence[Passage], *, limit: int = 4) -> str:
    """At most ``limit`` sentences in document order, each with ``[n]``, the number of its passage.

    Documents come in the order in which the passages first name them. Where no passage holds more than half
    of the question's terms, the answer says so instead of guessing.
    """
    wanted = list(dict.fromkeys(terms(question)))
    sentences = [sentence for passage in passages for sentence in _sentences(passage)]
    if not _answerable(wanted, sentences):
        return NOT_FOUND
    chosen = _choose(question, wanted, sentences, limit)
    order = {path: rank for rank, path in enumerate(dict.fromkeys(passage.path for passage in passages))}
    chosen.sort(key=lambda sentence: (order[sentence.passage.path], sentence.passage.line, sentence.position))
    return " ".join(_marked(sentence) for sentence in chosen) or NOT_FOUND


def _sentences(passage: Passage) -> list[_Sentence]:
    heading_terms = frozenset(terms(passage.heading))
    return [
        _Sentence(text, passage, position, tuple(terms(text)), heading_terms)
        for position, text in enumerate(split_sentences(passage.text))
    ]


def _answerable(wanted: Sequence[str], sentences: Iterable[_Sentence]) -> bool:
    held: dict[int, set[str]] = {}
    for sentence in sentences:
        held.setdefault(sentence.passage.number, set()).update(sentence.reach)
    best = max((sum(term in found for term in wanted) for found in held.values()), default=0)
    return best * 2 > len(wanted)


def _choose(
    question: str, wanted: Sequence[str], sentences: Sequence[_Sentence], limit: int
) -> list[_Sentence]:
    found_in = Counter(term for sentence in sentences for term in set(sentence.terms))
    weights = {term: log(1 + len(sentences) / (found_in[term] or 0.5)) for term in wanted}
    fits = {sentence: _fit(question, wanted, sentence) for sentence in sentences}
    chosen: list[_Sentence] = []
    first_score = 0.0
    while len(chosen) < limit:
        left = [s for s in sentences if not any(_alike(s, other) for other in chosen)]
        scores = {s: fits[s] * _score(s, wanted, weights) for s in left}
        best = max(left, key=scores.__getitem__, default=None)
        share = FURTHER_PICK_SHARE if len(chosen) > 1 else SECOND_PICK_SHARE
        if best is None or scores[best] <= share * first_score:
            break
        first_score = first_score or scores[best]
        chosen += _with_antecedent(best, sentences, chosen)[-(limit - len(chosen)) :]
        covered = {term for sentence in chosen for term in sentence.terms}
        weights = {
            term: weight * (COVERED_TERM_FACTOR if term in covered else 1) for term, weight in weights.items()
        }
    return chosen


def _score(sentence: _Sentence, wanted: Sequence[str], weights: Mapping[str, float]) -> float:
    own = {term for term in wanted if term in sentence.terms}
    inherited = sentence.heading_terms.intersection(wanted) - own
    if not own or len(own) + len(inherited) < min(2, len(wanted)):
        return 0.0
    asked_pairs = set(pairwise(wanted))
    together = {pair for pair in pairwise(sentence.terms) if pair in asked_pairs}
    earned = (
        sum(weights[term] for term in own)
        + 0.5 * sum(weights[term] for term in inherited)
        + 0.25 * sum(weights[term] for pair in together for term in pair)
    )
    return earned * (len(own) + 0.5 * len(inherited)) / len(wanted)


def _fit(question: str, wanted: Sequence[str], sentence: _Sentence) -> float:
    """How well the sentence suits the question's form and its place, as a factor."""
    fit = 1 / (1 + 0.08 * (sentence.passage.number - 1))
    fit *= min(1.0, LONG_SENTENCE_CHARS / len(sentence.text))
    prose = re.sub(r"`[^`]*`", "", sentence.text)
    if len(sentence.text) > LONG_SENTENCE_CHARS and len(prose) < MOSTLY_CODE * len(sentence.text):
        fit *= 0.4
    if len(sentence.terms) < 3 or sentence.text.endswith((":", "?")):
        fit *= 0.5
    if _ASKS_FOR_NUMBER.search(question) and re.search(r"\d", sentence.text):
        fit *= 1.25
    if _ASKS_WHAT_IT_IS.match(question) and sentence.terms[:1] and sentence.terms[0] in wanted:
        fit *= 1.4
    return fit


def _alike(one: _Sentence, other: _Sentence) -> bool:
    both, either = set(one.terms) & set(other.terms), set(one.terms) | set(other.terms)
    return one is other or len(both) > SAME_CONTENT * len(either)


def _with_antecedent(
    sentence: _Sentence, sentences: Sequence[_Sentence], chosen: Sequence[_Sentence]
) -> list[_Sentence]:
    """The sentence, after the one before it where it starts with a word like "It" that points there."""
    if not _LEANS_BACK.match(sentence.text):
        return [sentence]
    before = [
        s
        for s in sentences
        if s.passage is sentence.passage and s.position == sentence.position - 1 and s not in chosen
    ]
    return [*before, sentence]


def _marked(sentence: _Sentence) -> str:
    text = sentence.text.rstrip(" :;,")
    ending = text[-1] if text.endswith((".", "!", "?")) else "."
    return f"{text[0].upper()}{text[1:].removesuffix(ending)} [{sentence.passage.number}]{ending}"
