"""Which pages may call: requests that a browser sends for a page of another origin.

The browser says by ``Sec-Fetch-Site`` how the page is related to the server, where the server's address is
``https`` or on the same machine; elsewhere it sends ``Origin`` alone, with all but plain reads. Programs
send neither, and are not concerned.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from dockrion_sdk import Dockfile

from .hosts import ANY

_PORTS: Final = {"http": 80, "https": 443}
_OWN: Final = (b"same-origin", b"none")
"""``none`` is a request of the user's own: an address typed in, a bookmark."""


class Origins:
    """The pages that may call one server: its own, and those of ``expose.cors.origins``."""

    def __init__(self, dockfile: Dockfile) -> None:
        expose = dockfile.expose
        self._any = ANY in expose.cors.origins
        self._listed = frozenset(normal_origin(origin) for origin in expose.cors.origins)
        self._public = None if expose.public_url is None else normal_origin(expose.public_url)

    def allows(self, method: str, headers: Mapping[bytes, bytes]) -> bool:
        """Say whether a request with these headers, in lower case, may be answered.

        A top-level navigation that only reads is allowed from anywhere: that is what a link is, and the page
        that has the link cannot see where it leads.
        """
        site, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin")
        if self._any or site in _OWN or (site is None and origin is None):
            return True
        if origin is not None and origin != b"null":
            given = normal_origin(origin.decode("latin-1"))
            if given in self._listed:
                return True
            if site is None and given is not None:
                return given == self._public or given.partition("://")[2] == _netloc(given, headers)
        return (
            method in ("GET", "HEAD")
            and headers.get(b"sec-fetch-mode") == b"navigate"
            and headers.get(b"sec-fetch-dest") == b"document"
        )


def normal_origin(address: str) -> str | None:
    """Return the origin of an address as a browser writes it; None where it has none."""
    try:
        parts = urlsplit(address.lower())
        port = parts.port
    except ValueError:
        return None
    if not (parts.scheme and parts.hostname):
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    default = port is None or port == _PORTS.get(parts.scheme)
    return f"{parts.scheme}://{host}" if default else f"{parts.scheme}://{host}:{port}"


def _netloc(origin: str, headers: Mapping[bytes, bytes]) -> str | None:
    """Return where the request was sent, as ``origin`` would write it.

    The scheme is taken from the origin: behind a proxy that ends TLS the server does not know its own.
    """
    host = headers.get(b"host")
    own = None if host is None else normal_origin(f"{origin.partition('://')[0]}://{host.decode('latin-1')}")
    return None if own is None else own.partition("://")[2]
