"""Adapters: one for each framework, all giving the same stream of events.

An adapter of a framework is imported when it is first asked for, so that using another does not load it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .base import (
    Adapter,
    AgentGraph,
    AsyncAdapter,
    Chats,
    ChecksInput,
    DescribesInput,
    DescribesItself,
    Drawable,
    GraphEdge,
    GraphNode,
    HasLifetime,
    Inspects,
    Resumes,
    StreamingAdapter,
    UsesThreads,
)
from .detect import adapter_of
from .driver import Driver
from .entrypoint import load_entrypoint
from .errors import (
    AdapterError,
    AgentCancelled,
    AgentFailed,
    InputRefused,
    LoadError,
    MissingExtra,
    NoWorkerThreads,
    UnknownFramework,
)
from .handler import HandlerAdapter
from .objects import ObjectAdapter
from .registry import available_frameworks, get_adapter, register_adapter
from .stream import EventStream, as_stream
from .threads import WorkerPool, abandoned_threads

if TYPE_CHECKING:
    from .langchain import LangChainAdapter
    from .langgraph import LangGraphAdapter, LangGraphBackend

__all__ = [
    "Adapter",
    "AdapterError",
    "AgentCancelled",
    "AgentFailed",
    "AgentGraph",
    "AsyncAdapter",
    "Chats",
    "ChecksInput",
    "DescribesInput",
    "DescribesItself",
    "Drawable",
    "Driver",
    "EventStream",
    "GraphEdge",
    "GraphNode",
    "HandlerAdapter",
    "HasLifetime",
    "InputRefused",
    "Inspects",
    "LangChainAdapter",
    "LangGraphAdapter",
    "LangGraphBackend",
    "LoadError",
    "MissingExtra",
    "NoWorkerThreads",
    "ObjectAdapter",
    "Resumes",
    "StreamingAdapter",
    "UnknownFramework",
    "UsesThreads",
    "WorkerPool",
    "abandoned_threads",
    "adapter_of",
    "as_stream",
    "available_frameworks",
    "get_adapter",
    "load_entrypoint",
    "register_adapter",
]


def __getattr__(name: str) -> Any:
    if name in ("LangGraphAdapter", "LangGraphBackend"):
        from . import langgraph

        return getattr(langgraph, name)
    if name == "LangChainAdapter":
        from .langchain import LangChainAdapter

        return LangChainAdapter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
