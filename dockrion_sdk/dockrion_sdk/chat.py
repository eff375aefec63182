"""Where a message of a chat goes in an agent's payload."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from dockrion_adapters import Adapter, Chats

_PLAIN: Final = "query"
"""The field that a message goes to, where nothing says otherwise."""

_PROBE: Final = "Hello"


def chat_payload(message: str, adapter: Adapter, schema: dict[str, Any] | None = None) -> Any:
    """Return the payload that says ``message``; ``schema`` is the agent's input schema, if one is known.

    It goes where the agent takes one: where the adapter says (the ``messages`` of a graph's state, the prompt
    of a model), else into the one required text of the schema, else into its one text, else into the field
    ``query``. A schema of a text takes the message itself.
    """
    for payload in _known(message, adapter, schema):
        return payload
    return {_PLAIN: message}


class ChatSlot(NamedTuple):
    """A payload that says something, and the path of keys and indexes in it to where the message stands.

    The path is empty if the payload is the message itself.
    """

    payload: Any
    path: list[str | int]


def chat_slots(adapter: Adapter, schema: dict[str, Any] | None = None) -> Iterator[ChatSlot]:
    """Yield how a message is said to an agent that is known to take one, as its client would send it.

    The best known comes first; nothing comes if only the field ``query`` could be guessed.
    """
    for payload in _known(_PROBE, adapter, schema):
        path = _path_to_probe(payload)
        if path is not None:
            yield ChatSlot(payload, path)


def _known(message: str, adapter: Adapter, schema: dict[str, Any] | None) -> Iterator[Any]:
    payload = adapter.chat_payload(message) if isinstance(adapter, Chats) else None
    if payload is not None:
        yield payload
    if _is_text(schema):
        yield message
    field = _text_field(schema or {})
    if field is not None:
        yield {field: message}


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


def _text_field(schema: dict[str, Any]) -> str | None:
    properties: dict[str, Any] = schema.get("properties") or {}
    texts = [name for name, field in properties.items() if _is_text(field)]
    required = [name for name in texts if name in (schema.get("required") or ())]
    for names in (required, texts):
        if len(names) == 1:
            return names[0]
    return None


def _is_text(field: Any) -> bool:
    return isinstance(field, dict) and field.get("type") == "string"
