"""Several Redis servers that belong together."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from .redis import PATIENCE, RedisServer, free_port

SLOTS = 16384


class _Group:
    def __init__(self) -> None:
        self._stack = ExitStack()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


class RedisCluster(_Group):
    """Three masters, which share the slots among them."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.nodes = [
            RedisServer(
                folder / f"node{number}",
                port=free_port(bus=True),
                cluster_enabled="yes",
                cluster_node_timeout="2000",
                cluster_require_full_coverage="no",
            )
            for number in range(3)
        ]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:2])

    def __enter__(self) -> Self:
        for number, node in enumerate(self.nodes):
            self._stack.enter_context(node)
            first, last = SLOTS * number // 3, SLOTS * (number + 1) // 3
            node.command("CLUSTER", "ADDSLOTS", *range(first, last))
            node.command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            node.command("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)
        self.await_complete()
        return self

    def await_complete(self) -> None:
        """Return when every node sees all of the cluster."""
        _await(lambda: all(self._complete(node) for node in self.nodes), "the cluster does not come up")

    def node_of(self, tag: str) -> RedisServer:
        """Return the master that has the slot of a hash tag."""
        slot = _number(self.nodes[0].command("CLUSTER", "KEYSLOT", tag))
        for node in self.nodes:
            reply = node.command("CLUSTER", "COUNTKEYSINSLOT", slot)
            if b"MOVED" not in node.command("EXISTS", f"{{{tag}}}") and reply.startswith(b":"):
                return node
        raise AssertionError(f"nobody has the slot {slot}")

    def move(self, tag: str) -> None:
        """Move the slot of a hash tag, and its keys, to another master."""
        source = self.node_of(tag)
        target = next(node for node in self.nodes if node is not source)
        slot = _number(source.command("CLUSTER", "KEYSLOT", tag))
        source_id, target_id = (_text(node.command("CLUSTER", "MYID")) for node in (source, target))
        target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        while keys := _bulks(source.command("CLUSTER", "GETKEYSINSLOT", slot, 100)):
            source.command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        for node in (target, *(node for node in self.nodes if node is not target)):
            node.command("CLUSTER", "SETSLOT", slot, "NODE", target_id)

    def flush(self) -> None:
        """Empty it."""
        for node in self.nodes:
            node.command("FLUSHALL")

    @staticmethod
    def _complete(node: RedisServer) -> bool:
        info = node.command("CLUSTER", "INFO")
        return b"cluster_state:ok" in info and b"cluster_slots_ok:16384" in info and b"known_nodes:3" in info


class SentinelTrio(_Group):
    """A master, a replica, and three sentinels that agree on the failure of the master."""

    service = "runs"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.master = RedisServer(folder / "master")
        self.replica = RedisServer(folder / "replica", replicaof=f"127.0.0.1 {self.master.port}")
        self.sentinels = [RedisServer(folder / f"sentinel{number}", sentinel=True) for number in range(3)]
        for sentinel in self.sentinels:
            sentinel.extra_lines = [
                f"sentinel monitor {self.service} 127.0.0.1 {self.master.port} 2",
                f"sentinel down-after-milliseconds {self.service} 1000",
                f"sentinel failover-timeout {self.service} 3000",
            ]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{self.service}/0"

    def __enter__(self) -> Self:
        for server in (self.master, self.replica, *self.sentinels):
            self._stack.enter_context(server)
        _await(self._complete, "the sentinels do not see each other")
        return self

    def _complete(self) -> bool:
        linked = b"master_link_status:up" in self.replica.command("INFO", "replication")
        states = [sentinel.command("INFO", "sentinel") for sentinel in self.sentinels]
        return linked and all(b"status=ok" in state and b"slaves=1,sentinels=3" in state for state in states)

    def await_replication(self) -> None:
        """Return when the replica has what the master has."""
        self.master.command("SET", "reached", 1)
        _await(lambda: self.replica.command("GET", "reached").endswith(b"1\r\n"), "no replication")


def _await(condition: object, message: str) -> None:
    assert callable(condition)
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(message)
        time.sleep(0.02)


def _number(reply: bytes) -> int:
    return int(reply.strip(b":\r\n"))


def _bulks(reply: bytes) -> list[bytes]:
    """Return the strings of a reply that is a short array, or one string."""
    return reply.split(b"\r\n")[2::2] if reply.startswith(b"*") else reply.split(b"\r\n")[1:2]


def _text(reply: bytes) -> bytes:
    return _bulks(reply)[0]
