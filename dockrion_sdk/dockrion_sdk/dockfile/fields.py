"""The kinds of value that Dockfile keys hold, and how a wrong one is named.

A fault says what is expected and never repeats the value itself: whether that may be shown is known only
where the file was read (see `explain`).
"""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, PlainValidator
from pydantic_core import PydanticCustomError

from dockrion_events.addresses import check_store_url

from ..json_schema import Schema, SchemaError
from .substitute import VARIABLE_NAME

FAULT = "dockfile"
"""The pydantic error type of every fault made here."""


@dataclass(frozen=True)
class Shown:
    """How the documentation names a kind of value."""

    text: str


_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")  # RFC 9110, section 5.6.2
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s?#@*,]+")  # RFC 6454, section 7
_HOST_NAME = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_NOT_IN_BASE = re.compile(r"[^!-~]|[?#@\\]")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "*")
_STREAMINGS = ("sse", "websocket", "none")
PROTOCOLS = ("a2a",)
_PREFIX = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)
_STORE_SCHEMES = (
    "redis",
    "rediss",
    "unix",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
)


def fault(
    message: str,
    *,
    hint: str = "",
    valid: Sequence[str] = (),
    at: Sequence[str | int] = (),
    instead: str = "",
    told: bool = False,
) -> PydanticCustomError:
    """Describe a wrong value.

    `valid` lists the values there are, `at` leads further into the value. A message that had to name the
    value itself carries in `instead` what to say where the value must not be shown; `told` marks one that
    needs no mention of the value at all.
    """
    context = {
        "message": message,
        "hint": hint,
        "valid": tuple(valid),
        "at": tuple(at),
        "instead": instead,
        "told": told or bool(instead),
    }
    return PydanticCustomError(FAULT, "{message}", context)


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise fault("expected a number")
    return value


def _one_of(*valid: str, optional: bool = False) -> BeforeValidator:
    def check(value: Any) -> Any:
        if value is None and optional:
            return None
        if not isinstance(value, str) or value not in valid:
            raise fault("not a valid value", valid=valid)
        return value

    return BeforeValidator(check)


def _matching(pattern: re.Pattern[str], expected: str) -> BeforeValidator:
    def check(value: Any) -> Any:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise fault(f"expected {expected}")
        return value

    return BeforeValidator(check)


def _reference(example: str) -> BeforeValidator:
    def check(value: Any) -> Any:
        module, _, attribute = value.partition(":") if isinstance(value, str) else ("", "", "")
        if not all(part.isidentifier() for part in [*module.split("."), *attribute.split(".")]):
            raise fault("expected module:attribute", hint=f"for example {example}")
        if module.split(".")[0] in sys.stdlib_module_names:
            raise fault(
                "a module of Python's standard library cannot be an agent",
                hint=f"name a module of your own, for example {example}; rename it if it has a standard name",
            )
        return value

    return BeforeValidator(check)


def _version(value: Any) -> Any:
    if (value == "1.0" and isinstance(value, str)) or (isinstance(value, float) and value == 1.0):
        return "1.0"
    raise fault("not a known version", hint='write "1.0"')


def _agent_name(value: Any) -> Any:
    if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > 128:
        raise fault("expected a name: one line of at most 128 characters")
    return value


def _streamings(value: Any) -> tuple[str, ...]:
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list | tuple):
        raise fault("expected sse, websocket, none or a list", valid=_STREAMINGS)
    for index, item in enumerate(given):
        if item not in _STREAMINGS:
            at = () if given is not value else (index,)
            raise fault("not a valid value", valid=_STREAMINGS, at=at)
    if "none" in given and len(set(given)) > 1:
        raise fault("none stands alone", hint="remove none, or everything else")
    return tuple(dict.fromkeys(item for item in given if item != "none"))


def _protocols(value: Any) -> tuple[str, ...]:
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list | tuple):
        raise fault("expected a list of protocols", valid=PROTOCOLS)
    for index, item in enumerate(given):
        if item not in PROTOCOLS:
            raise fault("not a valid value", valid=PROTOCOLS, at=() if given is not value else (index,))
    return tuple(dict.fromkeys(given))


def _origin(value: Any) -> Any:
    if value != "*" and not (isinstance(value, str) and _ORIGIN.fullmatch(value.lower())):
        raise fault("expected an origin without a path, or *", hint="for example https://app.example.com")
    return value


def _host_pattern(value: Any) -> Any:
    if value == "*":
        return value
    name = value.lower().rstrip(".") if isinstance(value, str) else ""
    if not (len(name) <= 253 and (_HOST_NAME.fullmatch(name) or _is_address(name.strip("[]")))):
        hint = "for example agents.example.com, or *.example.com for all names below it; no port, no scheme"
        raise fault("expected the name of a host, or *", hint=hint)
    return name


def _proxy(value: Any) -> Any:
    if value != "*" and not (isinstance(value, str) and _is_network(value)):
        raise fault("expected an IP address, a network or *", hint="for example 10.0.0.7 or 10.0.0.0/8")
    return value


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _public_url(value: Any) -> Any:
    if value is None:
        return None
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or _NOT_IN_BASE.search(value):
        hint = "for example https://agents.example.com or https://example.com/agents/mine"
        raise fault("expected the URL of a server, without user, query and fragment", hint=hint)
    return value.rstrip("/")


def _method(value: Any) -> Any:
    method = value.upper() if isinstance(value, str) else ""
    if method not in _METHODS:
        raise fault("not a valid value", valid=_METHODS)
    return method


