"""A client's message as an agent's payload."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from a2a.types import Message
from a2a.utils.errors import ContentTypeNotSupportedError, InvalidParamsError

from .values import data_of


def payload_of(message: Message, chat: Callable[[str], Any]) -> Any:
    """Return the payload that a message stands for.

    A data part is the payload itself. Text parts, joined by line breaks, are what is said: ``chat`` makes a
    payload of it. A message with both has the fields of both. Raises `A2AError` for parts of other kinds,
    several data parts, data that is no object, and a field that both give.
    """
    texts: list[str] = []
    data: list[Any] = []
    for part in message.parts:
        kind = part.WhichOneof("content")
        if kind == "text":
            texts.append(part.text)
        elif kind == "data":
            data.append(data_of(part))
        else:
            raise ContentTypeNotSupportedError("a part is text or data here; files are not taken")
    if len(data) > 1 or (data and not isinstance(data[0], dict)):
        raise InvalidParamsError("there may be one data part, and it has to be an object: the payload")
    payload: dict[str, Any] = data[0] if data else {}
    if texts:
        said = chat("\n".join(texts))
        if not isinstance(said, dict):
            if data:
                raise InvalidParamsError("the agent takes a text or data, not both")
            return said
        twice = sorted(payload.keys() & said.keys())
        if twice:
            raise InvalidParamsError(f"both the text and the data give {', '.join(twice)}")
        payload = {**payload, **said}
    return payload
