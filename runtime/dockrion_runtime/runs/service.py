"""Runs as the routes and the server see them: made, read, followed, cancelled, executed."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Protocol, TypeAlias, TypedDict, TypeVar
from urllib.parse import quote

from dockrion_events import (
    BackendUnavailable,
    CancelledEvent,
    EncodedEvent,
    QueueFull,
    QuotaExceeded,
    RunNotFound,
    StartedEvent,
    StoreFull,
    as_encoded,
)
from dockrion_events.bus import (
    EventBackend,
    Follower,
    MemoryBackend,
    RunRecord,
    RunState,
    RunSummary,
    ending,
)
from dockrion_events.bus.names import ID_RULE, is_id, run_id_of, run_key
from dockrion_sdk import Dockfile

from ..answers import RunsInfo
from ..observability.correlation import correlate, current_ids
from ..observability.meter import Meter
from ..problems import Problem, overloaded
from ..service import LAST_WORDS_SECONDS, Service
from ..stream import Execution
from .executor import Executor
from .ids import IdGenerator, id_of_idempotency_key
from .leases import LeaseKeeper
from .request import Origin, RunRequest, decode_request, lasting_name, same_request

log = logging.getLogger("dockrion")


FULL_RETRY_SECONDS: Final = 5
"""When to ask again a store that takes no run."""


class Limits(TypedDict):
    """What both stores bound in the same way."""

    max_waiting: int
    owner_share: float


class Subscriber(Protocol):
    """What sends a run's events to one reader."""

    def leave_off(self) -> None:
        """End in mid-run, in a way that makes the reader come back."""


V = TypeVar("V", bound=Subscriber)
Closed: TypeAlias = Callable[[Subscriber], None]


