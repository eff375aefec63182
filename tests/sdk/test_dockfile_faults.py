"""Every way in which a value can be wrong, and how it is told."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from dockrion_sdk import Dockfile, DockfileError
from dockrion_sdk.dockfile.section import Section

from .conftest import AGENT, Load, Refused

# Rows: the text, the start of the problem, and what else it says. All but WHOLE stand inside their section.

WHOLE = [
    ("agent: 5", "agent: expected a mapping of keys, got 5"),
    ("agent: [a]", "agent: expected a mapping of keys, got a list"),
    (AGENT + 'version: "2.0"', "version: not a known version, got '2.0'; write \"1.0\""),
    (AGENT + "version: 1", "version: not a known version, got 1"),
    ("agent: {handler: 'm:f'}", "agent.name: is required"),
    ("agent: {name: 3, handler: 'm:f'}", "agent.name: expected a name", "got 3"),
    ("agent: {name: '', handler: 'm:f'}", "agent.name: expected a name"),
    ("agent: {name: a}", "agent: needs a handler or an entrypoint", "app.service:handle"),
    ("agent: {name: a, handler: null}", "agent: needs a handler or an entrypoint"),
]

EXPOSE = [
    ("rest: false, playground: true", "playground: the playground needs rest; set rest: true"),
    ("prt: 1", "prt: unknown key; did you mean 'port'? Valid: rest, streaming, protocols, playground, port"),
    ("port: 65536", "port: expected a number of at most 65535, got 65536"),
    ("port: -1", "port: expected a number of at least 0, got -1"),
    ("port: http", "port: expected a whole number, got 'http'"),
    ("port: 80.5", "port: expected a whole number, got 80.5"),
    ("port: true", "port: expected a number, got true"),
    ("port: ", "port: expected a whole number, got nothing"),
    ("host: 1", "host: expected text, got 1; put it in quotes"),
    ("public_url: a.example", "public_url: expected the URL of a server", "https://agents.example.com"),
    ("public_url: 1", "public_url: expected the URL of a server"),
    ("public_url: 'ftp://a'", "public_url: expected the URL of a server"),
    ("public_url: 'https://'", "public_url: expected the URL of a server"),
    ("public_url: 'https://a:99999'", "public_url: expected the URL of a server"),
    ("public_url: 'https://u:p@a'", "public_url: expected the URL of a server"),
    ("public_url: 'https://a?b'", "public_url: expected the URL of a server"),
    ("public_url: 'https://a b'", "public_url: expected the URL of a server"),
    (
        "allowed_hosts: ['https://a']",
        "allowed_hosts[0]: expected the name of a host, or *",
        "agents.example.com",
    ),
    ("allowed_hosts: ['a:80']", "allowed_hosts[0]: expected the name of a host, or *"),
    ("allowed_hosts: ['a.*']", "allowed_hosts[0]: expected the name of a host, or *"),
    ("trusted_proxies: [nginx]", "trusted_proxies[0]: expected an IP address, a network or *", "10.0.0.0/8"),
    ("streaming: ssse", "streaming: not a valid value, got 'ssse'; did you mean 'sse'?"),
    ("streaming: websockets", "streaming: not a valid value", "Valid: sse, websocket, none"),
    ("streaming: [sse, ws]", "streaming[1]: not a valid value, got 'ws'"),
    ("streaming: false", "streaming: expected sse, websocket, none or a list, got false"),
    ("streaming: [sse, none]", "streaming: none stands alone"),
    ("protocols: [a2a]", "protocols: a protocol needs runs; set streaming.async_runs: true"),
    ("protocols: [a3a]", "protocols[0]: not a valid value, got 'a3a'; did you mean 'a2a'?"),
    ("protocols: 1", "protocols: expected a list of protocols, got 1"),
    ("shutdown_grace: 0", "shutdown_grace: expected a number greater than 0, got 0"),
    ("max_body_bytes: 10MB", "max_body_bytes: expected a whole number, got '10MB'"),
    ("max_concurrent: 0", "max_concurrent: expected a number of at least 1"),
    ("cors: {origins: 'https://a'}", "cors.origins: expected a list, got 'https://a'"),
    ("cors: {origins: ['https://a/']}", "cors.origins[0]: expected an origin"),
    ("cors: {origins: [a.example]}", "cors.origins[0]: expected an origin"),
    ("limits: {idle_seconds: 0}", "limits.idle_seconds: expected a number greater than 0, got 0"),
    ("limits: {threads: 0}", "limits.threads: expected a number of at least 1"),
    ("limits: {threads: many, abandoned_threads: 5}", "limits.threads: expected a whole number, got 'many'"),
    (
        "limits: {buffered_bytes: 1000}",
        "limits.buffered_bytes: buffered_bytes is less than head_bytes",
        "raise buffered_bytes or lower head_bytes",
    ),
    ("limits: {head_bytes: 99999999}", "limits.head_bytes: buffered_bytes is less than head_bytes"),
    (
        "limits: {threads: 4, abandoned_threads: 5}",
        "limits.abandoned_threads: abandoned_threads is more than threads",
        "at most 4",
    ),
    ("limits: {abandoned_threads: 257}", "limits.abandoned_threads: abandoned_threads is more than threads"),
    ("cors: {methods: [GET, PSOT]}", "cors.methods[1]: not a valid", "did you mean 'POST'?"),
]

STREAMING = [
    ("event: {}", "event: unknown key; did you mean 'events'?"),
    ("async_run: true", "async_run: unknown key; did you mean 'async_runs'?"),
    ("backend: rabbit", "backend: not a valid"),
    ("redis: {url: 'http://localhost'}", "redis.url: expected the URL of a Redis", "redis://localhost:6379"),
    (
        "redis: {url: 'redis://:se/cret@h:6379'}",
        "redis.url: the URL ends its host too early",
        "percent-encode",
    ),
    ("redis: {url: 'redis://h/first'}", "redis.url: the database is not a number"),
    ("redis: {url: 'redis://h:port'}", "redis.url: the port is not a number"),
    ("redis: {prefix: 'my agent'}", "redis.prefix: expected 1 to 128 letters", "staging:my-agent"),
    ("redis: {prefix: 'a{b}:'}", "redis.prefix: expected 1 to 128 letters"),
    ("runs: {max_concurrent: 10001}", "runs.max_concurrent: "),
    ("runs: {on_executor_lost: retry}", "runs.on_executor_lost: not a valid", "restart"),
    ("runs: {lease_seconds: 0.1}", "runs.lease_seconds: "),
    ("id_generator: {type: custom}", "id_generator.handler: type: custom needs a handler"),
    ("id_generator: {handler: 'app.ids:new'}", "id_generator.handler: a handler needs type: custom"),
    ("connection: {default_timeout: 0}", "connection.default_timeout: "),
    ("events: {heartbeat: 1}", "events.heartbeat: unknown key; did you mean 'heartbeat_interval'?"),
    (
        "events: {allowed: [token, tokn]}",
        "events.allowed[1]: unknown event 'tokn'; did you mean 'token'?",
        "progress, checkpoint, reasoning, content_block, tool_call, tool_result, usage, message, ",
    ),
    ("events: {nodes: [a]}", "events.nodes: expected a mapping", "a list"),
    ("events: {nodes: {only: [a]}}", "events.nodes.only: unknown key", "allow, deny"),
    ("events: {tags: {deny: [5]}}", "events.tags.deny[0]: expected text", ""),
    ("events: {tags: {deny: a}}", "events.tags.deny: expected a list", ""),
    ("events: {allowed: chatt}", "events.allowed: unknown preset 'chatt'", "debug"),
    ("events: {allowed: [5]}", "events.allowed[0]: ", "token, step"),
    ("events: {allowed: ['custom:a b']}", "events.allowed[0]: ", "'custom:a b'"),
    ("events: {allowed: {a: 1}}", "events.allowed: expected a preset", "a mapping"),
    ("events: {heartbeat_interval: 0}", "events.heartbeat_interval: expected a number greater than 0, got 0"),
    ("events: {max_run_duration: .inf}", "events.max_run_duration: expected a finite number"),
    ("events: {max_run_duration: 1h}", "events.max_run_duration: ", "a number, got '1h'"),
    ("events: {max_event_bytes: .nan}", "events.max_event_bytes: ", "number"),
]

AUTH = [
    ("api_keys: {head: X}", "api_keys.head: unknown key; did you mean 'header'?"),
    ("mode: apikey", "mode: not a valid value, got 'apikey'; did you mean 'api_key'? Valid: none, api_key"),
    ("mode: [api_key]", "mode: not a valid value, got a list; Valid: none, api_key"),
    ("api_keys: {header: 'X Key'}", "api_keys.header: expected the name of an HTTP"),
    ('api_keys: {header: "X\\r\\nY"}', "api_keys.header: expected the name of an HTTP"),
    ("api_keys: {env_var: A-B}", "api_keys.env_var: expected the name of an env"),
]

SECRETS = [
    ("optional: [{name: X, defualt: y}]", "optional[0].defualt: unknown key; did you mean 'default'?"),
    ("required: [A]", "required[0]: expected a mapping of keys, got 'A'"),
    ("required: {A: b}", "required: expected a list, got a mapping"),
    ("required: [{description: d}]", "required[0].name: is required"),
    ("optional: [{name: 1A}]", "optional[0].name: expected the name of an env"),
    ("optional: [{name: A}, {name: A}]", "optional[1].name: is listed twice"),
]

AGENT_KEYS = [
    (
        "handler: 'm:f', entrypoint: 'g:h', framework: langgraph",
        "handler: handler and entrypoint exclude each other",
    ),
    ("entrypoint: 'g:h'", "entrypoint: an entrypoint needs a framework", "langgraph"),
    (
        "handler: 'm:f', framework: langgraph",
        "framework: a framework needs an entrypoint; a handler needs none",
    ),
    ("handler: 5", "handler: expected module:attribute, got 5"),
    (
        "entrypoint: 'os:system', framework: langgraph",
        "entrypoint: a module of Python's standard library",
        "rename it",
    ),
    (
        "handler: 'm:f', adapter: 'shutil:rmtree'",
        "adapter: a module of Python's standard library",
        "my_package.adapter:MyAdapter",
    ),
    ("handler: 'm:f', recursion_limit: 0", "recursion_limit: expected a number of at"),
]

IO_SCHEMA = [
    ("input: {type: strng}", 'input.type: not valid JSON Schema: "strng"'),
    (
        "output: {properties: {a: {minimum: '1'}}}",
        'output.properties.a.minimum: not valid JSON Schema: "1" is',
    ),
    ("input: {anyOf: [{type: string}, 5]}", "input.anyOf[1]: not valid"),
    ("input: {pattern: '['}", "input.pattern: not valid JSON Schema"),
    (
        "input: {pattern: 'a{9999999999999}'}",
        "input.pattern: not valid JSON Schema: this pattern is not supported",
    ),
    ("input: string", "input: expected a JSON Schema: a mapping", "'string'"),
    ("strict: 2", "strict: expected true or false, got 2"),
]

OBSERVABILITY = [
    ("metrics: prometheus", "metrics: expected true or false, got 'prometheus'"),
    ("metric: true", "metric: unknown key; did you mean 'metrics'? Valid: metrics, tracing, logs"),
    ("tracing: otl", "tracing: not a valid value, got 'otl'; did you mean 'otel'? Valid: otel, none"),
    ("tracing: true", "tracing: not a valid value, got true", "Valid: otel, none"),
    ("logs: jsn", "logs: not a valid value, got 'jsn'; did you mean 'json'?", "Valid: auto, json, console"),
    ("logs: ", "logs: not a valid value, got nothing"),
]

NOT_REFERENCES = ("m", "m:", ":f", "m.f", "m:f:g", "m/x:f", "m.py:f()", "1m:f", "m:f g", "a..b:f", ".m:f", "")
STANDARD = ("os:system", "os.path:join", "subprocess:run", "builtins:eval", "json:loads", "sys:exit")

ROWS = [
    *WHOLE,
    *[(f"agent: {{name: a, {text}}}", f"agent.{told}", *also) for text, told, *also in AGENT_KEYS],
    *[
        (f"{AGENT}{section}: {{{text}}}", f"{section}.{told}", *also)
        for section, rows in (
            ("expose", EXPOSE),
            ("streaming", STREAMING),
            ("auth", AUTH),
            ("secrets", SECRETS),
            ("io_schema", IO_SCHEMA),
            ("observability", OBSERVABILITY),
        )
        for text, told, *also in rows
    ],
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].removeprefix(AGENT).strip())
def test_refused(refused: Refused, row: tuple[str, ...]) -> None:
    text, told, *also = row
    error = refused(text)
    assert [str(problem) for problem in error.problems if str(problem).startswith(told)], str(error)
    assert len(error.problems) == 1
    assert all(part in str(error) for part in also), str(error)
    assert str(error).startswith(f"Dockfile.yaml:{text.rstrip().count(chr(10)) + 1}: ")


@pytest.mark.parametrize("value", NOT_REFERENCES)
@pytest.mark.parametrize("key", ["handler", "adapter"])
def test_not_a_reference(refused: Refused, key: str, value: str) -> None:
    error = refused(
        f"agent: {{name: a, handler: 'm:f', {key}: '{value}'}}".replace("handler: 'm:f', handler", "handler")
    )
    assert str(error).startswith(
        f"Dockfile.yaml:1: agent.{key}: expected module:attribute, got {value!r}; for example"
    )


@pytest.mark.parametrize("value", STANDARD)
def test_a_module_of_the_standard_library(refused: Refused, value: str) -> None:
    error = refused(f"agent: {{name: a, handler: '{value}'}}")
    assert f"agent.handler: a module of Python's standard library cannot be an agent, got '{value}'; " in str(
        error
    )


def test_a_required_and_optional_secret_of_one_name(refused: Refused) -> None:
    error = refused(AGENT + "secrets: {optional: [{name: A}], required: [{name: A}]}", {"A": "x"})
    assert [problem.path for problem in error.problems] == ["secrets.optional[0].name"]


def test_all_problems_are_told_at_once_in_the_order_of_the_file(refused: Refused) -> None:
    error = refused(
        """\
