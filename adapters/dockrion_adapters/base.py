"""What an adapter is: the contracts, readable without any implementation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypedDict, runtime_checkable

from dockrion_events import EventsFilter, StreamContext

if TYPE_CHECKING:
    from .threads import WorkerPool

OWNER: Final = "dockrion_owner"
"""Key of ``config["configurable"]``: whose the thread is. Only for adapters with ``scopes_threads``."""

TEMPORARY: Final = "dockrion_temporary"
"""Key of ``config["configurable"]``: True if nobody but this execution knows the name of its thread. Only for
adapters with ``scopes_threads``, which delete what the execution stored under it, unless it waits for an
answer."""


@runtime_checkable
class Adapter(Protocol):
    """Runs the agents of one framework, unchanged.

    ``framework`` is the name it is registered under. ``agent_name`` names the loaded agent; who
    knows a better name may set it. An adapter whose agent keeps nothing under a ``thread_id`` may
    say so with an attribute ``keeps_threads = False``, and is then given none unless the caller names one.
    With ``forgets_threads = True`` it says that a ``thread_id`` changes nothing at all.

    A server gives ``owner/name`` as the ``thread_id``, so that owners' threads are apart. An adapter that
    sets ``scopes_threads = True`` gets the name alone, and the owner as `OWNER`; it keeps them apart itself.
    """

    framework: str
    agent_name: str

    def load(self, target: Any) -> None:
        """Take an agent: an object, or the entry point ``module:attribute`` of one.

        Raises `LoadError` where it is no agent of this framework.
        """

    def invoke(
        self,
        payload: Any,
        *,
        config: dict[str, Any] | None = None,
        context: StreamContext | None = None,
        **options: Any,
    ) -> Any:
        """Execute the agent and return the very object that it returns; raise what it raises.

        ``config`` and ``options`` belong to the framework. Events go to ``context``, where one is
        given, and wait there.
        """


@runtime_checkable
class AsyncAdapter(Adapter, Protocol):
    """An adapter that executes without holding a thread."""

    async def ainvoke(
        self,
        payload: Any,
        *,
        config: dict[str, Any] | None = None,
        context: StreamContext | None = None,
        **options: Any,
    ) -> Any:
        """Do what ``invoke`` does, from asynchronous code."""


@runtime_checkable
class StreamingAdapter(Adapter, Protocol):
    """An adapter whose executions can be watched.

    ``invoke_stream`` is a plain function and returns at once; nothing runs before the first
    iteration. Where it returns an `EventStream`, that holds the whole life of the execution. It may
    as well be an async generator of events and strings (a string is a token); `as_stream` wraps it
    in one.
    """

    def invoke_stream(
        self,
        payload: Any,
        *,
        config: dict[str, Any] | None = None,
        context: StreamContext | None = None,
        events_filter: EventsFilter | None = None,
        serialize: bool = False,
        **options: Any,
    ) -> AsyncIterator[Any]:
        """Return the stream of one execution."""


@runtime_checkable
class Resumes(StreamingAdapter, Protocol):
    """Optional: an adapter whose agents keep their progress where another process finds it."""

    def run_stream(
        self,
        payload: Any,
        *,
        run: str,
        resume: bool = False,
        config: dict[str, Any] | None = None,
        context: StreamContext | None = None,
        events_filter: EventsFilter | None = None,
        serialize: bool = False,
        **options: Any,
    ) -> AsyncIterator[Any]:
        """Return the stream of one execution of a run, which others may have executed before.

        ``run`` names the run for good: each of its executions is given the same name, and no other run
        ever is, not even one that has its id later. With ``resume`` the agent goes on from what the
        executions before have left behind; where they left nothing, it begins with the payload. A run
        that had ended, and whose end nobody was told, has the same output once more.

        What was being executed when a process died is executed again, so it happens at least once.
        """


@runtime_checkable
class Chats(Protocol):
    """Optional: an adapter that knows how its agent takes a message of a chat."""

    def chat_payload(self, message: str) -> Any:
        """Return the payload that says ``message``, or None where the agent takes no such thing."""


@runtime_checkable
class DescribesInput(Protocol):
    """Optional: an adapter that knows what payloads its agent takes."""

    def input_schema(self) -> dict[str, Any] | None:
        """Return a JSON Schema (Draft 2020-12) of the payload, or None if it is unknown.

        It stands in for `io_schema.input` of a Dockfile that has none: `/schema` and the OpenAPI document
        show it, and payloads that do not match are refused. It must not refuse what the agent accepts.
        An agent that takes a string (a chat model, a chain) says so with ``type``; without a schema a
        payload has to be a JSON object. References are local (``#/…``). Asked once, when the agent is
        loaded and its lifetime has begun; the caller does not change the result.
        """


@runtime_checkable
class ChecksInput(Protocol):
    """Optional: an adapter that can tell before an execution that its agent would refuse a payload."""

    async def check_input(self, payload: Any, *, config: dict[str, Any] | None = None) -> None:
        """Return if the agent takes ``payload`` in the thread that ``config`` names.

        Raises `InputRefused` if it does not. Executes nothing and stores nothing. A server that asks this
        does not hold payloads against `DescribesInput.input_schema` as well, but for the JSON types that
        the schema allows at its root.
        """


@runtime_checkable
class UsesThreads(Protocol):
    """Optional: an adapter that executes synchronous code in worker threads of its own choice."""

    def use_threads(self, pool: WorkerPool) -> None:
        """Use the threads of ``pool``. Called at most once, before anything is executed."""


@runtime_checkable
class Inspects(Protocol):
    """Optional: an adapter that has to ask its agent's own code what the agent is."""

    async def inspect(self) -> list[str]:
        """Learn what can be known of the agent; return warnings for whoever serves it, one line each.

        A server calls this once, within the lifetime, before it asks for schemas or the chat. A failure is
        logged and not raised.
        """


class GraphNode(TypedDict):
    """A node of an agent's graph.

    ``id`` is its path of names from the outermost graph, joined by ``:``, which a `StepEvent` has in its
    ``namespace`` (there with the id of a task behind each name) and ``node_name``. What is before the last
    ``:`` names the node that the graph around it runs in; such a node is not listed itself. ``kind`` is
    ``start`` or ``end`` for what only marks where the graph begins or ends.
    """

    id: str
    name: str
    kind: Literal["start", "node", "end"]


class GraphEdge(TypedDict):
    """A way from one node to another, by their ids; a conditional one is not always taken.

    ``label`` names what decides for it, where that has a name.
    """

    source: str
    target: str
    conditional: bool
    label: str | None


class AgentGraph(TypedDict):
    """An agent's graph, as JSON; whoever draws it chooses the layout."""

    nodes: list[GraphNode]
    edges: list[GraphEdge]


@runtime_checkable
class Drawable(Protocol):
    """Optional: an adapter whose agent is a graph that can be drawn."""

    def graph(self) -> AgentGraph | None:
        """Return the graph with its subgraphs; None where it is only known within an execution.

        May take a while, and be called from any thread.
        """


@runtime_checkable
class DescribesItself(Protocol):
    """Optional: an adapter that can say more about its agent."""

    def metadata(self) -> dict[str, Any]:
        """Return facts about the agent as JSON values; no secrets."""


@runtime_checkable
class HasLifetime(AbstractAsyncContextManager[Any, "bool | None"], Protocol):
    """Optional: an adapter that holds resources.

    A server enters it when it starts and leaves it when it stops, each once.
    """
