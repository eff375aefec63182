"""The section `streaming` of Dockfile.yaml: the events, and the runs that keep theirs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from dockrion_events import EventsFilter, InvalidFilter

from .errors import Loc
from .fields import (
    AgentReference,
    Allowed,
    Count,
    IdKind,
    LeaseSeconds,
    LostPolicy,
    MostRuns,
    NonEmpty,
    Seconds,
    Share,
    StoreKind,
    StorePrefix,
    StoreURL,
    fault,
)
from .section import Faults, Section


class EventSources(Section):
    """`streaming.events.nodes` and `.tags`: of which nodes, and of which models, adapters tell.

    In a name `*` stands for any text. What is denied wins.
    """

    allow: tuple[NonEmpty, ...] | None = Field(
        default=None, description="Only these; all, where it is left out.", examples=[["agent"]]
    )
    deny: tuple[NonEmpty, ...] = Field(
        default=(), description="Not these.", examples=[["SummarizationMiddleware.*"]]
    )


class StreamingEvents(Section):
    """`streaming.events`: which events there are and their bounds.

    `allowed` is a preset, names of events, or None for everything. `nodes` and `tags` narrow what adapters
    tell by themselves, of models, tools and steps: to those in nodes (steps of a chain) of these names or
    within them, and to calls of models with these tags. `heartbeat_interval` and `max_run_duration` are in
    seconds, `max_event_bytes` in bytes.
    """

    allowed: Allowed = Field(
        default=None,
        description="Which events leave an execution; everything, where it is left out.",
        examples=["chat"],
    )
    nodes: EventSources = Field(
        default=EventSources(), description="Of which nodes models, tools and steps are told."
    )
    tags: EventSources = Field(default=EventSources(), description="Of which models' calls, by their tags.")
    heartbeat_interval: Seconds = Field(
        default=15.0, description="The silence after which a connection gets a heartbeat."
    )
    max_run_duration: Seconds = Field(
        default=3600.0, description="How long an execution may take before it ends in `RUN_TIMEOUT`."
    )
    max_event_bytes: Count = Field(
        default=8 * 1024 * 1024, description="An emit beyond it raises `EventTooLarge` in the agent."
    )

    @classmethod
    def check_keys(cls, given: Mapping[str, Any]) -> Faults:
        """Hold `allowed` against the events there are, naming each wrong one."""
        allowed = given.get("allowed")
        if isinstance(allowed, str):
            yield from _filter_faults(("allowed",), allowed)
        for index, name in enumerate(allowed if isinstance(allowed, list | tuple) else ()):
            yield from _filter_faults(("allowed", index), [name])

    @property
    def events_filter(self) -> EventsFilter:
        """The filter that `allowed`, `nodes` and `tags` describe."""
        events = list(self.allowed) if isinstance(self.allowed, tuple) else self.allowed
        return EventsFilter(events, nodes=self.nodes.model_dump(), tags=self.tags.model_dump())


class IdGenerator(Section):
    """`streaming.id_generator`: who names a run that its client does not name.

    A `custom` `handler` is called with the payload, or with nothing if it takes nothing, and returns
    1 to 128 letters, digits, '.', '_', ':' or '-'.
    """

    type: IdKind = Field(default="uuid", description="Who names a run that its client does not name.")
    handler: AgentReference | None = Field(
        default=None, description="What names it, with `type: custom`.", examples=["app.ids:new_id"]
    )

    @classmethod
    def check_keys(cls, given: Mapping[str, Any]) -> Faults:
        """A handler, if and only if the type is custom."""
        custom, handler = given.get("type") == "custom", given.get("handler") is not None
        if custom and not handler:
            hint = "for example handler: app.ids:new_id"
            yield ("handler",), fault("type: custom needs a handler", hint=hint, told=True)
        elif handler and not custom:
            yield ("handler",), fault("a handler needs type: custom", hint="add type: custom", told=True)


class StreamingConnection(Section):
    """`streaming.connection`: the connections that follow runs.

    `default_timeout` is in seconds: how long one stays open unless its client asks for another time.
    `max_subscribers_per_run` counts those of one server process.
    """

    default_timeout: Seconds = Field(
        default=300.0, description="How long a follower's connection stays open unless it asks otherwise."
    )
    max_subscribers_per_run: Count = Field(default=100, description="On one server; beyond it 429.")


class MemoryStore(Section):
    """`streaming.memory`: how much is kept in memory, and for how many seconds after a run's end.

    `max_bytes` bounds requests, logs and records together, by an estimate. Beyond it the runs that ended
    first are removed before their time; when none has ended, new runs get 503 `STORE_FULL`, and growing logs
    lose their oldest events, which readers see as a `gap`.
    """

    stream_ttl_seconds: Seconds = Field(default=3600.0, description="How long a run is kept after its end.")
    max_events_per_run: Count = Field(default=10_000, description="How many of its events are kept.")
    max_bytes: Count = Field(
        default=512 * 1024 * 1024,
        description="Memory for all runs. When it is full, the runs that ended first are removed.",
    )


class RedisStore(Section):
    """`streaming.redis`: the Redis that keeps runs, how much of each, and for how long."""

    url: StoreURL = Field(
        default="redis://localhost:6379",
        description="Where it is; schemes: `redis`, `rediss`, `unix`, `redis+sentinel`, `redis+cluster`.",
        examples=["${REDIS_URL}"],
    )
    prefix: StorePrefix = Field(
        default=None,
        description="What its keys and channels begin with; `dockrion:` and the agent's name unless given.",
        examples=["staging:my-agent"],
    )
    stream_ttl_seconds: Seconds = Field(default=3600.0, description="How long a run is kept after its end.")
    max_events_per_run: Count = Field(default=10_000, description="How many of its events are kept.")
    connection_pool_size: Count = Field(
        default=10, description="Connections for commands, to each server of it."
    )


class Runs(Section):
    """`streaming.runs`: executing runs.

    `max_concurrent` counts the runs that one process executes at once. An executor that does not renew its
    claim for `lease_seconds` counts as lost; `on_executor_lost` says what becomes of its runs: they end in
    an error (`fail`), are executed again (`restart`), or go on from their graph's last checkpoint (`resume`).
    `max_waiting` counts the accepted runs of the whole store that nobody executes yet. With API keys of more
    than one owner, each may take `owner_share` of `max_waiting` and of `streaming.memory.max_bytes`.
    """

    max_concurrent: MostRuns = Field(
        default=64, description="Runs that one process executes at once; the others wait."
    )
    max_waiting: Count = Field(
        default=10_000, description="Accepted runs that may wait in the store; beyond it 503 `QUEUE_FULL`."
    )
    owner_share: Share = Field(
        default=0.5,
        description="What part of both one of several owners may take; beyond it 429 `OWNER_QUOTA`.",
    )
    on_executor_lost: LostPolicy = Field(
        default="fail",
        description="What becomes of its runs: an error, a new execution, or the graph's last checkpoint.",
    )
    lease_seconds: LeaseSeconds = Field(
        default=10.0, description="An executor that is silent for longer counts as lost."
    )


class Streaming(Section):
    """`streaming`: the stream of events, and the runs that keep theirs (`async_runs`)."""

    async_runs: bool = Field(default=False, description="Serve `/runs`.")
    backend: StoreKind = Field(default="memory", description="Where runs are kept.")
    allow_client_ids: bool = Field(default=True, description="Whether `?run_id=` may name a run.")
    id_generator: IdGenerator = IdGenerator()
    events: StreamingEvents = StreamingEvents()
    connection: StreamingConnection = StreamingConnection()
    memory: MemoryStore = MemoryStore()
    redis: RedisStore = RedisStore()
    runs: Runs = Runs()


def _filter_faults(loc: Loc, allowed: str | list[Any]) -> Faults:
    try:
        EventsFilter(allowed)
    except InvalidFilter as error:
        expected = "expected a preset" if isinstance(allowed, str) else "expected the name of an event"
        yield loc, fault(str(error), instead=expected)
