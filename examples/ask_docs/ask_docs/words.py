"""From text to search terms: lower case, no stop words, light stems.

Question and documents go through the same function, so a stem only has to be the same for the forms of
one word; it does not have to be a word itself (``leaves``, ``leaving`` and ``leave`` all become ``leav``).
"""

import re
from functools import lru_cache

_STOP_WORDS = """
a about after all also am an and any are as at be because been before being between both but by can could
describe did do does doing done each either else ever every explain for from get give given got had
happen happened happens has have having he her here his how i if in into is it its itself just let ll
long made make makes many may me mean meaning means might more most much must my need needs no nor not
now of off often on once one only or other our out over own per please same say she should so some such
tell than that the their them then there these they this those through to too under until up upon us use
used uses using ve very want wants was we were what when where which while who whom whose why will with
within without work works would yet you your
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())

_IRREGULAR = {
    "began": "begin",
    "begun": "begin",
    "died": "die",
    "dies": "die",
    "held": "hold",
    "left": "leave",
    "lost": "lose",
    "ran": "run",
    "sent": "send",
    "written": "write",
    "wrote": "write",
}
_WORD = re.compile(r"[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_VOWEL = re.compile(r"[aeiouy]")


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """The stem of a lower-case English word: no plural ``-s``, ``-ing``, ``-ed``, ``-(at)ion``, ``-e``."""
    word = _IRREGULAR.get(word, word)
    if len(word) > 4 and word.endswith("ies"):
        word = word[:-3] + "y"
    elif len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ation", "ing", "ed"):
        root = word.removesuffix(ending)
        if root != word and len(root) >= 3 and _VOWEL.search(root):
            word = root
            break
    else:
        if len(word) > 5 and word.endswith(("tion", "sion")):
            word = word[:-3]
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiouls":
        word = word[:-1]
    if len(word) > 4 and word.endswith("ll"):
        word = word[:-1]
    return word[:-1] if len(word) > 3 and word.endswith("e") else word


def terms(text: str) -> list[str]:
    """The search terms of ``text`` in order, repetitions kept.

    Compounds count as a whole and in parts, so that ``LangGraph`` finds ``langgraph`` and ``time-out`` finds
    ``timeout``; ``snake_case`` counts in parts.
    """
    found: list[str] = []
    for match in _WORD.finditer(text):
        parts = _HUMP.sub("-", match[0]).lower().split("-")
        words = parts if len(parts) == 1 else ["".join(parts), *parts]
        found.extend(stem(word) for word in words if len(word) > 1 and word not in STOP_WORDS)
    return found
