"""A stream's progress in the terminal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from dockrion_events import Event, ProgressEvent, StepEvent, StreamEvent

from .base import Operator, closing


def progress(
    *, rich: bool = True, console: Console | None = None
) -> Operator[Event, AsyncIterator[StreamEvent]]:
    """Show progress and steps on stderr (or ``console``) while the events pass.

    With ``rich`` a bar for each thing that makes progress; else, and where there is no terminal, a line for
    each event.
    """

    async def shown(stream: AsyncIterator[Event]) -> AsyncIterator[StreamEvent]:
        place = console or Console(stderr=True)
        view = _Bars(place) if rich and place.is_terminal else _Lines(place)
        async with closing(stream):
            with view:
                async for event in stream:
                    view.show(event)
                    yield cast("StreamEvent", event)

    return Operator(shown)


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, event: Event) -> None:
        if isinstance(event, ProgressEvent):
            more = f"  {event.message}" if event.message else ""
            self._console.print(f"{event.progress:4.0%}  {event.step}{more}", markup=False, highlight=False)
        elif isinstance(event, StepEvent):
            self._console.print(f"done  {event.node_name}", markup=False, highlight=False)


class _Bars:
    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console)
        self._bars: dict[str, TaskID] = {}

    def __enter__(self) -> None:
        self._progress.start()

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, event: Event) -> None:
        if isinstance(event, ProgressEvent):
            if event.step not in self._bars:
                self._bars[event.step] = self._progress.add_task(event.step, total=1.0)
            text = f"{event.step}: {event.message}" if event.message else event.step
            self._progress.update(self._bars[event.step], completed=event.progress, description=text)
        elif isinstance(event, StepEvent):
            self._progress.console.print(f"done  {event.node_name}", markup=False, highlight=False)
