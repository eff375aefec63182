"""Making tickets and telling good ones from others.

A ticket is ``<grant>.<signature>``: a JSON array in base64url, and its HMAC-SHA256. The key of the HMAC is
derived from the first API key of the ticket's owner, with a label that keeps it apart from any other use of
that key. So every server that knows the API key verifies the ticket, whichever server made it; an API key
that is taken away takes its tickets with it; and a ticket says nothing about anybody else's key. It is as
hard to forge as its API key is to guess.

A ticket for a run may be used again until it expires, as an EventSource does when it reconnects. One for a
socket is good for one: each process remembers those it has honoured until they expire. Processes do not
tell each other, so N of them honour a ticket up to N times within its time.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from typing import Final, Literal, TypeAlias

import msgspec

Purpose: TypeAlias = Literal["run", "socket"]

PURPOSE: Final = "ticket_purpose"
"""The ``opt`` of a route that a ticket opens; its value is the ticket's `Purpose`."""

SECONDS: Final = 60
"""How long a ticket is good for. The clocks of servers that share keys have to agree better than that."""

_LABEL: Final = b"dockrion ticket 1"
_LONGEST: Final = 1024


class Grant(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What a ticket opens, to whom, and until when (seconds since the epoch).

    ``run_id`` is empty where the purpose is no run.
    """

    purpose: Purpose
    owner: str
    run_id: str
    expires: int
    nonce: str


_decode = msgspec.json.Decoder(Grant).decode


class Tickets:
    """Makes and checks tickets. ``keys`` returns the API keys of an owner; ``clock`` the time in seconds."""

    def __init__(
        self, keys: Callable[[str], Iterable[bytes]], *, clock: Callable[[], float] = time.time
    ) -> None:
        self._keys = keys
        self._clock = clock
        self._used: set[str] = set()
        self._forget: list[tuple[int, str]] = []  # a heap of those used, by when they expire

    def make(self, purpose: Purpose, owner: str, run_id: str = "") -> str:
        """Return a new ticket of the owner's."""
        expires = int(self._clock()) + SECONDS
        grant = Grant(purpose, owner, run_id, expires, secrets.token_urlsafe(12))
        body = _text(msgspec.json.encode(grant))
        key = next(iter(self._keys(owner)))
        return f"{body}.{_signature(key, body)}"

    def check(self, ticket: str, purpose: Purpose, run_id: str = "") -> Grant | None:
        """Return what a ticket grants, or None where it does not open this, or does so no more.

        A ticket for a socket is used up by this.
        """
        grant = self._genuine(ticket)
        now = self._clock()
        if grant is None or grant.expires <= now or (grant.purpose, grant.run_id) != (purpose, run_id):
            return None
        if purpose == "socket":
            while self._forget and self._forget[0][0] <= now:
                self._used.discard(heappop(self._forget)[1])
            if grant.nonce in self._used:
                return None
            self._used.add(grant.nonce)
            heappush(self._forget, (grant.expires, grant.nonce))
        return grant

    def _genuine(self, ticket: str) -> Grant | None:
        body, _, signature = ticket.partition(".")
        if len(ticket) > _LONGEST or not ticket.isascii():
            return None
        try:
            grant = _decode(_bytes(body))
        except (ValueError, msgspec.DecodeError):
            return None
        genuine = False
        for key in self._keys(grant.owner):
            genuine |= hmac.compare_digest(_signature(key, body), signature)
        return grant if genuine else None


def _signature(api_key: bytes, body: str) -> str:
    derived = hmac.digest(api_key, _LABEL, hashlib.sha256)
    return _text(hmac.digest(derived, body.encode(), hashlib.sha256))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
