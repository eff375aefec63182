"""Where a message of a chat goes in an agent's payload."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from dockrion_adapters import Adapter, Chats

_PLAIN: Final = "query"
"""The field that a message goes to, where nothing says otherwise."""

_PROBE: Final = "Hello"


def chat_payload(message: str, adapter: Adapter, schema: dict[str, Any] | None = None) -> Any:
    """Return the payload that says ``message``; ``schema`` is the agent's input schema, if one is known.

    It goes where the agent takes one: where the adapter says (the ``messages`` of a graph's state), else
    into the one required text of the schema, else into its one text, else into the field ``query``. It is
    the payload itself where the agent takes nothing but a text.
    """
    if isinstance(adapter, Chats):
        payload = adapter.chat_payload(message)
        if payload is not None:
            return payload
    return message if _is_text(schema) else {_named_field(schema) or _PLAIN: message}


class ChatSlot(NamedTuple):
    """A payload that says something, and the path of keys and indexes in it to where the message stands."""

    payload: Any
    path: list[str | int]


def chat_slot(adapter: Adapter, schema: dict[str, Any] | None = None) -> ChatSlot | None:
    """Return how a message is said to an agent that is known to take one, as its client would send it.

    None where only the field ``query`` could be guessed, or where the payload is no JSON.
    """
    payload = adapter.chat_payload(_PROBE) if isinstance(adapter, Chats) else None
    if payload is None and (_is_text(schema) or _named_field(schema) is not None):
        payload = chat_payload(_PROBE, adapter, schema)
    path = _path_to_probe(payload)
    return ChatSlot(payload, path) if isinstance(payload, dict | str) and path is not None else None


def _path_to_probe(value: Any) -> list[str | int] | None:
    if value == _PROBE:
        return []
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    for key, item in items:
        path = _path_to_probe(item)
        if path is not None:
            return [key, *path]
    return None


def _named_field(schema: dict[str, Any] | None) -> str | None:
    schema = schema or {}
    properties: dict[str, Any] = schema.get("properties") or {}
    texts = [name for name, field in properties.items() if _is_text(field)]
    required = [name for name in texts if name in (schema.get("required") or ())]
    for names in (required, texts):
        if len(names) == 1:
            return names[0]
    return None


def _is_text(field: Any) -> bool:
    return isinstance(field, dict) and field.get("type") == "string"
