"""Where Redis is: URLs, and the connections that they stand for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any, Final, Literal, NamedTuple, TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit

from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ...addresses import check_store_url

Kind: TypeAlias = Literal["single", "sentinel", "cluster"]
Address: TypeAlias = tuple[str, int]
Make: TypeAlias = Callable[[], AbstractConnection]

FORMS: Final = (
    "redis://[user:password@]host:port/db, rediss://…, unix:///path?db=0, "
    "redis+sentinel://host:port,host:port/service/db, redis+cluster://host:port,host:port "
    "(with TLS: rediss+sentinel, rediss+cluster)"
)

SENTINEL_PORT: Final = 26379
REDIS_PORT: Final = 6379
SENTINEL_SECONDS: Final = 1.0
"""How long one sentinel may take to answer before the next is asked."""

UNNAMED: Final = (
    {"driver_info": None}
    if "driver_info" in signature(AbstractConnection.__init__).parameters
    else {"lib_name": None, "lib_version": None}  # redis-py < 7.2
)
"""Keeps the driver from sending its name and version on every connection."""

_OURS: Final = {"socket_timeout": None, "protocol": 2, "decode_responses": False, **UNNAMED}
"""Time-outs are the lanes' own; RESP2 has one shape of replies; nothing is sent that is not needed."""

_POOL_OPTIONS: Final = ("max_connections", "timeout", "retry_on_timeout", "health_check_interval")


class Place(NamedTuple):
    """A parsed URL. ``text`` says where it is without user name, password and options."""

    kind: Kind
    nodes: list[Address]
    options: dict[str, Any]
    text: str
    service: str = ""
    sentinel_options: Mapping[str, Any] = {}


def parse(url: str) -> Place:
    """Return what ``url`` says. Raises ``ValueError``, which never repeats the URL's password."""
    scheme, _, topology = url.partition("://")[0].partition("+")
    if scheme not in ("redis", "rediss", "unix") or topology not in ("", "sentinel", "cluster"):
        raise ValueError(f"not a Redis URL; the forms are {FORMS}")
    try:
        check_store_url(url)
    except ValueError as error:
        raise ValueError(f"not a Redis URL: {error}; the forms are {FORMS}") from None
    parts = urlsplit(url)
    if not topology:
        return _single(url, parts.scheme)
    return _several(parts.scheme, parts.netloc, parts.path, parts.query)


def _single(url: str, scheme: str) -> Place:
    options = _options(url)
    if scheme == "unix":
        text = f"unix://{options.get('path', '')}"
    else:
        text = f"{scheme}://{options.get('host', 'localhost')}:{options.get('port', REDIS_PORT)}"
    database = options.get("db", 0)
    return _checked(Place("single", [], options, f"{text}/{database}" if scheme != "unix" else text))


def _several(scheme: str, netloc: str, path: str, query: str) -> Place:
    base, _, kind = scheme.partition("+")
    login, _, hosts = netloc.rpartition("@")
    service, _, database = path.strip("/").partition("/")
    if kind == "cluster":
        service, database = "", service
        if database not in ("", "0"):
            raise ValueError("a Redis cluster has only the database 0")
    elif not service:
        raise ValueError("the URL of a Sentinel ends with the name of the service: …/service or …/service/db")
    nodes = [_address(host, SENTINEL_PORT if kind == "sentinel" else REDIS_PORT) for host in hosts.split(",")]
    sentinel_names = {"sentinel_username": "username", "sentinel_password": "password"}
    asked = dict(parse_qsl(query))
    sentinel = {name: asked.pop(key) for key, name in sentinel_names.items() if key in asked}
    options = _options(f"{base}://{login}@localhost/{database}?{urlencode(asked)}")
    del options["host"]
    text = f"{scheme}://{','.join(f'{host}:{port}' for host, port in nodes)}"
    place = Place(
        "sentinel" if kind == "sentinel" else "cluster",
        nodes,
        options,
        f"{text}/{service}" if service else text,
        service,
        sentinel,
    )
    return _checked(place)


def _address(host: str, port: int) -> Address:
    try:
        parts = urlsplit(f"//{host}")
        if not parts.hostname:
            raise ValueError
        return parts.hostname, parts.port or port
    except ValueError:
        raise ValueError("a Redis URL names its hosts as host:port,host:port") from None


def _options(url: str) -> dict[str, Any]:
    try:
        options = dict(parse_url(url))
    except ValueError:
        raise ValueError(f"not a Redis URL: an option has no valid value; the forms are {FORMS}") from None
    for name in _POOL_OPTIONS:
        options.pop(name, None)
    return {"socket_connect_timeout": 2.0, **options, **_OURS}


def _checked(place: Place) -> Place:
    """Return ``place`` if connections can be made from it; they are made lazily otherwise."""
    try:
        connection(place.options, place.nodes[0] if place.nodes else None)()
    except (TypeError, ValueError, RedisError):
        names = ", ".join(sorted(set(place.options) - {"password", "username"}))
        raise ValueError(f"the Redis URL has options that do not work: {names}") from None
    return place


def connection(options: Mapping[str, Any], address: Address | None = None) -> Make:
    """Return what makes connections to one server."""
    arguments = dict(options)
    kind: type[AbstractConnection] = arguments.pop("connection_class", Connection)
    if address is not None:
        arguments["host"], arguments["port"] = address

    def make() -> AbstractConnection:
        return kind(**arguments)

    return make


class Master:
    """Makes connections to the master that the sentinels name at that moment."""

    def __init__(self, place: Place) -> None:
        options = dict(place.options)
        tls = options.pop("connection_class", None) is SSLConnection
        secure = {name: value for name, value in options.items() if name.startswith("ssl")}
        asking = {
            "ssl": tls,
            "protocol": 2,
            "retry": Retry(NoBackoff(), 0),  # there are other sentinels to ask
            "socket_timeout": SENTINEL_SECONDS,
            "socket_connect_timeout": SENTINEL_SECONDS,
        }
        self._sentinel = Sentinel(  # type: ignore[no-untyped-call]
            place.nodes, sentinel_kwargs={**asking, **secure, **place.sentinel_options}
        )
        self._pool = SentinelConnectionPool(  # type: ignore[no-untyped-call]
            place.service, self._sentinel, ssl=tls, **options
        )

    def __call__(self) -> AbstractConnection:
        made: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        return made

    async def close(self) -> None:
        await asyncio.gather(*(each.aclose() for each in self._sentinel.sentinels))
