"""Every key: its default, and what it takes."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from dockrion_events import EventsFilter
from dockrion_sdk import Dockfile

from .conftest import AGENT, Load


def test_defaults(load_text: Load) -> None:
    assert load_text(AGENT).model_dump() == {
        "version": "1.0",
        "agent": {
            "name": "my-agent",
            "description": "",
            "handler": "app.service:handle",
            "entrypoint": None,
            "framework": None,
            "adapter": None,
            "recursion_limit": 1000,
        },
        "io_schema": {"input": None, "output": None, "strict": False},
        "expose": {
            "rest": True,
            "streaming": ("sse",),
            "protocols": (),
            "playground": True,
            "port": 8080,
            "host": "127.0.0.1",
            "allowed_hosts": (),
            "public_url": None,
            "trusted_proxies": (),
            "cors": {"origins": (), "methods": ("GET", "POST", "DELETE")},
            "errors": None,
            "max_body_bytes": 10485760,
            "limits": {
                "json_growth": 10,
                "check_seconds": 0.5,
                "page_runs": 500,
                "a2a_values": 10_000,
                "a2a_tasks": 10_000,
                "a2a_page_bytes": 1048576,
                "threads": 256,
                "abandoned_threads": 128,
                "output_bytes": 1048576,
                "connections": 2000,
                "head_bytes": 65536,
                "headers": 100,
                "head_seconds": 10.0,
                "body_seconds": 30.0,
                "idle_seconds": 5.0,
                "unread_seconds": 20.0,
                "ping_seconds": 20.0,
                "pipelined": 16,
                "buffered_bytes": 16777216,
                "message_bytes": 1048576,
                "socket_executions": 64,
                "compression": False,
            },
            "max_concurrent": 256,
            "shutdown_grace": 30.0,
        },
        "streaming": {
            "async_runs": False,
            "backend": "memory",
            "allow_client_ids": True,
            "id_generator": {"type": "uuid", "handler": None},
            "connection": {"default_timeout": 300.0, "max_subscribers_per_run": 100},
            "memory": {
                "stream_ttl_seconds": 3600.0,
                "max_events_per_run": 10_000,
                "max_bytes": 512 * 1024 * 1024,
            },
            "redis": {
                "url": "redis://localhost:6379",
                "prefix": None,
                "stream_ttl_seconds": 3600.0,
                "max_events_per_run": 10_000,
                "connection_pool_size": 10,
            },
            "runs": {
                "max_concurrent": 64,
                "max_waiting": 10_000,
                "owner_share": 0.5,
                "on_executor_lost": "fail",
                "lease_seconds": 10.0,
            },
            "events": {
                "allowed": None,
                "nodes": {"allow": None, "deny": ()},
                "tags": {"allow": None, "deny": ()},
                "heartbeat_interval": 15.0,
                "max_run_duration": 3600.0,
                "max_event_bytes": 8388608,
            },
        },
        "auth": {
            "mode": "none",
            "api_keys": {"env_var": "DOCKRION_API_KEY", "header": "X-API-Key", "allow_bearer": True},
        },
        "observability": {"metrics": True, "tracing": "none", "logs": "auto"},
        "secrets": {"required": (), "optional": ()},
    }


ACCEPTED: list[tuple[str, str, Any]] = [
    ('version: "1.0"', "version", "1.0"),
    ("version: 1.0", "version", "1.0"),
    ("expose: {rest: true, streaming: sse}", "expose.streaming", ("sse",)),
    ("expose: {rest: false}", "expose.rest", False),
    ("expose: {streaming: none}", "expose.streaming", ()),
    ("expose: {streaming: [sse]}", "expose.streaming", ("sse",)),
    ("expose: {streaming: [none]}", "expose.streaming", ()),
    ("expose: {streaming: []}", "expose.streaming", ()),
    ("expose: {port: 0}", "expose.port", 0),
    ("expose: {public_url: 'https://a.example'}", "expose.public_url", "https://a.example"),
    ("expose: {public_url: 'http://[::1]:8080/'}", "expose.public_url", "http://[::1]:8080"),
    ("expose: {public_url: 'https://a.example/b/c/'}", "expose.public_url", "https://a.example/b/c"),
    (
        "expose: {allowed_hosts: [Agents.Example.com, '*.example.com', my_agent, '*', '[::1]']}",
        "expose.allowed_hosts",
        ("agents.example.com", "*.example.com", "my_agent", "*", "[::1]"),
    ),
    (
        "expose: {trusted_proxies: [10.0.0.7, 10.0.0.0/8, '::1', '*']}",
        "expose.trusted_proxies",
        ("10.0.0.7", "10.0.0.0/8", "::1", "*"),
    ),
    ("expose: {public_url: }", "expose.public_url", None),
    ("expose: {port: 65535}", "expose.port", 65535),
    ('expose: {port: "8081"}', "expose.port", 8081),
    ("expose: {limits: {threads: 4}}", "expose.limits.threads", 4),
    ('expose: {limits: {threads: "200", abandoned_threads: 150}}', "expose.limits.abandoned_threads", 150),
    ("expose: {limits: {idle_seconds: 75}}", "expose.limits.idle_seconds", 75.0),
    ("expose: {shutdown_grace: 0.5}", "expose.shutdown_grace", 0.5),
    ("expose:\n", "expose.port", 8080),
    ("streaming:\n  events:\n", "streaming.events.heartbeat_interval", 15.0),
    ("expose: {cors: {origins: ['*']}}", "expose.cors.origins", ("*",)),
    (
        "expose: {cors: {origins: [https://app.example.com, 'http://localhost:3000']}}",
        "expose.cors.origins",
        ("https://app.example.com", "http://localhost:3000"),
    ),
    ("expose: {cors: {methods: [get, POST]}}", "expose.cors.methods", ("GET", "POST")),
    ("streaming: {events: {allowed: chat}}", "streaming.events.allowed", "chat"),
    ("streaming: {events: {allowed: []}}", "streaming.events.allowed", ()),
    ("streaming: {events: {nodes: {deny: [a, 'b.*']}}}", "streaming.events.nodes.deny", ("a", "b.*")),
    ("streaming: {events: {tags: {allow: [final]}}}", "streaming.events.tags.allow", ("final",)),
    ("streaming: {events: {tags: {allow: []}}}", "streaming.events.tags.allow", ()),
    ("streaming: {events: {allowed: null}}", "streaming.events.allowed", None),
    (
        "streaming: {events: {allowed: [token, step, custom]}}",
        "streaming.events.allowed",
        ("token", "step", "custom"),
    ),
    (
        'streaming: {events: {allowed: [token, "custom:fraud_check", "custom:analytics"]}}',
        "streaming.events.allowed",
        ("token", "custom:fraud_check", "custom:analytics"),
    ),
    (
        "streaming: {events: {allowed: chat, heartbeat_interval: 15, max_run_duration: 3600}}",
        "streaming.events.max_run_duration",
        3600.0,
    ),
    ("auth: {api_keys: {allow_bearer: false}}", "auth.api_keys.allow_bearer", False),
    ("auth: {api_keys: {header: X-Agent-Key}}", "auth.api_keys.header", "X-Agent-Key"),
    (
        "io_schema: {input: {type: object, unknown_keyword: 1, properties: {a.b: {type: string}}}}",
        "io_schema.input",
        {"type": "object", "unknown_keyword": 1, "properties": {"a.b": {"type": "string"}}},
    ),
    ("io_schema: {output: {}, strict: true}", "io_schema.strict", True),
    ("observability: {metrics: false}", "observability.metrics", False),
    ("observability: {tracing: otel}", "observability.tracing", "otel"),
    ("observability: {tracing: none}", "observability.tracing", "none"),
    ("observability: {logs: json}", "observability.logs", "json"),
    ("observability: {logs: console}", "observability.logs", "console"),
    ("observability:\n", "observability.logs", "auto"),
]


@pytest.mark.parametrize(("text", "path", "expected"), ACCEPTED)
def test_accepted(load_text: Load, text: str, path: str, expected: Any) -> None:
    value: Any = load_text(AGENT + text)
    for name in path.split("."):
        value = getattr(value, name)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    "agent",
    [
        "{name: a, entrypoint: app.graph:build_graph, framework: langgraph}",
        "{name: a, entrypoint: app.graph:build, adapter: my.pkg:Adapter}",
        "{name: a, entrypoint: app.graph:build, framework: mine, adapter: my.pkg:Adapter}",
        "{name: a, handler: handlers:Service.handle, adapter: my.pkg:Adapter}",
        "{name: Aufträge prüfen, description: Prüft., handler: prüfung:prüfe, recursion_limit: 25}",
    ],
)
def test_accepted_agents(load_text: Load, agent: str) -> None:
    assert load_text(f"agent: {agent}").agent.model_dump(exclude_unset=True).keys() >= {"name"}


def test_the_filter_of_the_allowed_events(load_text: Load) -> None:
    def events_filter(allowed: str) -> EventsFilter:
        return load_text(f"{AGENT}streaming: {{events: {allowed}}}").streaming.events.events_filter

    assert events_filter("{}") == EventsFilter(None)
    assert events_filter("{allowed: chat}") == EventsFilter("chat")
    assert events_filter("{allowed: []}") == EventsFilter([])
    assert events_filter("{allowed: [token, custom:a]}") == EventsFilter(["token", "custom:a"])


def test_a_dockfile_is_frozen(load_text: Load) -> None:
    dockfile = load_text(AGENT)
    with pytest.raises(ValidationError, match="frozen"):
        dockfile.expose.port = 1  # type: ignore[misc]


def test_one_made_in_memory_is_checked_too() -> None:
    made = Dockfile.model_validate({"agent": {"name": "a", "handler": "m:f"}})
    assert (made.file, made.warnings, made.expose.port) == (None, (), 8080)
    with pytest.raises(ValidationError, match="unknown key"):
        Dockfile.model_validate({"agent": {"name": "a", "handler": "m:f", "x": 1}})