def _events(value: Any) -> Any:
    if value is None:
        return None
    if not isinstance(value, str | list | tuple):
        raise fault("expected a preset or a list of event names", hint="for example chat, or [token, step]")
    return value if isinstance(value, str) else tuple(value)


def _store_url(value: Any) -> Any:
    scheme, separator, rest = value.partition("://") if isinstance(value, str) else ("", "", "")
    if scheme not in _STORE_SCHEMES or not separator or not rest:
        raise fault(
            "expected the URL of a Redis",
            hint="for example redis://localhost:6379; schemes: " + ", ".join(_STORE_SCHEMES),
            told=True,
        )
    try:
        check_store_url(value)
    except ValueError as error:
        told, _, hint = str(error).partition("; ")
        raise fault(told, hint=hint or "for example redis://localhost:6379/0", told=True) from None
    return value


def _store_prefix(value: Any) -> Any:
    if value is not None and not (isinstance(value, str) and _PREFIX.fullmatch(value)):
        raise fault(
            "expected 1 to 128 letters, digits, '.', '_', '-' and ':'",
            hint="for example staging:my-agent",
            told=True,
        )
    return value


def _json_schema(value: Any) -> Any:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise fault("expected a JSON Schema: a mapping, such as {type: object}")
    try:
        Schema(value)
    except SchemaError as error:
        named = f"not valid JSON Schema: {error.message}"
        raise fault(named, at=error.path, instead="not valid JSON Schema") from None
    except RecursionError:
        raise fault("not valid JSON Schema: it is nested too deeply", told=True) from None
    return value


_number = BeforeValidator(_no_boolean)

Version = Annotated[Literal["1.0"], BeforeValidator(_version), Shown('`"1.0"`')]
AgentName = Annotated[str, BeforeValidator(_agent_name), Shown("one line of at most 128 characters")]
AgentReference = Annotated[str, _reference("app.service:handle"), Shown("`module:attribute`")]
AdapterReference = Annotated[str, _reference("my_package.adapter:MyAdapter"), Shown("`module:Class`")]
NonEmpty = Annotated[str, Field(min_length=1, max_length=255), Shown("text")]
Count = Annotated[int, _number, Field(ge=1), Shown("whole number from 1")]
MostRuns = Annotated[int, _number, Field(ge=1, le=10_000), Shown("whole number from 1 to 10,000")]
Port = Annotated[int, _number, Field(ge=0, le=65535), Shown("whole number from 0 to 65535")]
Seconds = Annotated[float, _number, Field(gt=0, allow_inf_nan=False), Shown("seconds, more than 0")]
Streamings = Annotated[
    tuple[Literal["sse", "websocket"], ...],
    BeforeValidator(_streamings),
    Shown("`sse`, `websocket`, a list of both, or `none`"),
]
Protocols = Annotated[tuple[Literal["a2a"], ...], BeforeValidator(_protocols), Shown("list of `a2a`")]
Origin = Annotated[str, BeforeValidator(_origin), Shown("origin, or `*`")]
HostPattern = Annotated[str, BeforeValidator(_host_pattern), Shown("name of a host, `*.NAME`, or `*`")]
Proxy = Annotated[str, BeforeValidator(_proxy), Shown("IP address, network, or `*`")]
Method = Annotated[str, BeforeValidator(_method), Shown("HTTP method")]
PublicURL = Annotated[str | None, BeforeValidator(_public_url), Shown("URL, `http` or `https`")]
Allowed = Annotated[
    str | tuple[str, ...] | None,
    PlainValidator(_events),
    Shown("preset (`minimal`, `chat`, `debug`, `all`), or list of events"),
]
JSONSchema = Annotated[
    dict[str, Any] | None, PlainValidator(_json_schema), Shown("JSON Schema (Draft 2020-12)")
]
StoreKind = Annotated[Literal["memory", "redis"], _one_of("memory", "redis")]
LostPolicy = Annotated[Literal["fail", "restart", "resume"], _one_of("fail", "restart", "resume")]
LogStyle = Annotated[Literal["auto", "json", "console"], _one_of("auto", "json", "console")]
ErrorsShown = Annotated[
    Literal["full", "type", "none"] | None,
    _one_of("full", "type", "none", optional=True),
    Shown("`full`, `type` or `none`"),
]
TracingKind = Annotated[Literal["otel", "none"], _one_of("otel", "none")]
IdKind = Annotated[Literal["uuid", "custom"], _one_of("uuid", "custom")]
StoreURL = Annotated[str, BeforeValidator(_store_url), Field(repr=False), Shown("URL of a Redis")]
StorePrefix = Annotated[
    str | None,
    BeforeValidator(_store_prefix),
    Shown("letters, digits, `.`, `_`, `-` and `:`"),
]
Share = Annotated[
    float, _number, Field(gt=0, le=1, allow_inf_nan=False), Shown("number, more than 0 and at most 1")
]
LeaseSeconds = Annotated[
    float, _number, Field(ge=0.5, le=3600, allow_inf_nan=False), Shown("seconds, 0.5 to 3600")
]
AuthMode = Annotated[Literal["none", "api_key"], _one_of("none", "api_key")]
HeaderName = Annotated[
    str, _matching(_TOKEN, "the name of an HTTP header, such as X-API-Key"), Shown("name of a header")
]
VariableName = Annotated[
    str,
    _matching(VARIABLE_NAME, "the name of an environment variable, such as DOCKRION_API_KEY"),
    Shown("name of an environment variable"),
]
