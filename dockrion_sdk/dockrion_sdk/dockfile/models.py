"""The sections and keys of Dockfile.yaml, with their defaults.

A new section is a class here and a field of `Dockfile`; a new key is a field of its section.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr

from .errors import Loc
from .fields import (
    PROTOCOLS,
    AdapterReference,
    AgentName,
    AgentReference,
    AuthMode,
    Count,
    ErrorsShown,
    HeaderName,
    HostPattern,
    JSONSchema,
    LogStyle,
    Method,
    NonEmpty,
    Origin,
    Port,
    Protocols,
    Proxy,
    PublicURL,
    Seconds,
    Streamings,
    TracingKind,
    VariableName,
    Version,
    fault,
)
from .limits import Limits
from .section import Faults, Section
from .streaming import Streaming


class Agent(Section):
    """`agent`: what to run.

    Either `handler`, or `entrypoint` with its `framework` or an `adapter` of one's own. `recursion_limit`
    counts the steps of one execution.
    """

    name: AgentName = Field(
        description="What the agent is called, in every stream and in the store.", examples=["my-agent"]
    )
    description: str = Field(
        default="",
        description="What it does, for `/info` and the OpenAPI page.",
        examples=["Answers questions about orders."],
    )
    handler: AgentReference | None = Field(
        default=None,
        description="A function; the other way is `entrypoint`.",
        examples=["app.service:handle"],
    )
    entrypoint: AgentReference | None = Field(
        default=None,
        description="A graph, an object, or what makes one; needs `framework` or `adapter`.",
        examples=["app.graph:build_graph"],
    )
    framework: NonEmpty | None = Field(
        default=None,
        description="The entrypoint's: `langgraph`, `langchain`, `object`, `agentor`, or another package's.",
        examples=["langgraph"],
    )
    adapter: AdapterReference | None = Field(
        default=None,
        description="An adapter of your own, in place of a framework's.",
        examples=["my_package.adapter:MyAdapter"],
    )
    recursion_limit: Count = Field(
        default=1000,
        description="Steps of one execution, where neither the graph nor the caller sets a limit.",
    )

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

    input: JSONSchema = Field(
        default=None,
        description="What a payload has to be; anything else gets 422.",
        examples=[{"type": "object", "properties": {"query": {"type": "string"}}}],
    )
    output: JSONSchema = Field(
        default=None, description="What the output is, for `/schema`.", examples=[{"type": "object"}]
    )
    strict: bool = Field(default=False, description="Whether the output is held to its schema too.")


class CORS(Section):
    """`expose.cors`: which browser origins may call, and with which methods.

    Pages of any other origin are refused, over HTTP and WebSockets alike.
    """

    origins: tuple[Origin, ...] = Field(
        default=(),
        description="The origins whose pages may call besides the server's own; `*` is any.",
        examples=[["https://app.example.com"]],
    )
    methods: tuple[Method, ...] = Field(
        default=("GET", "POST", "DELETE"), description="The methods they may use."
    )


class Expose(Section):
    """`expose`: how the server is reached.

    A listed `*.example.com` stands for every name below `example.com`, and `*` for every name at all.
    `playground` is the page at `/`, which needs what `rest` tells. `port` 0 takes any free port;
    `public_url` is where clients find the server, in place of what a request says; `streaming` is empty
    for `none`; `protocols` are spoken besides, over the runs; `max_body_bytes` is in bytes;
    `max_concurrent` counts invocations and direct streams together; `shutdown_grace` is in seconds.
    """

    rest: bool = Field(default=True, description="Serve `/invoke`, `/info`, `/schema` and `/graph`.")
    streaming: Streamings = Field(
        default=("sse",),
        description="How a direct stream is served: `POST /invoke/stream`, or `/invoke/ws`.",
        examples=["sse"],
    )
    protocols: Protocols = Field(
        default=(),
        description="Spoken besides, over the runs; `a2a` needs the extra `dockrion-sdk[a2a]`.",
        examples=[["a2a"]],
    )
    playground: bool = Field(default=True, description="Serve the page at `/`; there is none without `rest`.")
    port: Port = Field(default=8080, description="The port; 0 takes any free one.")
    host: NonEmpty = Field(
        default="127.0.0.1",
        description="The address to listen on; `0.0.0.0` is every interface of the machine.",
    )
    allowed_hosts: tuple[HostPattern, ...] = Field(
        default=(),
        description="Names in `Host` that are answered, besides `localhost`, IP addresses, `host` and the "
        "one in `public_url`. Others are refused: always without auth, with auth if names are listed here.",
        examples=[["agents.example.com"]],
    )
    public_url: PublicURL = Field(
        default=None,
        description="Where clients find the server, if not where their requests say: behind a proxy.",
        examples=["https://example.com/agents/mine"],
    )
    trusted_proxies: tuple[Proxy, ...] = Field(
        default=(),
        description="The proxies whose `X-Forwarded-Prefix` and `X-Forwarded-Proto` are believed.",
        examples=[["10.0.0.0/8"]],
    )
    cors: CORS = CORS()
    errors: ErrorsShown = Field(
        default=None,
        description="What clients get of a failure's text: `full` (without secrets), the exception's `type`,"
        " or `none`. Where it is not set: `full` with API keys, `type` without.",
        examples=["type"],
    )
    max_body_bytes: Count = Field(default=10 * 1024 * 1024, description="Larger bodies get 413.")
    limits: Limits = Limits()
    max_concurrent: Count = Field(
        default=256, description="Invocations and direct streams together; beyond it 503."
    )
    shutdown_grace: Seconds = Field(
        default=30.0, description="How long streams and runs get to end after SIGTERM."
    )

    @classmethod
    def check_keys(cls, given: Mapping[str, Any]) -> Faults:
        """Hold the keys that need each other together."""
        if given.get("playground") is True and given.get("rest") is False:
            hint = "set rest: true, for the page asks /info and /schema"
            yield ("playground",), fault("the playground needs rest", hint=hint, told=True)


class APIKeys(Section):
    """`auth.api_keys`: the variable that holds them, the header they come in, and whether as a bearer too."""

    env_var: VariableName = Field(
        default="DOCKRION_API_KEY",
        description="The variable that holds them: `key` or `name:key`, commas between several.",
    )
    header: HeaderName = Field(default="X-API-Key", description="The header they come in.")
    allow_bearer: bool = Field(default=True, description="Whether `Authorization: Bearer …` will do as well.")


class Auth(Section):
    """`auth`: who may call."""

    mode: AuthMode = Field(default="none", description="Whether callers need a key.")
    api_keys: APIKeys = APIKeys()


class Observability(Section):
    """`observability`: what operators see.

    `metrics` serves them at `/metrics`. `tracing` is `otel` (OpenTelemetry, which is set up by its own
    environment variables) or `none`. `logs` are for people (`console`), for programs (`json`), or for whoever
    reads stderr: a terminal or something else (`auto`).
    """

    metrics: bool = Field(default=True, description="Serve `/metrics` for Prometheus.")
    tracing: TracingKind = Field(
        default="none",
        description="Traces by OpenTelemetry; needs the extra `dockrion-sdk[otel]`.",
        examples=["otel"],
    )
    logs: LogStyle = Field(
        default="auto", description="The log as JSON, for people, or by what stderr is.", examples=["json"]
    )


class RequiredSecret(Section):
    """An entry of `secrets.required`: an environment variable that must be set and not empty."""

    name: VariableName = Field(
        description="The variable, which must be set and not empty.", examples=["API_TOKEN"]
    )
    description: str = Field(
        default="",
        description="What it is for: said where it is missing.",
        examples=["Token of the model's API"],
    )


class OptionalSecret(Section):
    """An entry of `secrets.optional`: an environment variable, and what `${NAME}` is where it is not set."""

    name: VariableName = Field(description="The variable.", examples=["MODEL"])
    description: str = Field(default="", description="What it is for.", examples=["Which model answers"])
    default: str | None = Field(
        default=None, description="What `${NAME}` is where it is not set.", examples=["small"], repr=False
    )


class Secrets(Section):
    """`secrets`: the environment variables that the agent relies on."""

    required: tuple[RequiredSecret, ...] = Field(
        default=(), description="What must be set before anything starts."
    )
    optional: tuple[OptionalSecret, ...] = Field(default=(), description="What may be set.")

    @classmethod
    def check_keys(cls, given: Mapping[str, Any]) -> Faults:
        """Refuse a name that is listed twice."""
        seen: set[str] = set()
        for loc, name in _secret_names(given):
            if name in seen:
                yield loc, fault("is listed twice", hint="a secret is either required or optional", told=True)
            seen.add(name)


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
    templates: Mapping[Loc, str] = field(default_factory=dict)


class Dockfile(Section):
    """A whole Dockfile.yaml: frozen, all defaults filled in. Made by `load_dockfile`.

    Its repr shows what came out of the environment as it is written in the file (`${NAME}`); its attributes
    hold the values.
    """

    version: Version = Field(default="1.0", description="The format of the file.")
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
