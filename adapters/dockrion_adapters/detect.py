"""Which adapter an object wants, told without importing any framework."""

from __future__ import annotations

from typing import Any, Final

from .base import Adapter
from .errors import LoadError
from .objects import is_agent
from .registry import get_adapter

_BY_MODULE: Final = {
    "langgraph": "langgraph",
    "langchain_core.runnables": "langchain",
    "agentor": "agentor",
}
"""The framework whose agents have a base class from this package; of several, that of the first base."""


def framework_of(agent: Any) -> str:
    """Return the framework whose adapter takes ``agent``: a known framework's object,
    one with the methods of an agent, or a callable.

    Raises `LoadError` for anything else.
    """
    for base in type(agent).__mro__:
        for package, framework in _BY_MODULE.items():
            if f"{base.__module__}.".startswith(f"{package}."):
                return framework
    if is_agent(agent):
        return "object"
    if callable(agent):
        return "handler"
    raise LoadError(
        f"{agent!r:.80} is neither an agent of a known framework nor callable, and has no invoke or stream; "
        "name its framework, or write an adapter for it"
    )


def adapter_of(agent: Any) -> Adapter:
    """Return a new adapter with ``agent`` loaded. Raises `LoadError`."""
    adapter = get_adapter(framework_of(agent))
    adapter.load(agent)
    return adapter
