"""A fuzzer of requests, heads and frames against a real server: `make fuzz`.

Whatever is sent, the server goes on answering ``/health`` in time, its memory stays flat, it logs no
traceback, and what it answers is HTTP without a 500.
"""

from __future__ import annotations

import argparse
import re
import select
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from .cases import cases
from .support import KEY, MIB, Target, Watch, request, serving

AT_ONCE = 4
"""Connections that are open at once."""

QUIET_SECONDS = 0.05
"""A connection on which the server says nothing for so long has had its case."""

LONGEST_SECONDS = 2.0
MOST_BYTES = MIB
"""After so much of an answer a case is over: an endless stream is answered like that."""

LATENCY_SECONDS = 0.25
GROWTH_BYTES = 128 * MIB
"""Of thousands of connections, with a key or without one, including the runs that the latter made."""

AGENT = '''
async def handle(payload, context):
    """Take any payload: a failure of the agent would hide one of the server."""
    await context.emit_token(str(payload)[:100])
    return {"said": payload}
'''

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")


@dataclass
class Outcome:
    """What a session of fuzzing has seen."""

    seed: int
    sent: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        statuses = ", ".join(f"{status}: {count}" for status, count in sorted(self.statuses.items()))
        return f"seed {self.seed}: {self.sent.total()} connections; answers: {statuses}"


def fuzz(target: Target, seed: int, seconds: float) -> Outcome:
    """Send cases for so many seconds and return what was seen; faults are named, not raised."""
    outcome = Outcome(seed)
    with target.client() as client:
        client.post("/runs", params={"run_id": "known"}, json={"tokens": 3}).raise_for_status()
    drawn, turn = cases(seed), threading.Lock()
    deadline = time.monotonic() + seconds

    def work() -> None:
        while time.monotonic() < deadline and not outcome.faults:
            with turn:
                kind, data = next(drawn)
            outcome.sent[kind] += 1
            _play(target, kind, data, outcome)

    with Watch(target) as watch:
        threads = [threading.Thread(target=work) for _ in range(AT_ONCE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    outcome.faults += _faults_after(target, watch)
    return outcome


def _play(target: Target, kind: str, data: bytes, outcome: Outcome) -> None:
    """Play one case on a connection of its own."""
    try:
        with socket.create_connection(("127.0.0.1", target.port), timeout=LONGEST_SECONDS) as client:
            answered = b"".join(_exchange(client, data))
    except OSError as error:
        outcome.faults.append(f"{kind}: no connection: {error!r}; sent {data[:300]!r}")
        return
    found = _STATUS.match(answered)
    if answered and found is None:
        outcome.faults.append(f"{kind}: not HTTP: {answered[:100]!r}; sent {data[:300]!r}")
    elif found is not None:
        outcome.statuses[int(found[1])] += 1
        failed = [status for status in _STATUS.findall(answered) if status in (b"500", b"502", b"504")]
        if failed:
            outcome.faults.append(f"{kind}: {answered[:600]!r}; sent {data[:600]!r}")


def _exchange(client: socket.socket, data: bytes) -> Iterator[bytes]:
    """Send as the server takes, and yield what it sends meanwhile and afterwards."""
    client.setblocking(False)
    deadline = time.monotonic() + LONGEST_SECONDS
    view, received = memoryview(data), 0
    with suppress(ConnectionError):  # it may close while it is being sent to
        while time.monotonic() < deadline and received < MOST_BYTES:
            readable, writable, _ = select.select([client], [client] if view else [], [], QUIET_SECONDS)
            if not readable and not writable:
                return
            if readable:
                got = client.recv(65536)
                if not got:
                    return
                received += len(got)
                yield got
            if writable:
                view = view[client.send(view) :]


def _faults_after(target: Target, watch: Watch) -> Iterator[str]:
    if target.process.poll() is not None:
        yield f"the server ended with {target.process.returncode}"
    if watch.failures:
        yield f"/health failed: {watch.failures[0]}"
    if watch.worst > LATENCY_SECONDS + watch.noise:
        yield f"/health took {watch.worst * 1000:.0f} ms, and a bystander {watch.noise * 1000:.0f} ms"
    if watch.growth > GROWTH_BYTES:
        yield f"memory grew by {watch.growth / MIB:.0f} MiB"
    if "Traceback" in target.log:
        yield f"a traceback in the log: {target.log[target.log.index('Traceback') :][:2000]}"
    if KEY in target.log:
        yield "the key is in the log"
    with suppress(OSError), socket.create_connection(("127.0.0.1", target.port), timeout=5) as client:
        client.sendall(request("GET", "/health"))
        if not client.recv(100).startswith(b"HTTP/1.1 200"):
            yield "/health is not answered afterwards"


def main() -> int:
    """Fuzz a server of its own and print what was seen; 1 where there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder), agent=AGENT, keys=True, a2a=True) as target,
    ):
        outcome = fuzz(target, given.seed, given.seconds)
    print(outcome)
    for fault in outcome.faults:
        print(f"  fault: {fault}")
    return 1 if outcome.faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
