"""Who is calling: the guard that asks for an API key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from dockrion_sdk import Dockfile, DockfileError, Problem

from . import problems
from .keys import KeyRing
from .tickets.hiding import ticket_of
from .tickets.signing import PURPOSE, Purpose, Tickets

OPEN: Final = "open_to_all"
"""The ``opt`` of a route that needs no key."""

ANONYMOUS: Final = ""
"""The owner of everything where authentication is off."""

_IN_QUERY = frozenset({"api_key", "apikey", "api-key", "key", "x-api-key", "access_token", "token"})


class Authenticator:
    """A Litestar guard: finds the owner of a request, or refuses it with 401."""

    def __init__(self, ring: KeyRing, *, header: str, allow_bearer: bool) -> None:
        self._ring = ring
        self._header = header
        self._allow_bearer = allow_bearer
        self.secrets = ring.secrets
        self.warnings = ring.warnings
        self.owners: int = ring.owners
        self.tickets = Tickets(ring.keys_of)

    def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        purpose = handler.opt.get(PURPOSE)
        if purpose is None and ticket_of(connection) is not None:
            raise self._refusal("a ticket opens the events of one run, or one socket, and nothing else")
        if not handler.opt.get(OPEN):
            self.authenticate(connection, purpose)

    def authenticate(
        self, connection: ASGIConnection[Any, Any, Any, Any], purpose: Purpose | None = None
    ) -> None:
        """Find the owner of a request or a socket, which a ticket for ``purpose`` opens as well.

        Raises `Problem` 401.
        """
        if any(name.lower() in _IN_QUERY for name in connection.query_params):
            raise self._refusal("a key in a query string ends up in logs, so it is refused there")
        ticket = ticket_of(connection)
        if ticket is None or purpose is None:
            owner = self._owner_of_key(connection)
        else:
            grant = self.tickets.check(ticket, purpose, connection.path_params.get("run_id", ""))
            if grant is None:
                raise self._refusal("the ticket is not for this, was used or is too old; ask for another")
            owner = grant.owner
        connection.scope["state"]["owner"] = owner

    def _owner_of_key(self, connection: ASGIConnection[Any, Any, Any, Any]) -> str:
        key = connection.headers.get(self._header)
        if key is None and self._allow_bearer:
            scheme, _, token = connection.headers.get("authorization", "").partition(" ")
            key = token.strip() if scheme.lower() == "bearer" else None
        if not key:
            raise self._refusal("no API key was given")
        owner = self._ring.owner(key)
        if owner is None:
            raise self._refusal("the API key is not valid")
        return owner

    def _refusal(self, why: str) -> problems.Problem:
        bearer = " or as 'Authorization: Bearer …'" if self._allow_bearer else ""
        return problems.Problem(
            401,
            "UNAUTHORIZED",
            f"{why}; a key goes into the header {self._header}{bearer}",
            headers={"WWW-Authenticate": "Bearer" if self._allow_bearer else "ApiKey"},
            header=self._header,
        )


def owner_of(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """Return the owner that the guard found; `ANONYMOUS` where authentication is off."""
    owner: str = connection.scope["state"].get("owner", ANONYMOUS)
    return owner


def authenticator(dockfile: Dockfile, env: Mapping[str, str]) -> Authenticator | None:
    """Return the guard that the Dockfile asks for. Raises `DockfileError` where no valid key is set."""
    if dockfile.auth.mode == "none":
        return None
    keys = dockfile.auth.api_keys
    try:
        ring = KeyRing(env.get(keys.env_var, ""), variable=keys.env_var)
    except ValueError as error:
        problem = Problem("auth.api_keys.env_var", str(error))
        raise DockfileError(str(dockfile.file or "Dockfile"), [problem]) from None
    return Authenticator(ring, header=keys.header, allow_bearer=keys.allow_bearer)
