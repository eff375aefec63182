"""Whether Redis lets this process do what it will have to: every command, and every script, once.

Redis learns of a missing right when a command needs it, which may be in the middle of a script. So it is
asked beforehand, and now and then, on keys that nobody else has, below the same prefix.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from redis.exceptions import RedisError

from ...errors import BackendUnavailable
from .commands import Commands
from .faults import FAILURES, forbidden
from .lanes import CONNECT_SECONDS, Lane, Part
from .queue_scripts import (
    COUNT,
    ENQUEUE,
    ENTERED,
    FORGET,
    INTEND,
    LEASE,
    MINE,
    OVERDUE,
    RECOVER,
    REQUEUE,
    TAKE,
    TIDY,
)
from .scripts import APPEND, CLAIM, CREATE, END, GET, READ, RELEASE, SUMMARIES, VERSION

SCRATCH_MS: Final = 60_000
"""So long scratch keys last where they cannot be deleted."""

ADVICE: Final = "the ACL that dockrion's user needs stands in docs/operators.md"

COMMANDS: Final = (
    "DEL", "EVAL", "EVALSHA", "HMGET", "HSET", "PEXPIRE", "PING", "PTTL", "TIME", "TYPE", "XACK", "XADD",
    "XCLAIM", "XDEL", "XGROUP", "XINFO", "XLEN", "XPENDING", "XRANGE", "XREADGROUP", "XREVRANGE", "XTRIM",
    "ZADD", "ZCOUNT", "ZRANGE", "ZRANGEBYSCORE", "ZREM", "ZREVRANGEBYSCORE", "ZSCORE",
)  # fmt: skip
"""Without these nothing works."""

HINT_COMMANDS: Final = ("PUBLISH", "SUBSCRIBE", "UNSUBSCRIBE")
"""Without these, or without the channels, everything works, but what others did is noticed late."""

OPTIONAL_COMMANDS: Final = ("CONFIG|GET", "INFO")
"""Without these it is not known whether Redis keeps what it is given."""

CONNECTION_COMMANDS: Final = ("SELECT",)
"""For a database other than 0."""

CLUSTER_COMMANDS: Final = ("ASKING", "CLUSTER|SLOTS")


class Scratch:
    """Keys that nobody else has, which share a hash tag."""

    def __init__(self, prefix: bytes, tag: str) -> None:
        base = prefix + b"selftest:{%b}" % tag.encode()
        self.record: bytes = base
        self.log: bytes = base + b":log"
        self.queue: bytes = base + b":queue"
        self.index: bytes = base + b":index"
        self.intents: bytes = base + b":intents"
        self.mine: bytes = base + b":of"
        self.channel: bytes = base + b":top"

    @property
    def all(self) -> tuple[bytes, ...]:
        return self.record, self.log, self.queue, self.index, self.intents, self.mine


async def selftest(
    commands: Commands, prefix: bytes, kept: dict[bytes, bytes]
) -> tuple[list[str], list[str]]:
    """Return what makes it impossible to work, and what only makes it slow, one line each.

    ``kept`` are the keys that all processes share, and the types they have to have. Raises
    `BackendUnavailable` where Redis does not answer, or takes no writes at present.
    """
    faults: list[str] = []
    warnings: list[str] = []
    for lane, tag in commands.places():
        missing = await _missing(commands, lane, Scratch(prefix, tag))
        if missing:
            names = ", ".join(missing)
            faults.append(f"Redis at {lane.text} does not allow {names}: {ADVICE}")
            continue
        faults += await _scripts(commands, lane, Scratch(prefix, tag))
        if not await _hints(commands, lane, Scratch(prefix, tag).channel):
            warnings.append(
                f"{lane.text} does not allow PUBLISH and SUBSCRIBE on {prefix.decode()}*: events and "
                f"cancellations reach other processes late, after up to a lease's third ({ADVICE})"
            )
    for key, wanted in kept.items() if not faults else ():
        found = await commands.call(key, b"TYPE", key)
        if found not in (b"none", wanted):
            told = f"is a {found.decode()}, and has to be a {wanted.decode()}"
            faults.append(f"the key {key.decode()} in Redis at {commands.text} {told}: somebody else's?")
    return faults, warnings


async def _missing(commands: Commands, lane: Lane, keys: Scratch) -> list[str]:
    """Return the commands, keys and channels that are not allowed."""
    probes = _probes(keys)
    answers = await asyncio.gather(*(commands.ask(lane, *probe) for probe in probes), return_exceptions=True)
    missing: list[str] = []
    for probe, answer in zip(probes, answers, strict=True):
        if isinstance(answer, BackendUnavailable):
            what = forbidden(answer.__cause__)
            if what is None and not _refused(answer):
                raise answer
            if what is not None:
                name = str(probe[0], "ascii") if isinstance(probe[0], bytes) else str(probe[0])
                told = name if what == "command" else f"{what} that begin with its prefix"
                if told not in missing:
                    missing.append(told)
        elif isinstance(answer, BaseException):
            raise answer
    return missing


def _refused(error: BackendUnavailable) -> bool:
    """Whether it is an error reply that tells nothing, such as that there is no such group yet."""
    cause = error.__cause__
    text = str(cause)
    return isinstance(cause, RedisError) and any(word in text for word in ("NOGROUP", "BUSYGROUP", "script"))


def _probes(keys: Scratch) -> list[tuple[Part, ...]]:
    """Return a harmless call of each command, the first ones of which make what the others look at."""
    record, queue, index = keys.record, keys.queue, keys.index
    return [
        (b"PING",),
        (b"TIME",),
        (b"EVAL", b"return 1", 0),
        (b"EVALSHA", b"0" * 40, 0),
        (b"HSET", record, b"v", VERSION),
        (b"HMGET", record, b"v"),
        (b"XADD", queue, b"*", b"k", b""),
        (b"XGROUP", b"CREATE", queue, b"g", b"0", b"MKSTREAM"),
        (b"ZADD", index, 1, b"k"),
        *((b"PEXPIRE", key, SCRATCH_MS) for key in (record, queue, index)),
        (b"PTTL", record),
        (b"TYPE", record),
        (b"XREADGROUP", b"GROUP", b"g", b"c", b"COUNT", 1, b"STREAMS", queue, b">"),
        (b"XPENDING", queue, b"g"),
        (b"XCLAIM", queue, b"g", b"c", 0, b"0-1"),
        (b"XACK", queue, b"g", b"0-1"),
        (b"XDEL", queue, b"0-1"),
        (b"XINFO", b"CONSUMERS", queue, b"g"),
        (b"XINFO", b"GROUPS", queue),
        (b"XGROUP", b"DELCONSUMER", queue, b"g", b"c"),
        (b"XLEN", queue),
        (b"XRANGE", queue, b"-", b"+", b"COUNT", 1),
        (b"XREVRANGE", queue, b"+", b"-", b"COUNT", 1),
        (b"XTRIM", queue, b"MAXLEN", 1),
        (b"ZCOUNT", index, b"-inf", b"+inf"),
        (b"ZRANGE", index, 0, 0),
        (b"ZRANGEBYSCORE", index, b"-inf", b"+inf", b"LIMIT", 0, 1),
        (b"ZREVRANGEBYSCORE", index, b"+inf", b"-inf", b"LIMIT", 0, 1),
        (b"ZSCORE", index, b"k"),
        (b"ZREM", index, b"k"),
        (b"DEL", *keys.all),
    ]


async def _scripts(commands: Commands, lane: Lane, keys: Scratch) -> list[str]:
    """Take a run through its life by all the scripts; return what does not work."""
    try:
        await commands.call(keys.record, b"DEL", *keys.all)
        await _life(commands, keys)
    except BackendUnavailable as error:
        if forbidden(error.__cause__) is None and "WRONGTYPE" not in str(error):
            raise
        return [f"Redis at {lane.text} does not run dockrion's scripts: {error}; {ADVICE}"]
    finally:
        await asyncio.gather(commands.call(keys.record, b"DEL", *keys.all), return_exceptions=True)
    return []


async def _life(commands: Commands, keys: Scratch) -> None:
    record, log, queue, index, intents, mine = keys.all
    group, consumer = b"g", b"c"

    async def run(*parts: Any) -> Any:
        script, names, *args = parts
        return await commands.run(script, names, *args)

    await run(INTEND, (intents, queue, mine), b"k", group, 2, 1)
    await run(OVERDUE, (intents,), 0, 0)
    await run(
        CREATE, (record, log, queue, index, mine), b"", b"", b"n", b"k", b"", b"p", SCRATCH_MS, SCRATCH_MS,
        b"", group, 2, 1,
    )  # fmt: skip
    await run(COUNT, (queue,), group)
    entry, *_ = await run(TAKE, (queue,), group, consumer, 1)
    await run(LEASE, (queue,), group, consumer, 1000, entry)
    await run(MINE, (queue,), group, consumer)
    await run(RECOVER, (queue,), group, consumer, 1, 1, 1, 0, 1)
    (claimed,) = await run(CLAIM, (record, log), b"p", keys.channel, entry, b"n", b"")
    fence = claimed[9]
    head = (fence, keys.channel, 1, SCRATCH_MS, SCRATCH_MS, b"epoch")
    await run(APPEND, (record, log), *head, 1, 2, b"", b"token", b"{}", b"token", b"{}")
    await run(READ, (log,), b"1-0", b"+", 1, 1)
    await run(GET, (record, log))
    await run(SUMMARIES, (record, log))
    await run(RELEASE, (record,), fence)
    again = await run(REQUEUE, (queue,), group, entry, b"k", VERSION)
    await run(ENTERED, (record,), again)
    await run(ENQUEUE, (queue, intents, mine), b"k", VERSION, SCRATCH_MS)
    await run(INTEND, (intents, queue, mine), b"l", group, 9, 1)
    await run(TIDY, (queue,), group, consumer, 1000)
    await run(
        END, (record, log), keys.channel, keys.channel, SCRATCH_MS, b"epoch", b"failed",
        b"started", b"{", b"error", b"{",
    )  # fmt: skip
    await run(FORGET, (index,), b"k", b"0")


async def _hints(commands: Commands, lane: Lane, channel: bytes) -> bool:
    """Say whether messages can be sent and received."""
    try:
        await commands.ask(lane, b"PUBLISH", channel, b"")
    except BackendUnavailable as error:
        if forbidden(error.__cause__) is None:
            raise
        return False
    connection = await commands.connection_for(None)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await connection.connect()  # type: ignore[no-untyped-call]
            for command in (b"SUBSCRIBE", b"UNSUBSCRIBE"):
                await connection.send_command(command, channel, check_health=False)
                await connection.read_response()
    except FAILURES as error:
        if forbidden(error) is None:
            raise BackendUnavailable(f"Redis at {lane.text} cannot be reached: {error}") from error
        return False
    finally:
        await connection.disconnect(nowait=True)
    return True
