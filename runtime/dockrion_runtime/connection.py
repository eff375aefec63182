"""What our own server offers a request besides ASGI: a way to its connection.

Other servers offer nothing of it, and nothing is lost there but speed, and an end for readers that
do not read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from litestar.types import Scope

CONNECTION: Final = "dockrion.connection"
"""The name of the ASGI extension."""


class Connection(Protocol):
    """The connection of one request."""

    def abort(self) -> None:
        """Drop the connection, whatever is still to be sent."""

    def drop_unread(self) -> None:
        """Drop the connection because its client does not read, and count that, once."""

    def when_lost(self, call: Callable[[], None] | None) -> None:
        """Have something called once the client has gone; None takes that back.

        It is not called where the client has gone already, which `lost` says.
        """

    @property
    def lost(self) -> bool:
        """Whether the client has gone."""

    def answer(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bool:
        """Send a whole answer now, as ``send`` would; False where only ``send`` can.

        Only for handlers between whose ``send`` and the connection nobody looks at what is sent.
        """

    def take_body(self) -> bytes | None:
        """Return the request's body, once, where all of it is there; None where it has to be received."""

    def write(self, body: bytes) -> bool:
        """Send a part of a streamed body now, as ``send`` would; False where only ``send`` can."""


def connection_of(scope: Scope) -> Connection | None:
    """Return the connection of a request, where the server offers it."""
    extensions: dict[str, Any] = scope.get("extensions") or {}
    return extensions.get(CONNECTION)
