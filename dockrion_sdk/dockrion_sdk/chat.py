"""Where a message of a chat goes in an agent's payload."""

from __future__ import annotations

from typing import Any, Final

from dockrion_adapters import Adapter, Chats

from .dockfile import Dockfile

_PLAIN: Final = "query"
"""The field that a message goes to, where nothing says otherwise."""


def chat_payload(message: str, adapter: Adapter, dockfile: Dockfile | None = None) -> Any:
    """Return the payload that says ``message``.

    It goes where the agent takes one: where the adapter says (the ``messages`` of a graph's state), else
    into the one required text of ``io_schema.input``, else into its one text, else into the field ``query``.
    """
    if isinstance(adapter, Chats):
        payload = adapter.chat_payload(message)
        if payload is not None:
            return payload
    return {_field(dockfile): message}


def _field(dockfile: Dockfile | None) -> str:
    schema = (dockfile.io_schema.input if dockfile is not None else None) or {}
    properties: dict[str, Any] = schema.get("properties") or {}
    texts = [name for name, field in properties.items() if _is_text(field)]
    required = [name for name in texts if name in (schema.get("required") or ())]
    for names in (required, texts):
        if len(names) == 1:
            return names[0]
    return _PLAIN


def _is_text(field: Any) -> bool:
    return isinstance(field, dict) and field.get("type") == "string"
