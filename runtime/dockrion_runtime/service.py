"""One agent being served: its adapter, its limits, and what a request needs of both."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, Literal, Protocol

from litestar import Request

from dockrion_adapters import (
    Adapter,
    DescribesInput,
    Driver,
    InputRefused,
    WorkerPool,
    abandoned_threads,
)
from dockrion_adapters.base import OWNER, TEMPORARY
from dockrion_adapters.threads import working_threads
from dockrion_events import EventEncoder, EventsFilter, StreamContext, as_sse, encode_json
from dockrion_events.bus.names import ID_RULE, THREAD_ID_RULE, is_id, is_thread_id
from dockrion_events.forms import Form
from dockrion_sdk import Dockfile
from dockrion_sdk.chat import chat_slots
from dockrion_sdk.json_schema import SchemaError, ValidationTimeout

from .answers import Chat, Readiness, RunsInfo
from .edge import Edge
from .json_text import decode_value
from .observability import Observability
from .observability.correlation import correlate
from .observability.meter import Kind
from .payload import check_payload, compiled, compiled_of_agent, faults, read_payload
from .problems import Problem, not_started, overloaded
from .stream import Disclosure, Execution, OutputInvalid, input_errors, shutdown_event
from .uuids import random_uuid
from .wire import body_at_hand, body_of, header, query, refuse_other_bodies

log = logging.getLogger("dockrion")

LAST_WORDS_SECONDS: Final = 0.3
"""Seconds in which streams that the shutdown ended may still send their last event."""

NOTHING_KEPT: Final = "nothing is kept under a thread_id: the agent has no checkpointer"


class LeavesOff(Protocol):
    """A connection that outlives its executions, and is closed when the server shuts down."""

    async def leave_off(self) -> None:
        """Close in a way that makes the client come back elsewhere."""


class RunsOfService(Protocol):
    """What a service knows of its runs, where there are any."""

    async def drain(self, grace: float) -> None:
        """End within ``grace`` seconds and a little."""

    async def reachable(self) -> bool:
        """Say whether the store answers."""

    def info(self) -> RunsInfo:
        """Return what ``/info`` says of them."""


class Service:
    """What the routes work with. Lives on one event loop; nothing here is shared with threads."""

    def __init__(
        self,
        dockfile: Dockfile,
        adapter: Adapter,
        *,
        redact: Callable[[str], str],
        observability: Observability | None = None,
    ) -> None:
        events = dockfile.streaming.events
        expose = dockfile.expose
        self.dockfile = dockfile
        self.edge = Edge(expose.limits, max_body_bytes=expose.max_body_bytes)
        shown = expose.errors or ("type" if dockfile.auth.mode == "none" else "full")
        self.disclosure = Disclosure(redact, shown)
        self.observability: Observability = observability or Observability()
        self.events_filter: EventsFilter = events.events_filter
        self.encoder = EventEncoder(events.max_event_bytes)
        self.agent = Driver(adapter, WorkerPool(expose.limits.threads))
        self.ready = False
        self.draining = False
        self.runs: RunsOfService | None = None
        self.sockets: set[LeavesOff] = set()
        self._silent = EventsFilter("minimal")
        self._chat: Chat | None = None
        self._chat_known = False
        self._warned_of_threads = False
        self._active = 0
        self._executions: set[Execution[Any]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        schema = dockfile.io_schema
        self.input_schema: dict[str, Any] | None = schema.input
        self._check_seconds = expose.limits.check_seconds
        self._input = compiled(schema.input, self._check_seconds)
        self._kinds_only = False
        self._output = compiled(schema.output if schema.strict else None, self._check_seconds)

    @property
    def describes_input(self) -> bool:
        """Whether payloads are checked, as far as can be said before the agent is open."""
        return (
            self.input_schema is not None
            or self.agent.checks_input
            or isinstance(self.agent.adapter, DescribesInput)
        )

    def learn_input_schema(self) -> None:
        """Take the agent's own input schema where the Dockfile has none; its lifetime has begun.

        An adapter that checks input itself (`ChecksInput`) knows better than its schema: of that, only the
        kinds of JSON at its root count.
        """
        adapter = self.agent.adapter
        if self.input_schema is not None or not isinstance(adapter, DescribesInput):
            return
        try:
            schema = adapter.input_schema()
            if schema is not None:
                self._input = compiled_of_agent(schema, self._check_seconds)
                self._kinds_only = self.agent.checks_input
        except SchemaError as error:
            where = ".".join(map(str, error.path)) or "$"
            log.warning("the agent's own input schema is not used: %s: %s", where, error.message)
        else:
            self.input_schema = schema

    # -- a request -----------------------------------------------------------------------------

    async def payload(self, request: Request[Any, Any, Any]) -> Any:
        """Read and check the request's body. Raises `Problem`."""
        limit, limits = self.dockfile.expose.max_body_bytes, self.edge.limits
        body = body_at_hand(request, limit)
        if body is None:
            try:
                async with asyncio.timeout(limits.body_seconds):
                    body = await body_of(request, limit)
            except TimeoutError:
                told = f"the body did not arrive within {limits.body_seconds:g} s"
                raise Problem(408, "BODY_TIMEOUT", told) from None
        try:
            return read_payload(body, self._input, growth=limits.json_growth, kinds_only=self._kinds_only)
        except Problem as problem:
            if problem.code == "INVALID_JSON":
                refuse_other_bodies(request, body)
            raise

    def check_payload(self, payload: Any) -> None:
        """Hold a payload against the input schema. Raises `Problem`."""
        check_payload(payload, self._input, kinds_only=self._kinds_only)

    def new_request_id(self) -> str:
        """Return a fresh identifier, used for nothing but correlation."""
        return random_uuid()

    def request_id(self, request: Request[Any, Any, Any]) -> str:
        """Return the identifier of a request, its client's own or a fresh one; the log is told of it.

        Raises `Problem` where the client's is none.
        """
        request_id = header(request, b"x-request-id")
        if request_id is None:
            request_id = self.new_request_id()
        elif not is_id(request_id):
            raise Problem(400, "INVALID_REQUEST_ID", f"X-Request-ID: {ID_RULE}")
        correlate(request_id=request_id)
        return request_id

    def thread_id(self, request: Request[Any, Any, Any]) -> str | None:
        """Return the conversation that the caller names, if one. Raises `Problem`."""
        thread_id = query(request, "thread_id")
        if thread_id is not None and not is_thread_id(thread_id):
            raise Problem(400, "INVALID_THREAD_ID", f"thread_id: {THREAD_ID_RULE}")
        return thread_id

    def config(self, owner: str, thread_id: str | None, run_id: str | None = None) -> dict[str, Any]:
        """Return the framework's config: the conversation is the caller's own, the run's, or a new one.

        One that the caller does not name is temporary, for adapters that know what that means.
        """
        agent = self.agent
        named = thread_id is not None
        if thread_id is None:
            if not agent.keeps_threads:
                return {}  # a thread_id costs LangGraph 6 microseconds a node, for nothing here
            thread_id = run_id or self.new_request_id()  # a request's id is its client's to choose
        elif agent.forgets_threads:
            self._warn_of_threads()
        if not agent.scopes_threads:
            return {"configurable": {"thread_id": f"{owner}/{thread_id}" if owner else thread_id}}
        configurable: dict[str, Any] = {"thread_id": thread_id}
        if owner:
            configurable[OWNER] = owner
        if not named:
            configurable[TEMPORARY] = True
        return {"configurable": configurable}

    def thread_of(self, config: dict[str, Any]) -> str | None:
        """Return the conversation of a config as its caller names it; None if the agent keeps none."""
        agent = self.agent
        if not agent.scopes_threads or agent.forgets_threads or "configurable" not in config:
            return None
        thread_id: str = config["configurable"]["thread_id"]
        return thread_id

    def thread_headers(self, config: dict[str, Any]) -> list[tuple[bytes, bytes]]:
        """Return the headers that say what becomes of the conversation of a config."""
        thread_id = self.thread_of(config)
        if thread_id is not None:
            return [(b"x-thread-id", thread_id.encode())]
        configurable = config.get("configurable", {TEMPORARY: True})
        if TEMPORARY not in configurable and self.agent.forgets_threads:
            return [(b"warning", b'299 dockrion "%b"' % NOTHING_KEPT.encode())]
        return []

    def _warn_of_threads(self) -> None:
        if not self._warned_of_threads:
            self._warned_of_threads = True
            log.warning("a request names a thread_id; %s (told once)", NOTHING_KEPT)

    async def check_input(self, payload: Any, config: dict[str, Any]) -> None:
        """Let the agent's framework say whether the agent takes a payload. Raises `Problem` 422."""
        try:
            await self.agent.check_input(payload, config)
        except InputRefused as refused:
            redact = self.disclosure.redact
            raise Problem(
                422, "INVALID_INPUT", redact(str(refused)), **input_errors(refused, redact)
            ) from None

    def chat(self) -> Chat | None:
        """Return how a client says a message to the agent; None if that is not known, or not so simple.

        Asked for within the agent's lifetime, when its input is known.
        """
        if not self._chat_known:
            self._chat_known = self.ready
            self._chat = None
            for slot in chat_slots(self.agent.adapter, self.input_schema):
                try:
                    self.check_payload(slot.payload)
                except Problem:
                    continue
                self._chat = Chat(
                    **slot._asdict(),
                    keeps_threads=self.agent.keeps_threads and not self.agent.forgets_threads,
                )
                break
        return self._chat

    def context(self, request_id: str, *, watched: bool) -> StreamContext:
        """Return the context of an execution; an unwatched one builds no events at all."""
        context = StreamContext(request_id, events_filter=self.events_filter if watched else self._silent)
        context.describe_error = self.disclosure.of_tool
        return context

    def enter(self) -> None:
        """Take one of the places for executions, until `leave`. Raises `Problem` 503 where there is none."""
        if self.draining:
            raise overloaded("the server is shutting down", code="SHUTTING_DOWN", retry_after=5)
        if not self.ready:
            raise not_started()
        limit = self.dockfile.expose.max_concurrent
        if self._active + working_threads() >= limit:  # which is quick; abandoned ones have to be counted
            abandoned = abandoned_threads()
            if self._active + abandoned >= limit:
                held = f", {abandoned} by cancelled code that has not returned" if abandoned else ""
                raise overloaded(f"all {limit} places for executions are taken{held}; try again in a moment")
        self._active += 1
        self._idle.clear()

    def leave(self) -> None:
        """Give a place back."""
        self._active -= 1
        if not self._active:
            self._idle.set()

    @property
    def active(self) -> int:
        """How many invocations and direct streams there are."""
        return self._active

    @property
    def executing(self) -> int:
        """How many executions there are, of runs too."""
        return self._active + (0 if self.runs is None else self.runs.info().executing or 0)

    def execute(
        self, payload: Any, config: dict[str, Any], context: StreamContext, form: Form = as_sse
    ) -> Execution[Any]:
        """Return a watched execution for one reader, which a shutdown ends; `forget` it afterwards."""
        execution = self.execution(payload, config, context, form)
        self._executions.add(execution)
        return execution

    def execution(
        self,
        payload: Any,
        config: dict[str, Any],
        context: StreamContext,
        form: Form,
        *,
        id_field: Literal["request_id", "run_id"] = "request_id",
        after: int = 0,
        attempt: int = 1,
        run: str | None = None,
        resume: bool = False,
        trace: dict[str, str] | None = None,
    ) -> Execution[Any]:
        """Return an execution; its events leave in this form, and nothing runs before `wait`.

        Where ``after`` events of its stream are out already, this is another ``attempt`` at it. For
        ``run`` and ``resume`` see `Driver.stream`. ``trace`` is the one it belongs to, where that is
        not the current one.
        """
        stream = self.agent.stream(payload, config, context, run=run, resume=resume)
        thread_id = self.thread_of(config)
        if thread_id is not None:
            stream.metadata["thread_id"] = thread_id
        if self._output is not None:
            stream.check_output = self.check_output
        if after:
            stream.go_on(after=after, attempt=attempt)
        kind: Kind = "run" if id_field == "run_id" else "stream"
        watchers, trace_id = self.observability.watch(kind, context.run_id, attempt=attempt, trace=trace)
        return Execution(
            stream,
            form=form,
            encoder=self.encoder,
            max_seconds=self.dockfile.streaming.events.max_run_duration,
            disclosure=self.disclosure,
            id_field=id_field,
            watchers=watchers,
            trace_id=trace_id,
        )

    def forget(self, execution: Execution[Any]) -> None:
        """An execution has ended and its reader is gone."""
        self._executions.discard(execution)
        self.leave()

    def check_output(self, output: Any) -> None:
        """Raise `OutputInvalid` where the output does not fit ``io_schema.output`` and strict is set."""
        if self._output is None:
            return
        try:
            found = faults(self._output, decode_value(encode_json(output)))
        except ValidationTimeout:
            raise OutputInvalid("$: checking it against the schema took too long") from None
        if found:
            raise OutputInvalid(f"{found[0]['path']}: {found[0]['message']}")

    async def state(self) -> Readiness:
        """Return ``ready``, or why work cannot be taken."""
        if self.draining:
            return "shutting down"
        if not self.ready:
            return "starting"
        if abandoned_threads() >= self.abandoned_limit:
            return "too many abandoned threads"
        if self.runs is not None and not await self.runs.reachable():
            return "store unavailable"
        return "ready"

    @property
    def abandoned_limit(self) -> int:
        """How many abandoned threads are too many: at most all, and one for each place for executions."""
        expose = self.dockfile.expose
        return min(expose.limits.abandoned_threads, expose.limits.threads, expose.max_concurrent)

    # -- the end of the server -----------------------------------------------------------------

    async def idle_within(self, seconds: float) -> bool:
        """Wait up to ``seconds`` for the last execution to end; say whether it has."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def drain(self, grace: float) -> None:
        """Refuse new work, let what runs end within ``grace`` seconds, then end it."""
        self.draining = True
        runs = asyncio.create_task(self.runs.drain(grace)) if self.runs is not None else None
        await self._drain_streams(grace)
        if runs is not None:
            await runs
        await asyncio.gather(*(socket.leave_off() for socket in self.sockets), return_exceptions=True)

    async def _drain_streams(self, grace: float) -> None:
        if not await self.idle_within(grace):
            for execution in list(self._executions):
                execution.stop(shutdown_event())
            await self.idle_within(LAST_WORDS_SECONDS)
