"""What a runnable takes, as far as that is decided by what comes first in it."""

from __future__ import annotations

from typing import Any, Final

from langchain_core.language_models import BaseLanguageModel
from langchain_core.output_parsers import BaseOutputParser
from langchain_core.prompts import BasePromptTemplate, ChatPromptTemplate, MessagesPlaceholder
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import (
    Runnable,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
    RunnableSequence,
    RunnableWithFallbacks,
)
from langchain_core.runnables.base import RunnableBindingBase, RunnableEachBase
from langchain_core.runnables.configurable import DynamicRunnable
from langchain_core.runnables.history import RunnableWithMessageHistory
from langchain_core.runnables.passthrough import RunnableAssign

TEXT: Final[dict[str, Any]] = {"type": "string"}
ANYTHING: Final[dict[str, Any]] = {"type": ["object", "array", "string", "number", "boolean"]}

_MESSAGE: Final[dict[str, Any]] = {"type": ["object", "array", "string"]}
_MESSAGES: Final[dict[str, Any]] = {"type": "array", "items": _MESSAGE}
_CONVERSATION: Final[dict[str, Any]] = {"anyOf": [TEXT, _MESSAGES]}
_JSON_TYPES: Final = ("string", "number", "integer", "boolean", "array", "object")


def first_of(runnable: Any) -> Any:
    """Return what gets the input of a runnable."""
    while True:
        if isinstance(runnable, RunnableWithMessageHistory):
            return runnable
        if isinstance(runnable, RunnableSequence):
            runnable = next((step for step in runnable.steps[:-1] if not _passes_on(step)), runnable.last)
        elif isinstance(runnable, RunnableBindingBase):
            runnable = runnable.bound
        elif isinstance(runnable, RunnableWithFallbacks):
            runnable = runnable.runnable
        elif isinstance(runnable, DynamicRunnable):
            runnable = runnable.default
        else:
            return runnable


def input_schema(runnable: Runnable[Any, Any]) -> dict[str, Any]:
    """Return a JSON Schema of what a runnable takes; one of any JSON value if that cannot be said.

    LangChain's own says that the values of a prompt are texts, and accepts others; and it knows nothing of
    what is passed on to several runnables side by side.
    """
    return _known_schema(runnable) or ANYTHING


def _known_schema(runnable: Runnable[Any, Any]) -> dict[str, Any] | None:
    first = first_of(runnable)
    if isinstance(first, BaseLanguageModel):
        return _CONVERSATION
    if isinstance(first, BasePromptTemplate):
        return _of_prompt(first)
    if isinstance(first, BaseRetriever):
        return TEXT
    if isinstance(first, BaseOutputParser):
        return {"type": ["string", "object"]}
    if isinstance(first, RunnableAssign):
        return {"type": "object"}
    if isinstance(first, RunnableEachBase):
        return {"type": "array"}
    if isinstance(first, RunnableParallel):
        return _of_all([_known_schema(step) for step in first.steps__.values()])
    if isinstance(first, RunnableLambda):
        return _of_function(first)
    return None


def _passes_on(step: Any) -> bool:
    return isinstance(step, RunnablePassthrough)


def _of_prompt(prompt: Any) -> dict[str, Any]:
    lists = [
        part.variable_name
        for part in (prompt.messages if isinstance(prompt, ChatPromptTemplate) else ())
        if isinstance(part, MessagesPlaceholder)
    ]
    names = [*prompt.input_variables, *getattr(prompt, "optional_variables", ())]
    properties = {name: dict(_MESSAGES) if name in lists else {"title": name} for name in sorted(set(names))}
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if prompt.input_variables:
        schema["required"] = sorted(prompt.input_variables)
    if len(prompt.input_variables) == 1:  # its value may come by itself
        return {"anyOf": [schema, _MESSAGES if prompt.input_variables[0] in lists else TEXT]}
    return schema


def _of_all(schemas: list[dict[str, Any] | None]) -> dict[str, Any] | None:
    """Return the schema of a value that several runnables take."""
    known = [schema for schema in schemas if schema is not None]
    if known and all(schema == known[0] for schema in known):
        return known[0]
    if known and all(_takes_text(schema) for schema in known):
        return TEXT
    return None


def _takes_text(schema: dict[str, Any]) -> bool:
    return schema.get("type") == "string" or any(map(_takes_text, schema.get("anyOf", ())))


def _of_function(runnable: Runnable[Any, Any]) -> dict[str, Any] | None:
    try:
        kind = runnable.get_input_jsonschema().get("type")
    except Exception:  # noqa: BLE001 - annotations that pydantic does not know
        return None
    return {"type": kind} if kind in _JSON_TYPES else None


def said(runnable: Runnable[Any, Any], message: str) -> Any:
    """Return the input that says ``message``: to a model or a prompt that comes first, or as a text.

    None if the runnable takes no such thing, or the prompt has other variables than the one.
    """
    first = first_of(runnable)
    if isinstance(first, BasePromptTemplate):
        if len(first.input_variables) != 1:
            return None
        name = first.input_variables[0]
        schema = _of_prompt(first)["anyOf"][0]
        listed = schema["properties"][name].get("type") == "array"
        return {name: [("user", message)]} if listed else {name: message}
    return message if _takes_text(input_schema(runnable)) else None
