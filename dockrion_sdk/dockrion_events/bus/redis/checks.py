"""What is looked at when a backend opens: can this Redis work, and is it safe?"""

from __future__ import annotations

import re
from typing import Any, Final

from redis.exceptions import ResponseError

from ...errors import BackendUnavailable
from .commands import Commands
from .faults import forbidden
from .lanes import Lane
from .selftest import selftest

OLDEST: Final = (6, 2)


async def checked(commands: Commands, prefix: bytes, kept: dict[bytes, bytes]) -> list[str]:
    """Return one line for each thing that is not safe. Raises `BackendUnavailable` for what cannot work.

    See `selftest` for ``kept``. A Redis that takes no writes at present, because its memory is full or for
    another reason that may pass, is a line: what is in it can be read.
    """
    lines: list[str] = []
    for lane in commands.lanes():
        for line in await _lines(commands, lane):
            if line not in lines:
                lines.append(line)
    try:
        faults, warnings = await selftest(commands, prefix, kept)
    except BackendUnavailable as error:
        if not isinstance(error.__cause__, ResponseError):
            raise
        return [*lines, f"{error}; whether all that is needed is allowed there is not known"]
    if faults:
        raise BackendUnavailable("; ".join(faults))
    return lines + warnings


async def _lines(commands: Commands, lane: Lane) -> list[str]:
    try:
        info = _fields(await commands.ask(lane, b"INFO"))
    except BackendUnavailable as error:
        if forbidden(error.__cause__) is None:
            raise
        return [f"{lane.text} does not allow INFO: its version and its settings are not known"]
    lines = []
    version = info.get("redis_version", "")
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers and numbers < OLDEST:
        raise BackendUnavailable(f"Redis at {lane.text} is {version}; 6.2 or newer is needed")
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        lines.append(
            f"{lane.text} drops runs when its memory is full (maxmemory-policy {policy}): set noeviction"
        )
    if info.get("aof_enabled") != "1":
        lines += await _saving(commands, lane)
    return lines


async def _saving(commands: Commands, lane: Lane) -> list[str]:
    try:
        reply = await commands.ask(lane, b"CONFIG", b"GET", b"save")
    except BackendUnavailable:
        return [
            f"{lane.text} has no append-only file and does not allow CONFIG: whether it saves is not known"
        ]
    if len(reply) < 2 or not reply[1]:
        return [f"{lane.text} saves nothing to disk: runs are lost when it restarts (set appendonly yes)"]
    return []


def _fields(reply: Any) -> dict[str, str]:
    pairs = (line.split(":", 1) for line in reply.decode(errors="replace").splitlines() if ":" in line)
    return {name: value.strip() for name, value in pairs}
