"""The sections and keys of Dockfile.yaml, with their defaults.

A new section is a class here and a field of `Dockfile`; a new key is a field of its section.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr

from dockrion_events import EventsFilter, InvalidFilter

from .errors import Loc
from .fields import (
    PROTOCOLS,
    AdapterReference,
    AgentName,
    AgentReference,
    Allowed,
    AuthMode,
    Count,
    HeaderName,
    IdKind,
    JSONSchema,
    LeaseSeconds,
    LogStyle,
    LostPolicy,
    Method,
    NonEmpty,
    Origin,
    Port,
    Protocols,
    PublicURL,
    Seconds,
    StoreKind,
    StoreURL,
    Streamings,
    TracingKind,
    VariableName,
    Version,
    fault,
)
from .section import Faults, Section


class Agent(Section):
    """`agent`: what to run.

    Either `handler`, or `entrypoint` with its `framework` or an `adapter` of one's own. `recursion_limit`
    counts the steps of one execution.
    """

    name: AgentName
    description: str = ""
    handler: AgentReference | None = None
    entrypoint: AgentReference | None = None
    framework: NonEmpty | None = None
    adapter: AdapterReference | None = None
    recursion_limit: Count = 1000

    @classmethod
    def check_keys(cls, given: Mapping[str, Any]) -> Faults:
        """Hold the keys that exclude or need each other together."""
        has = {key for key in ("handler", "entrypoint", "framework", "adapter") if given.get(key) is not None}
        if {"handler", "entrypoint"} <= has:
            yield ("handler",), fault("handler and entrypoint exclude each other", hint="keep one", told=True)
        elif not has & {"handler", "entrypoint"}:
            hint = "add handler: app.service:handle, or entrypoint: app.graph:graph with framework: langgraph"
            yield (), fault("needs a handler or an entrypoint", hint=hint, told=True)
        if "entrypoint" in has and not has & {"framework", "adapter"}:
            hint = "add framework: langgraph, or an adapter of your own"
            yield ("entrypoint",), fault("an entrypoint needs a framework", hint=hint, told=True)
        if "framework" in has and "entrypoint" not in has:
            hint = "a handler needs none" if "handler" in has else "for example entrypoint: app.graph:graph"
            yield ("framework",), fault("a framework needs an entrypoint", hint=hint, told=True)


class IOSchema(Section):
    """`io_schema`: JSON Schemas (Draft 2020-12) of payload and output; `strict` validates the output too."""

    input: JSONSchema = None
    output: JSONSchema = None
    strict: bool = False


class CORS(Section):
    """`expose.cors`: which browser origins may call, and with which methods. No origins: no CORS."""

    origins: tuple[Origin, ...] = ()
    methods: tuple[Method, ...] = ("GET", "POST", "DELETE")


class Expose(Section):
    """`expose`: how the server is reached.

    `playground` is the page at `/`, which needs what `rest` tells. `port` 0 takes any free port;
    `public_url` is where clients find the server, in place of what a request says; `streaming` is empty
    for `none`; `protocols` are spoken besides, over the runs; `max_body_bytes` is in bytes;
    `max_concurrent` counts invocations and direct streams together; `shutdown_grace` is in seconds.
    """

    rest: bool = True
    streaming: Streamings = ("sse",)
    protocols: Protocols = ()
    playground: bool = True
    port: Port = 8080
    host: NonEmpty = "0.0.0.0"
    public_url: PublicURL = None
    cors: CORS = CORS()
    max_body_bytes: Count = 10 * 1024 * 1024
    max_concurrent: Count = 256
    shutdown_grace: Seconds = 30.0

    @classmethod
    def check_keys(cls, given: Mapping[str, Any]) -> Faults:
        """Hold the keys that need each other together."""
        if given.get("playground") is True and given.get("rest") is False:
            hint = "set rest: true, for the page asks /info and /schema"
            yield ("playground",), fault("the playground needs rest", hint=hint, told=True)


class StreamingEvents(Section):
    """`streaming.events`: which events there are and their bounds.

    `allowed` is a preset, names of events, or None for everything. `heartbeat_interval` and
    `max_run_duration` are in seconds, `max_event_bytes` in bytes.
    """

    allowed: Allowed = None
    heartbeat_interval: Seconds = 15.0
    max_run_duration: Seconds = 3600.0
    max_event_bytes: Count = 8 * 1024 * 1024

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
        """The filter that `allowed` describes."""
        return EventsFilter(list(self.allowed) if isinstance(self.allowed, tuple) else self.allowed)


class IdGenerator(Section):
    """`streaming.id_generator`: who names a run that its client does not name.

    A `custom` `handler` is called with the payload, or with nothing if it takes nothing, and returns
    1 to 128 letters, digits, '.', '_', ':' or '-'.
    """

    type: IdKind = "uuid"
    handler: AgentReference | None = None

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

    default_timeout: Seconds = 300.0
    max_subscribers_per_run: Count = 100


class MemoryStore(Section):
    """`streaming.memory`: how much of a run is kept in memory, and for how many seconds after its end."""

    stream_ttl_seconds: Seconds = 3600.0
    max_events_per_run: Count = 10_000


class RedisStore(Section):
    """`streaming.redis`: the Redis that keeps runs, how much of each, and for how long."""

    url: StoreURL = "redis://localhost:6379"
    stream_ttl_seconds: Seconds = 3600.0
    max_events_per_run: Count = 10_000
    connection_pool_size: Count = 10


class Runs(Section):
    """`streaming.runs`: executing runs.

    `max_concurrent` counts the runs that one process executes at once. An executor that does not renew its
    claim for `lease_seconds` counts as lost; `on_executor_lost` says what becomes of its runs: they end in
    an error (`fail`), are executed again (`restart`), or go on from their graph's last checkpoint (`resume`).
    """

    max_concurrent: Count = 64
    on_executor_lost: LostPolicy = "fail"
    lease_seconds: LeaseSeconds = 10.0


class Streaming(Section):
    """`streaming`: the stream of events, and the runs that keep theirs (`async_runs`)."""

    async_runs: bool = False
    backend: StoreKind = "memory"
    allow_client_ids: bool = True
    id_generator: IdGenerator = IdGenerator()
    events: StreamingEvents = StreamingEvents()
    connection: StreamingConnection = StreamingConnection()
    memory: MemoryStore = MemoryStore()
    redis: RedisStore = RedisStore()
    runs: Runs = Runs()


class APIKeys(Section):
    """`auth.api_keys`: the variable that holds them, the header they come in, and whether as a bearer too."""

    env_var: VariableName = "DOCKRION_API_KEY"
    header: HeaderName = "X-API-Key"
    allow_bearer: bool = True


class Auth(Section):
    """`auth`: who may call."""

    mode: AuthMode = "none"
    api_keys: APIKeys = APIKeys()


class Observability(Section):
    """`observability`: what operators see.

    `metrics` serves them at `/metrics`. `tracing` is `otel` (OpenTelemetry, which is set up by its own
    environment variables) or `none`. `logs` are for people (`console`), for programs (`json`), or for whoever
    reads stderr: a terminal or something else (`auto`).
    """

    metrics: bool = True
    tracing: TracingKind = "none"
    logs: LogStyle = "auto"


class RequiredSecret(Section):
    """An entry of `secrets.required`: an environment variable that must be set and not empty."""

    name: VariableName
    description: str = ""


class OptionalSecret(Section):
    """An entry of `secrets.optional`: an environment variable, and what `${NAME}` is where it is not set."""

    name: VariableName
    description: str = ""
    default: str | None = Field(default=None, repr=False)


class Secrets(Section):
    """`secrets`: the environment variables that the agent relies on."""

    required: tuple[RequiredSecret, ...] = ()
    optional: tuple[OptionalSecret, ...] = ()

    @classmethod
    def check_keys(cls, given: Mapping[str, Any]) -> Faults:
        """Refuse a name that is listed twice."""
        seen: set[str] = set()
        for loc, name in _secret_names(given):
            if name in seen:
                yield loc, fault("is listed twice", hint="a secret is either required or optional", told=True)
            seen.add(name)


def _filter_faults(loc: Loc, allowed: str | list[Any]) -> Faults:
    try:
        EventsFilter(allowed)
    except InvalidFilter as error:
        expected = "expected a preset" if isinstance(allowed, str) else "expected the name of an event"
        yield loc, fault(str(error), instead=expected)


def _secret_names(given: Mapping[str, Any]) -> Iterator[tuple[Loc, str]]:
    for kind in ("required", "optional"):
        entries = given.get(kind)
        for index, entry in enumerate(entries if isinstance(entries, list) else ()):
            if isinstance(entry, Mapping) and isinstance(entry.get("name"), str):
                yield (kind, index, "name"), entry["name"]


@dataclass(frozen=True)
class Source:
    """Where a Dockfile came from, passed along as the context of its validation."""

    file: Path
    warnings: tuple[str, ...] = ()
    templates: Mapping[Loc, str] = field(default_factory=dict)


class Dockfile(Section):
    """A whole Dockfile.yaml: frozen, all defaults filled in. Made by `load_dockfile`.

    Its repr shows what came out of the environment as it is written in the file (`${NAME}`); its attributes
    hold the values.
    """

    version: Version = "1.0"
    agent: Agent
    io_schema: IOSchema = IOSchema()
    expose: Expose = Expose()
    streaming: Streaming = Streaming()
    auth: Auth = Auth()
    observability: Observability = Observability()
    secrets: Secrets = Secrets()

    @classmethod
    def check_keys(cls, given: Mapping[str, Any]) -> Faults:
        """Hold the keys of different sections together."""
        expose, streaming = (given.get(name) or {} for name in ("expose", "streaming"))
        if not (isinstance(expose, Mapping) and isinstance(streaming, Mapping)):
            return
        given_protocols = expose.get("protocols")
        named = [given_protocols] if isinstance(given_protocols, str) else given_protocols
        spoken = isinstance(named, list | tuple) and any(name in PROTOCOLS for name in named)
        if spoken and not streaming.get("async_runs"):
            hint = "set streaming.async_runs: true, for its tasks are runs"
            yield ("expose", "protocols"), fault("a protocol needs runs", hint=hint, told=True)

    _file: Path | None = PrivateAttr(default=None)
    _directory: Path = PrivateAttr(default_factory=Path.cwd)
    _warnings: tuple[str, ...] = PrivateAttr(default=())

    @property
    def file(self) -> Path | None:
        """The file it was read from, absolute; None for one made in memory."""
        return self._file

    @property
    def directory(self) -> Path:
        """Where the agent's modules are imported from: the file's directory, else the working directory."""
        return self._directory

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was odd but not wrong, such as unknown sections, a line each."""
        return self._warnings

    def model_post_init(self, context: Any, /) -> None:
        """Remember where the values came from."""
        if isinstance(context, Source):
            self._file = context.file
            self._directory = context.file.parent
            self._warnings = context.warnings
            for loc, template in context.templates.items():
                _mark(self, loc, template)


def _mark(section: Section, loc: Loc, template: str) -> None:
    """Note at the innermost section around a value how the file spells it."""
    owner, key, value = section, loc[0], getattr(section, str(loc[0]))
    for part in loc[1:]:
        if isinstance(value, Section):
            owner, key, value = value, part, getattr(value, str(part))
        elif isinstance(part, int) and isinstance(value, tuple) and part < len(value):
            value = value[part]
        else:
            break
    owner._templates[str(key)] = template