class Runs:
    """The runs of one agent, in one store. Lives on one event loop.

    Methods take the owner that a request was authenticated as; a run of another owner is a run that
    does not exist. They raise `Problem`, and `BackendUnavailable` where the store does not answer.
    """

    def __init__(
        self,
        service: Service,
        make_backend: Callable[[], EventBackend],
        new_id: IdGenerator,
        *,
        executing: bool = True,
    ) -> None:
        settings = service.dockfile.streaming
        self._service = service
        self._settings = settings
        self._limits = service.dockfile.expose.limits
        self._new_id = new_id
        self._followers: Counter[str] = Counter()
        self._subscribers: set[Subscriber] = set()
        self._nobody_follows = asyncio.Event()
        self._nobody_follows.set()
        self.meter: Meter = service.observability.meter
        self._make_backend = make_backend
        self._executing = executing
        self._closed = False
        self.backend, self.executor = self._made()

    def _made(self) -> tuple[EventBackend, Executor | None]:
        backend = self._make_backend()
        if not self._executing:
            return backend, None
        settings = self._settings.runs
        executor = Executor(
            backend,
            self,
            max_concurrent=settings.max_concurrent,
            lease_seconds=settings.lease_seconds,
            on_lost=settings.on_executor_lost,
            threads=self._limits.threads,
            meter=self.meter,
        )
        return backend, executor

    # -- life ----------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect to the store and begin to execute. Raises `BackendUnavailable`.

        After `close` it begins anew: an application is started again and again where its tests do that. Runs
        that were kept in memory are gone by then.
        """
        if self._closed:
            self._closed = False
            self.backend, self.executor = self._made()
        for line in await self.backend.open():
            log.warning("%s", line)
        if self.executor is not None:
            self.executor.start()

    async def drain(self, grace: float) -> None:
        """Give what is executed here ``grace`` seconds, and tell followers to come back elsewhere.

        They are told at once, but for a store that ends with this process: there is no elsewhere then,
        and they see the end of their runs.
        """
        if self.backend.durable:
            self._send_away()
        if self.executor is not None:
            await self.executor.stop(grace)
        self._send_away()
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                await self._nobody_follows.wait()

    def _send_away(self) -> None:
        for subscriber in list(self._subscribers):
            subscriber.leave_off()

    async def reachable(self) -> bool:
        """Say whether the store answers."""
        try:
            await self.backend.ping()
        except BackendUnavailable as error:
            log.warning("%s", error)
            return False
        return True

    def info(self) -> RunsInfo:
        """Return what ``/info`` says: the store, and how many runs this process executes and sends."""
        executing = None if self.executor is None else self.executor.active
        return RunsInfo(self.backend.name, executing, self.subscribers)

    @property
    def subscribers(self) -> int:
        """How many readers follow runs here."""
        return len(self._subscribers)

    def lease_keeper(self) -> LeaseKeeper | None:
        """Return what renews leases while the loop is blocked; None where others cannot take runs over."""
        if self.executor is None or not self.backend.durable:
            return None
        return LeaseKeeper(
            self._make_backend,
            self.executor.claims,
            lease_seconds=self._settings.runs.lease_seconds,
            longest=self._settings.events.max_run_duration,
        )

    async def close(self) -> None:
        """Let go of the store."""
        self._closed = True
        await self.drain(0.0)
        await self.backend.close()

    # -- what clients ask for ------------------------------------------------------------------

    def asked(
        self, payload: dict[str, Any], thread_id: str | None, *, conversation: bool = False
    ) -> RunRequest:
        """Return what the current request asks for, and that it is this request that asks.

        Without a ``thread_id``, ``conversation`` says that the run's id is the name of one to its client.
        """
        trace = self._service.observability.current_trace()
        origin = Origin(current_ids().get("request_id"), trace, conversation)
        return RunRequest(payload, thread_id, origin)

    async def create(
        self,
        owner: str,
        request: RunRequest,
        *,
        run_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> tuple[RunRecord, bool]:
        """Accept a run, or find the one that the same request made before; say whether it is new."""
        if self._service.draining:
            raise overloaded("the server is shutting down", code="SHUTTING_DOWN", retry_after=5)
        key = run_key(owner, self._id_for(request, run_id, idempotency_key))
        observability = self._service.observability
        data = request.encode()
        try:
            record, new = await self.backend.create_run(
                key, owner=owner, request=data, thread=request.thread_id or ""
            )
        except StoreFull as full:
            problem = refused(full)
            observability.meter.runs_refused[problem.code] += 1
            raise problem from None
        if new:
            observability.meter.runs_accepted += 1
        elif not same_request(record.request, data):
            raise Problem(409, "RUN_EXISTS", f"run {run_id_of(key)} exists, and its request is another one")
        return record, new

    def _id_for(self, request: RunRequest, run_id: str | None, idempotency_key: str | None) -> str:
        if run_id is None and idempotency_key is None:
            return self._new_id(request.payload)
        if run_id is None:
            if not idempotency_key or len(idempotency_key) > 255:
                raise Problem(400, "INVALID_IDEMPOTENCY_KEY", "Idempotency-Key: 1 to 255 characters")
            return id_of_idempotency_key(idempotency_key)
        if idempotency_key is not None:
            raise Problem(
                400, "AMBIGUOUS_RUN", "give run_id or Idempotency-Key, not both: each names the run by itself"
            )
        if not self._settings.allow_client_ids:
            told = "this server names runs itself; leave run_id out, or send an Idempotency-Key instead"
            raise Problem(400, "RUN_ID_NOT_ALLOWED", told)
        if not is_id(run_id):
            raise Problem(400, "INVALID_RUN_ID", f"run_id: {ID_RULE}")
        return run_id

    async def get(self, owner: str, run_id: str) -> RunRecord:
        """Return a run of the owner's."""
        try:
            if is_id(run_id):
                return await self.backend.get_run(run_key(owner, run_id))
        except RunNotFound:
            pass
        raise not_found(run_id)

    async def page(self, owner: str, *, limit: int, before: RunSummary | None) -> list[RunSummary]:
        """Return the owner's runs that are older than ``before``, newest first."""
        return await self.backend.list_runs(owner, limit=limit, before=before)

    async def states(self, owner: str) -> list[RunState]:
        """Return the states of the owner's newest runs, as many as ``a2a_tasks``, the newest change first."""
        return await self.backend.run_states(owner, limit=self._limits.a2a_tasks)

    async def cancel(self, owner: str, run_id: str, reason: str | None) -> RunRecord:
        """Cancel a run, at once; again is as well."""
        record = await self.get(owner, run_id)
        if not record.ended:
            end = ending(run_id, self.started_event(), CancelledEvent(reason))
            try:
                record = await self.backend.end_run(record.key, end)
            except RunNotFound:
                raise not_found(run_id) from None
            self._service.observability.meter.runs_cancelled += record.status == "cancelled"
        if record.status != "cancelled":
            raise Problem(409, "RUN_ENDED", f"run {run_id} has {record.status} already")
        return record

    async def follow(
        self, owner: str, run_id: str, *, after: int, view: Callable[[Follower, Closed], V]
    ) -> V:
        """Return what sends a run's events behind ``after`` to one subscriber.

        ``view`` makes it of a follower and of what it is to call, with itself, when it has ended.
        """
        if self._service.draining:
            raise overloaded("the server is shutting down", code="SHUTTING_DOWN", retry_after=1)
        key = run_key(owner, run_id)
        self._take_place(key)
        try:
            follower = await self.follower(owner, run_id, after=after)
        except BaseException:
            self._leave_place(key)
            raise

        def closed(subscriber: Subscriber) -> None:
            self._leave_place(key)
            self._subscribers.discard(subscriber)
            if not self._subscribers:
                self._nobody_follows.set()

        subscriber = view(follower, closed)
        self._subscribers.add(subscriber)
        self._nobody_follows.clear()
        return subscriber

    async def follower(self, owner: str, run_id: str, *, after: int) -> Follower:
        """Return a run's events behind ``after`` for somebody who is no subscriber: a read that ends soon."""
        try:
            return await self.backend.follow(run_key(owner, run_id), after=after)
        except RunNotFound:
            raise not_found(run_id) from None

    def _take_place(self, key: str) -> None:
        limit = self._settings.connection.max_subscribers_per_run
        if self._followers[key] >= limit:
            told = f"the run has {limit} subscribers on this server already"
            raise Problem(429, "TOO_MANY_SUBSCRIBERS", told, headers={"Retry-After": "5"})
        self._followers[key] += 1

    def _leave_place(self, key: str) -> None:
        self._followers[key] -= 1
        if not self._followers[key]:
            del self._followers[key]

    # -- what the executor needs ---------------------------------------------------------------

    async def start_run(self, record: RunRecord, *, resume: bool) -> Execution[EncodedEvent]:
        """Return the execution of a claimed run, from its beginning or from where its graph left off."""
        run_id = run_id_of(record.key)
        request = decode_request(record.request)
        origin = request.origin or Origin()
        if origin.request_id is None:
            correlate(run_id=run_id)
        else:
            correlate(run_id=run_id, request_id=origin.request_id)
        service = self._service
        thread_id = run_id if origin.conversation else None
        config = service.config(record.owner, request.thread_id or thread_id, run_id)
        return service.execution(
            request.payload,
            config,
            service.context(run_id, watched=True),
            as_encoded,
            id_field="run_id",
            after=record.last_sequence,
            attempt=record.attempt,
            run=lasting_name(record) if service.agent.resumes else None,
            resume=resume,
            trace=origin.trace,
        )

    def started_event(self) -> StartedEvent:
        """Return the first event of a run that ends before it could begin."""
        adapter = self._service.agent.adapter
        return StartedEvent(adapter.agent_name, adapter.framework)


