"""A server whose forked children hold none of its connections.

A child that an agent forks inherits every file descriptor. With the listening socket it would keep the port:
after the server's end, clients connect to a process that never accepts them. With an open connection it would
keep its client from seeing that the server has closed it.
"""

from __future__ import annotations

import os
import socket
import weakref
from collections.abc import Iterator
from contextlib import suppress

import uvicorn

_servers: weakref.WeakSet[ForkSafeServer] = weakref.WeakSet()
_listening: weakref.WeakSet[socket.socket] = weakref.WeakSet()


def keep_from_children(sock: socket.socket) -> None:
    """Let no child of this process have a listening socket, whether it is forked or executes a program."""
    sock.set_inheritable(False)
    _listening.add(sock)


class ForkSafeServer(uvicorn.Server):
    """uvicorn's server; in a forked child its sockets are closed."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        _servers.add(self)

    def descriptors(self) -> Iterator[int]:
        """Return the file descriptors of all connections."""
        for connection in list(self.server_state.connections):
            transport = getattr(connection, "transport", None)
            sock = None if transport is None else transport.get_extra_info("socket")
            if sock is not None:
                yield sock.fileno()


def _forked() -> None:
    descriptors = [sock.fileno() for sock in list(_listening)]
    for server in list(_servers):
        descriptors += server.descriptors()
    for descriptor in descriptors:
        if descriptor >= 0:
            # Replaced and not closed: what still refers to its number must not meet another file's.
            with suppress(OSError):
                nothing = os.open(os.devnull, os.O_RDWR)
                os.dup2(nothing, descriptor, inheritable=False)
                os.close(nothing)


if hasattr(os, "register_at_fork"):  # Windows has no forks
    os.register_at_fork(after_in_child=_forked)
