"""Below which path clients find the server: behind a proxy, or mounted in another application."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from litestar.types import Scope

from dockrion_sdk import Dockfile

from ..problems import Problem
from .hosts import ANY

PREFIX: Final = "dockrion.prefix"
"""The member of a scope that holds the path before the server's own paths; absent where there is none."""

FORWARDED_PREFIX: Final = b"x-forwarded-prefix"
FORWARDED_PROTO: Final = b"x-forwarded-proto"

_SECURE: Final = {"http": "https", "ws": "wss", "https": "https", "wss": "wss"}
_PLAIN: Final = {"http": "http", "ws": "ws", "https": "http", "wss": "ws"}
_SEGMENTS: Final = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*/?")


def prefix_of(scope: Mapping[str, Any]) -> str:
    """Return what stands before the server's own paths in an address for clients; ``""`` in most cases."""
    prefix: str = scope.get(PREFIX, "")
    return prefix


class Place:
    """Finds the path of a request below the server, and the prefix for addresses in its answer.

    The prefix is the path of ``expose.public_url``; without that key it is ``X-Forwarded-Prefix`` of a
    trusted proxy and then the ``root_path`` below which the application is mounted. A proxy may take the
    prefix off the path or leave it there.
    """

    def __init__(self, dockfile: Dockfile) -> None:
        expose = dockfile.expose
        self._public = None if expose.public_url is None else urlsplit(expose.public_url).path
        self._any_proxy = ANY in expose.trusted_proxies
        self._proxies = [
            ipaddress.ip_network(proxy, strict=False) for proxy in expose.trusted_proxies if proxy != ANY
        ]
        self._trusts_some = self._any_proxy or bool(self._proxies)
        self.always = bool(self._public or self._trusts_some)
        """Whether each request is to be placed; otherwise those of an application that mounts the server."""

    def placed(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Scope:
        """Return a scope of the server's own whose path is below the prefix.

        Raises `Problem` 400 where a trusted proxy sends a prefix that is none.
        """
        mount, path = _mounted(scope)
        forwarded = ""
        placed: dict[str, Any] = {**scope, "root_path": "", "state": {}}
        if self._trusts_some and self._trusts(scope):
            forwarded = _forwarded(headers)
            proto = headers.get(FORWARDED_PROTO)
            schemes = {b"https": _SECURE, b"http": _PLAIN}.get(proto or b"")
            if schemes is not None:
                placed["scheme"] = schemes[scope["scheme"]]
        own = forwarded if self._public is None else self._public
        placed["path"] = _below(path, own) or path
        prefix = forwarded + mount if self._public is None else self._public
        placed[PREFIX] = quote(prefix, safe="/%!$&'()*+,;=:@~")
        return placed  # type: ignore[return-value]

    def _trusts(self, scope: Scope) -> bool:
        if self._any_proxy:
            return True
        client = scope.get("client")
        try:
            address = ipaddress.ip_address(client[0] if client else "")
        except ValueError:
            return False
        return any(address in network for network in self._proxies)


def _mounted(scope: Scope) -> tuple[str, str]:
    """Return below which path the application is mounted, and the rest of the request's path."""
    path: str = scope["path"]
    root = "/" + stripped if (stripped := scope.get("root_path", "").strip("/")) else ""
    if not root and "litestar_app" in scope:
        # Litestar takes the path of a mount off and does not say what it was.
        full = unquote(scope["raw_path"].partition(b"?")[0].decode("latin-1")).rstrip("/")
        path = path.rstrip("/")
        return full.removesuffix(path), path or "/"
    rest = _below(path, root)
    if rest is None:  # the outermost prefix is a proxy's, which has taken it off
        outer: Any = scope.get("app_root_path", "")  # Starlette's
        rest = _below(path, root.removeprefix(outer.rstrip("/")))
    return root, rest or path


def _below(path: str, prefix: str) -> str | None:
    """Return the rest of a path below ``prefix``; None where it is not below."""
    if not prefix or not (path == prefix or path.startswith(f"{prefix}/")):
        return None
    return path[len(prefix) :] or "/"


def _forwarded(headers: Mapping[bytes, bytes]) -> str:
    text = headers.get(FORWARDED_PREFIX, b"").decode("latin-1")
    if not _SEGMENTS.fullmatch(text):
        told = "X-Forwarded-Prefix has to be a path such as /agents/mine, without empty segments"
        raise Problem(400, "INVALID_FORWARDED_PREFIX", told)
    return text.rstrip("/")
