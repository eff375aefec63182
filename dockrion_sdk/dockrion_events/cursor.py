"""A reader's place in a run's log."""

from __future__ import annotations

import re
from typing import Final, Self

_FORM: Final = re.compile(r"([0-9]{1,19})(?:\.([0-9A-Za-z-]{4,32}))?", re.ASCII)
_END: Final = 2**63


class Cursor(int):
    """The sequence of the last event that a reader has seen, and that event's ``epoch``.

    The epoch names the stretch of history that the event belongs to. A store that lost acknowledged
    events and had others written in their place gives those another epoch, so a reader that comes back
    with a cursor learns that what it saw is not the log any more. Where the epoch is the empty string,
    only the number counts. As text a cursor is ``<sequence>`` or ``<sequence>.<epoch>``.
    """

    epoch: str

    def __new__(cls, sequence: int, epoch: str = "") -> Self:
        cursor = super().__new__(cls, sequence)
        cursor.epoch = epoch
        return cursor

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the cursor that ``text`` means. Raises ``ValueError`` for anything else."""
        found = _FORM.fullmatch(text)
        if found is None or int(found[1]) >= _END:
            raise ValueError(f"{text[:64]!r} is not a cursor: a sequence below 2^63, or <sequence>.<epoch>")
        return cls(int(found[1]), found[2] or "")

    @property
    def text(self) -> str:
        """The cursor as text."""
        return f"{int(self)}.{self.epoch}" if self.epoch else str(int(self))


def epoch_of(cursor: int) -> str:
    """Return a cursor's epoch; a bare number has none."""
    return cursor.epoch if isinstance(cursor, Cursor) else ""
