"""Every error this package raises; what an agent raises passes through unchanged.

::

    AdapterError (DockrionError)
    ├── LoadError            an entry point that cannot be loaded, or is no agent
    ├── UnknownFramework     no adapter is registered under that name
    ├── MissingExtra         the adapter's framework is not installed
    ├── AgentCancelled       the agent raised CancelledError though nobody had cancelled it
    ├── AgentFailed          an adapter's own stream ended with an error event
    ├── InputRefused         the agent does not take this payload
    └── NoWorkerThreads      every worker thread is held by code that was cancelled and does not end
"""

from __future__ import annotations

from typing import Any

from dockrion_events import DockrionError


class AdapterError(DockrionError):
    """Base of the errors that adapters raise by themselves."""


class LoadError(AdapterError):
    """The entry point cannot be loaded, or what it names is no agent of this framework."""


class UnknownFramework(AdapterError, LookupError):
    """No adapter is registered under that name."""


class MissingExtra(AdapterError, ImportError):
    """The adapter's framework is not installed; the message names the extra that brings it."""


class AgentCancelled(AdapterError):
    """The agent raised ``CancelledError`` though nobody had cancelled it."""


class AgentFailed(AdapterError):
    """An adapter's own stream ended with an error event; carries its ``code`` and ``details``."""

    def __init__(self, error: str, code: str, details: Any = None) -> None:
        super().__init__(error)
        self.code = code
        self.details = details


class InputRefused(AdapterError, ValueError):
    """The agent does not take this payload.

    ``path`` names the value that is refused, as keys and indexes joined by dots; ``$`` is the whole payload.
    """

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message if path == "$" else f"{path}: {message}")
        self.path = path
        self.message = message


class NoWorkerThreads(AdapterError):
    """Every worker thread is held by cancelled code that does not end."""
