"""What the chat model is told: to answer from numbered passages only, and to name them."""

from collections.abc import Sequence
from html import escape

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from .corpus import Section

INSTRUCTIONS = """\
Answer the question from the numbered passages, and from nothing else, in two to four sentences. After each \
statement name its passage, like this: [2]. Where the passages do not hold the answer, say "The documents do \
not say."\
"""


def build_prompt(question: str, passages: Sequence[Section]) -> list[BaseMessage]:
    """The messages for ``question``; passage n is ``passages[n - 1]``."""
    parts = [
        f'<passage n="{number}" path="{escape(passage["path"])}" line="{passage["line"]}"'
        f' heading="{escape(passage["heading"])}">\n{escape(passage["text"], quote=False)}\n</passage>'
        for number, passage in enumerate(passages, start=1)
    ]
    asked = f"<question>\n{escape(question, quote=False)}\n</question>"
    return [SystemMessage(INSTRUCTIONS), HumanMessage("\n\n".join([*parts, asked]))]