def not_found(run_id: str) -> Problem:
    """Return the answer for a run that is not there, or not the caller's: nobody can tell which."""
    return Problem(404, "RUN_NOT_FOUND", f"there is no run {run_id[:128]!r}")


def refused(error: StoreFull) -> Problem:
    """Return the answer for a run that the store does not take now; nothing was created."""
    if isinstance(error, QuotaExceeded):
        detail = f"{error}; wait until some have ended, or cancel some"
        return Problem(429, "OWNER_QUOTA", detail, headers={"Retry-After": str(FULL_RETRY_SECONDS)})
    code = "QUEUE_FULL" if isinstance(error, QueueFull) else "STORE_FULL"
    return overloaded(f"{error}; try again later", code=code, retry_after=FULL_RETRY_SECONDS)


def event_backend(dockfile: Dockfile, *, owners: int = 1) -> EventBackend:
    """Return the store that the Dockfile names; nothing is connected yet. Raises `DockfileError`.

    Of more than one of ``owners`` each gets at most ``streaming.runs.owner_share`` of it. Servers and
    workers of one agent share its runs, by the agent's name or by ``streaming.redis.prefix``; other agents
    may use the same Redis.
    """
    streaming = dockfile.streaming
    runs = streaming.runs
    limits = Limits(max_waiting=runs.max_waiting, owner_share=runs.owner_share if owners > 1 else 1.0)
    if streaming.backend == "redis":
        from dockrion_events.bus.redis import RedisBackend  # here: who does without needs no driver

        redis = streaming.redis
        prefix = redis.prefix or f"dockrion:{quote(dockfile.agent.name, safe='')}"
        return RedisBackend(
            redis.url,
            prefix=f"{prefix.removesuffix(':')}:",
            max_events_per_run=redis.max_events_per_run,
            stream_ttl_seconds=redis.stream_ttl_seconds,
            connection_pool_size=redis.connection_pool_size,
            **limits,
        )
    memory = streaming.memory
    return MemoryBackend(
        max_events_per_run=memory.max_events_per_run,
        stream_ttl_seconds=memory.stream_ttl_seconds,
        max_bytes=memory.max_bytes,
        **limits,
    )
