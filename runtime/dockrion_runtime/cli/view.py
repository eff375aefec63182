"""Which way the events of one execution are shown: live in a terminal, as plain lines, or as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final, Protocol, TextIO

from dockrion_events import AnyEvent

from .failure import FAILED
from .plain import JSONView, PlainView

CODES: Final = {"complete": 0, "error": FAILED, "cancelled": FAILED}
"""The exit code of a terminal event; where Ctrl-C brought it about, 130 is."""


class View(Protocol):
    """Shows the events of one execution."""

    def show(self, item: AnyEvent) -> None:
        """Show an event, now."""

    def close(self) -> None:
        """Finish: no event follows. Again does nothing."""


@contextmanager
def opened_view(out: TextIO, *, json: bool) -> Iterator[View]:
    """Hold the view that fits ``out``."""
    if out.isatty() and not json:
        from .live import LiveView

        with LiveView() as live:
            yield live
    else:
        with closing(JSONView(out) if json else PlainView(out)) as view:
            yield view
