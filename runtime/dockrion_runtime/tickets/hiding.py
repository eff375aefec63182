"""Keeping tickets out of sight: nothing behind this sees one in an address, and no log shows it."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote_plus

from litestar.connection import ASGIConnection
from litestar.types import ASGIApp, Message, Receive, Scope, Send

_TICKETS: Final = "dockrion.tickets"
"""The member of a scope that holds the tickets of a request; absent where it came with none."""

_NO_REFERRER: Final = (b"referrer-policy", b"no-referrer")


def hide_tickets(app: ASGIApp) -> ASGIApp:
    """Return an app in whose scopes ``ticket`` is no part of the query string; `ticket_of` has it.

    It is taken out of the scope that the server gave, which is what its access log is written from.
    """

    async def hiding(scope: Scope, receive: Receive, send: Send) -> None:
        query: bytes = scope["query_string"]
        parts = query.split(b"&") if query else []
        found = [part for part in parts if _name(part) == "ticket"]
        if not found:
            await app(scope, receive, send)
            return
        scope["query_string"] = b"&".join(part for part in parts if part not in found)
        tickets = [unquote_plus(part.partition(b"=")[2].decode("latin-1")) for part in found]
        members: dict[str, Any] = scope  # type: ignore[assignment]  # ASGI lets a scope have more of them
        members[_TICKETS] = tickets

        async def unreferred(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], _NO_REFERRER]
            await send(message)

        await app(scope, receive, unreferred)

    return hiding


def _name(part: bytes) -> str:
    return unquote_plus(part.partition(b"=")[0].decode("latin-1")).lower()


def ticket_of(connection: ASGIConnection[Any, Any, Any, Any]) -> str | None:
    """Return the ticket that a request came with; None where there is none.

    Of several none is good: the text that is returned then is no ticket.
    """
    found: list[str] = connection.scope.get(_TICKETS, [])  # type: ignore[assignment]
    return found[0] if len(found) == 1 else ("" if found else None)
