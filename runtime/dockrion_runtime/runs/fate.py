"""What becomes of runs that their executor does not bring to an end."""

from __future__ import annotations

from typing import Final

from dockrion_events import CancelledEvent, ErrorEvent, Event
from dockrion_events.bus import RunRecord

LOSSES_AMONG_OTHERS: Final = 2
"""Losses of one run after which it is executed alone: any of its neighbours may be to blame for these."""

LOSSES_ALONE: Final = 3
"""Losses of a run that was executed alone after which it counts as one that takes its executor along."""

MAX_LOSSES: Final = LOSSES_AMONG_OTHERS + LOSSES_ALONE


class Fate:
    """The policy: ``on_lost`` is ``fail``, ``restart`` or ``resume``; a ``durable`` store outlives us.

    A run is lost where its lease has expired. One that an executor handed back is not: it is among the
    accepted ones again, and may have been claimed without having been begun.
    """

    def __init__(self, on_lost: str, *, durable: bool) -> None:
        self.on_lost = on_lost
        self.hands_back: bool = durable and on_lost != "fail"
        self._durable = durable

    def __str__(self) -> str:
        """Return what happens to runs that outlive their executor's shutdown."""
        if self.hands_back:
            return "handed back"
        return "ended as failed" if self._durable else "cancelled"

    def resumes(self, record: RunRecord) -> bool:
        """Whether this execution goes on from what others have left behind."""
        return self.on_lost == "resume" and record.attempt > 1

    def alone(self, record: RunRecord) -> bool:
        """Whether nothing else may be executed beside this run."""
        return self.hands_back and record.losses >= LOSSES_AMONG_OTHERS

    def opens_first(self, record: RunRecord) -> bool:
        """Whether the first event is to be in the log before the agent begins.

        A loss counts where its claim had appended something. Of a first execution, which is most of them,
        that is left to chance: its first events are written together.
        """
        return self.hands_back and record.attempt > 1

    def refusal(self, record: RunRecord, *, lost: bool) -> ErrorEvent | None:
        """Return the end of a claimed run that is not to be executed again."""
        if record.attempt < 2:
            return None
        if self.on_lost == "fail" and (lost or record.last_sequence):
            return ErrorEvent("the process that executed the run is gone", "EXECUTOR_LOST")
        if record.losses >= MAX_LOSSES:
            return ErrorEvent(
                f"the run was executed {record.losses} times by a process that ended or stopped answering "
                f"meanwhile; the last {LOSSES_ALONE} times it executed no other run",
                "EXECUTOR_LOST",
            )
        return None

    def last_event(self) -> Event:
        """Return the end of a run that outlives its executor's shutdown and is not handed back."""
        if self._durable:
            return ErrorEvent("the process that executed the run was shut down", "EXECUTOR_LOST")
        return CancelledEvent("shutdown")