auth: {mode: key}
agent:
  entrypoint: graph
  name: a
  handler: app:f
  framewrok: langgraph
streaming:
  events:
    heartbeat_interval: soon
    allowed: [tokn, "${NAMES}", stepp]
expose: {port: "${PORT", hots: x}
secrets:
  required:
    - {name: KEY}
"""
    )
    assert [(problem.line, problem.path) for problem in error.problems] == [
        (1, "auth.mode"),
        (3, "agent.entrypoint"),
        (3, "agent.entrypoint"),
        (5, "agent.handler"),
        (6, "agent.framewrok"),
        (9, "streaming.events.heartbeat_interval"),
        (10, "streaming.events.allowed[0]"),
        (10, "streaming.events.allowed[1]"),
        (10, "streaming.events.allowed[2]"),
        (11, "expose.port"),
        (11, "expose.hots"),
        (14, "secrets.required[0]"),
    ]
    assert str(error).splitlines()[5] == (
        "Dockfile.yaml:9: streaming.events.heartbeat_interval: expected a number, got 'soon'"
    )
    assert error.file == "Dockfile.yaml"


def test_an_unknown_section_is_a_warning(load_text: Load) -> None:
    dockfile = load_text(AGENT + "telemetry: {key: '${UNSET}'}\n")
    (warning,) = dockfile.warnings
    assert warning.startswith("Dockfile.yaml:2: telemetry: unknown section, ignored; Valid: version, agent,")


@pytest.mark.parametrize(
    ("given", "meant"),
    [("expsoe", "expose"), ("steaming", "streaming"), ("Streaming", "streaming"), ("secret", "secrets")],
)
def test_a_misspelt_section_is_an_error(refused: Refused, given: str, meant: str) -> None:
    error = refused(AGENT + f"{given}: {{}}\n")
    (line,) = str(error).splitlines()
    assert line.startswith(f"Dockfile.yaml:2: {given}: unknown section; did you mean {meant!r}? Valid: ver")


def test_a_misspelt_agent_section_is_named_where_it_is_missed(refused: Refused) -> None:
    assert "agent: is required; these sections are unknown: 'agnet'" in str(refused("agnet: {name: a}\n"))
    assert "agent: is required; add agent: {" in str(refused("expose: {}\n"))


def _keys(section: type[Section], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            yield from _keys(inner, (*path, name))
        yield (*path, name)


WRONG = ["soon", "", "9" * 23, "-1", "1.5", "true", "[]", "[[]]", "{a: 1}", ".nan", ".inf", "null", "[1, {}]"]
RAW = re.compile(r"Input should|Value error|unable to parse|pydantic|valid dictionary|Traceback")


@pytest.mark.parametrize("path", list(_keys(Dockfile)), ids=".".join)
def test_no_message_is_pydantics(load_text: Load, path: tuple[str, ...]) -> None:
    """Whatever stands at any key: it is accepted, or refused in our own words, with its place."""
    for wrong in WRONG:
        written = wrong
        for name in reversed(path):
            written = f"{{{name}: {written}}}"
        text = written[1:-1] + "\n" + ("" if path[0] == "agent" else AGENT)
        found: DockfileError | None = None
        try:
            load_text(text)
        except DockfileError as error:
            found = error
        if found is not None:
            assert not RAW.search(str(found)), f"{text}: {found}"
            assert all(problem.line for problem in found.problems if problem.path), f"{text}: {found}"
