"""What the creator of a run asked for, as the store keeps it."""

from __future__ import annotations

from typing import Any

import msgspec

from dockrion_events.bus import RunRecord
from dockrion_events.bus.names import run_id_of

from ..json_text import read_float


class Origin(msgspec.Struct, frozen=True, omit_defaults=True):
    """The HTTP request that a run was accepted by, and the W3C trace context of that.

    With ``conversation`` the client was given the run's id as the name of a conversation to go on with.
    """

    request_id: str | None = None
    trace: dict[str, str] | None = None
    conversation: bool = False


class RunRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """The payload, and the conversation that the run belongs to (None: one of its own).

    ``origin`` is where it came from, for whoever executes it. It is no part of what was asked for.
    """

    payload: Any
    thread_id: str | None = None
    origin: Origin | None = None

    def encode(self) -> bytes:
        """Return the JSON that the store keeps."""
        return msgspec.json.encode(self)


def _number(text: str) -> int | float:
    value = float(text)
    return int(value) if value.is_integer() else value


_decode = msgspec.json.Decoder(RunRequest, float_hook=read_float).decode
_decode_canonical = msgspec.json.Decoder(float_hook=_number).decode


def decode_request(data: bytes) -> RunRequest:
    """Return the request that `RunRequest.encode` made ``data`` of."""
    return _decode(data)


def same_request(one: bytes, other: bytes) -> bool:
    """Say whether two encoded requests ask for the same: members have no order, and 1.0 is 1.

    A run that a program wrote by itself has no request, and equals none that a client makes; nor does one
    whose request is broken.
    """
    try:
        return one == other or (bool(one and other) and _canonical(one) == _canonical(other))
    except (msgspec.MsgspecError, AttributeError):
        return False


def _canonical(data: bytes) -> bytes:
    asked = _decode_canonical(data)
    asked.pop("origin", None)
    return msgspec.json.encode(asked, order="sorted")


def lasting_name(record: RunRecord) -> str:
    """Return a name that stays this run's, though its id may be another's when it is not kept any more."""
    return f"{run_id_of(record.key)}@{record.created_at.isoformat()}"
