"""What is looked at when a backend opens: can this Redis work, and is it safe?"""

from __future__ import annotations

import re
from typing import Any, Final

from ...errors import BackendUnavailable
from .commands import Commands
from .lanes import Lane

OLDEST: Final = (6, 2)


async def checked(commands: Commands) -> list[str]:
    """Return one line for each thing that is not safe. Raises `BackendUnavailable` for what cannot work."""
    lines: list[str] = []
    for lane in commands.lanes():
        for line in await _lines(commands, lane):
            if line not in lines:
                lines.append(line)
    return lines


async def _lines(commands: Commands, lane: Lane) -> list[str]:
    try:
        info = _fields(await commands.ask(lane, b"INFO"))
    except BackendUnavailable as error:
        if "NOPERM" not in str(error) and "unknown command" not in str(error):
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
