"""What subscribers saw, held against what the log says."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from .wire import Frame

TERMINAL = {"complete": "completed", "error": "failed", "cancelled": "cancelled"}


@dataclass
class Seen:
    """One subscriber's events of one run."""

    last: int = 0
    ended: bool = False
    data: dict[int, bytes] = field(default_factory=dict)
    gaps: list[tuple[int, int]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def take(self, frame: Frame) -> None:
        """Note a frame; what has no data is no event."""
        if frame.data is None or frame.event == "heartbeat":
            return
        if frame.event == "gap":
            gap = frame.json()
            self.gaps.append((gap["requested"], gap["first_available"]))
            self.last = gap["first_available"] - 1
            for number in [number for number in self.data if number > self.last]:
                del self.data[number]  # the store has lost them, and says so
            return
        if frame.id is None:
            self.faults.append(f"an event without sequence: {frame.data!r}")
            self.ended = self.ended or frame.event in TERMINAL
            return
        if frame.id in self.data:
            self.faults.append(f"duplicated: {frame.id}")
        if frame.id != self.last + 1:
            self.faults.append(f"lost or disordered: {frame.id} follows {self.last}")
        if self.ended:
            self.faults.append(f"{frame.event} {frame.id} follows the end")
        self.data[frame.id] = frame.data
        self.last = frame.id
        self.ended = self.ended or frame.event in TERMINAL

    def against(self, log: dict[int, bytes]) -> list[str]:
        """Return what is wrong with what was seen, now that the whole log is known."""
        faults = list(self.faults)
        if not self.ended:
            faults.append(f"saw no end; the last was {self.last} of {len(log)}")
        excused = {n for requested, first in self.gaps for n in range(requested, first)}
        lost = [n for n in log if n not in self.data and n not in excused]
        if lost:
            faults.append(f"lost: {lost[:5]}")
        other = [n for n, data in self.data.items() if log.get(n) != data]
        if other:
            faults.append(f"other bytes than the log: {other[:5]}")
        return faults


def faults_of_log(frames: list[Frame], shown: dict[str, Any], tokens: int) -> list[str]:
    """Return what is wrong with a run's log, read from its beginning, and with its record."""
    faults: list[str] = []
    ids = [frame.id for frame in frames]
    if ids != list(range(1, len(ids) + 1)):
        faults.append(f"the log's sequences are {ids}")
    kinds = [frame.event for frame in frames]
    if kinds[:1] != ["started"] or kinds.count("started") != 1:
        faults.append(f"not exactly one started, first: {kinds}")
    ends = [number for number, kind in enumerate(kinds, 1) if kind in TERMINAL]
    if ends != [len(kinds)]:
        faults.append(f"not exactly one terminal event, last: {ends} of {len(kinds)}")
        return faults
    if (shown["status"], shown["last_sequence"]) != (TERMINAL[kinds[-1]], len(kinds)):
        faults.append(f"the record says {shown}, the log ends with {frames[-1]}")
    if kinds.count("restarted") >= max(shown["attempt"], 1):
        faults.append(f"restarted {kinds.count('restarted')} times in {shown['attempt']} attempts")
    faults += _faults_of_attempts(frames, tokens)
    return faults


def _faults_of_attempts(frames: list[Frame], tokens: int) -> list[str]:
    """Each attempt is the work of one process, whose tokens are numbered from 0."""
    said: list[tuple[str, int]] = []
    faults: list[str] = []
    for frame in frames:
        if frame.event == "restarted":
            said = []
        elif frame.event == "token":
            pid, _, rest = frame.json()["content"].partition(":")
            said.append((pid, int(rest.split()[0])))
            if said[-1] != (said[0][0], len(said) - 1):
                faults.append(f"an attempt's tokens are not its own, in order: {said[-2:]}")
    if frames[-1].event == "complete" and len(said) != tokens:
        faults.append(f"completed after {len(said)} of {tokens} tokens")
    return faults


@dataclass
class Figures:
    """What is counted over a storm."""

    seed: int
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    recoveries: list[float] = field(default_factory=list)
    """Seconds from each kill to the moment when a subscriber saw the run go on, or its end."""
    recoveries_standing: list[float] = field(default_factory=list)
    """The same, but for the time in which there was no Redis or no server."""
    faults: list[str] = field(default_factory=list)

    def end_of(self, frame: Frame) -> str:
        """Count how a run ended."""
        kind = frame.event
        if kind == "error":
            kind = f"error {json.loads(frame.data or b'{}')['code']}"
        self.ends[kind] += 1
        return kind


def share(of: list[float], part: float) -> float:
    """Return the value that this part of the values does not exceed."""
    ordered = sorted(of)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0
