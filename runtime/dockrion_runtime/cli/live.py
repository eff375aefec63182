"""A stream in a terminal: steps as they end, progress as bars, tokens as running text."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from dockrion_events import (
    AnyEvent,
    CancelledEvent,
    CompleteEvent,
    EncodedEvent,
    ErrorEvent,
    Event,
    ProgressEvent,
    StartedEvent,
    StepEvent,
    TokenEvent,
)

from .plain import line
from .printable import printable, printable_line
from .steps import Step, StepTree, duration

BAR_WIDTH: Final = 24
TAIL_CHARS: Final = 8000  # of the text, while it grows: more does not fit on a screen


class LiveView:
    """Draws the execution anew a few times a second, and once in full when it has ended.

    `show` is called from the loop, drawing happens in a thread of rich's.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._lock = threading.Lock()
        self._tree = StepTree()
        self._notes: list[str] = []
        self._progress: dict[str, ProgressEvent] = {}
        self._text: list[str] = []
        self._agent = "the agent"
        self._end: Event | None = None
        self._closed = False
        self._spinner = Spinner("dots", "running")
        self._live = Live(console=self._console, get_renderable=self._drawing, refresh_per_second=12)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def show(self, item: AnyEvent) -> None:
        event = item.decode() if isinstance(item, EncodedEvent) else item
        with self._lock:
            match event:
                case StartedEvent():
                    self._agent = printable_line(event.agent_name)
                case TokenEvent():
                    self._text.append(event.content)
                case StepEvent():
                    self._tree.add(event.node_name, event.duration_ms, event.namespace)
                case ProgressEvent():
                    self._progress[event.step] = event
                case CompleteEvent() | ErrorEvent() | CancelledEvent():
                    self._end = event
                case _:
                    self._notes.append(line(event))

    def close(self) -> None:
        """Draw everything, to stay."""
        if not self._closed:
            self._closed = True
            self._live.stop()

    # -- drawing -------------------------------------------------------------------------------

    def _drawing(self) -> RenderableType:
        with self._lock:
            lines = [_step_line(step) for step in self._tree.steps]
            lines += [Text(f"· {printable_line(note)}", style="dim", overflow="fold") for note in self._notes]
            bars = self._bars()
            text = "".join(self._text if self._closed else self._text[-TAIL_CHARS:])
            end = self._last_line(bool(text))
        text_lines = self._wrapped(text)
        if not self._closed:
            room = max(4, self._console.height - len(self._progress) - 2)
            lines = lines[-(room // 2) :]
            text_lines = text_lines[-(room - len(lines)) :]
        return Group(*lines, bars, *text_lines, end)

    def _wrapped(self, text: str) -> list[Text]:
        if not self._closed:
            text = text[-TAIL_CHARS:]
        return list(Text(printable(text)).wrap(self._console, self._console.width)) if text else []

    def _bars(self) -> RenderableType:
        table = Table.grid(padding=(0, 1))
        for step, event in self._progress.items():
            table.add_row(
                printable_line(step),
                ProgressBar(total=1.0, completed=event.progress, width=BAR_WIDTH),
                f"{event.progress:4.0%}",
                Text(printable_line(event.message or ""), style="dim"),
            )
        return table

    def _last_line(self, has_text: bool) -> RenderableType:
        end = self._end
        if end is None:
            return Text("stopped", style="yellow") if self._closed else self._spinner
        if isinstance(end, CompleteEvent):
            done = Text(f"{self._agent} is done after {end.latency_seconds:.2f} s", style="green")
            return done if has_text else Group(Text(printable_line(line(end))), done)
        return Text(printable_line(line(end)), style="red" if isinstance(end, ErrorEvent) else "yellow")


def _step_line(step: Step) -> Text:
    mark = Text("✓ ", style="green") if step.done else Text("… ", style="yellow")
    name = Text("  " * step.depth + printable_line(step.name) + " ")
    return Text.assemble(mark, name, Text(duration(step.duration_ms), style="dim"))
