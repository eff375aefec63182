"""The names in ``Host`` that a server answers to."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from dockrion_sdk import Dockfile

ANY: Final = "*"

_LOOPBACK: Final = "localhost"
_MOST_KNOWN: Final = 256
_HOST: Final = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{0,5})?", re.IGNORECASE)


class Hosts:
    """Which values of ``Host`` belong to one server.

    Its own names are ``localhost``, ``expose.host``, the name in ``expose.public_url`` and
    ``expose.allowed_hosts``. An IP address is allowed besides: a page whose origin is an address was served
    from that very address, so no DNS answer can turn it into a page of this server. Probes of Kubernetes,
    which name a pod by its address, depend on that.

    Names are checked where there is no authentication, and where ``expose.allowed_hosts`` is set.
    """

    def __init__(self, dockfile: Dockfile) -> None:
        expose = dockfile.expose
        listed = expose.allowed_hosts
        own = {_LOOPBACK, _bare(expose.host)}
        if expose.public_url is not None:
            own.add(_bare(urlsplit(expose.public_url).hostname or ""))
        self._names = frozenset(own | {_bare(name) for name in listed if not name.startswith("*")})
        self._suffixes = tuple(name[1:] for name in listed if name.startswith("*."))
        self._checked = ANY not in listed and (bool(listed) or dockfile.auth.mode == "none")
        self._known: set[bytes] = set()  # values that were allowed before: most requests name the same host

    @property
    def checked(self) -> bool:
        """Whether requests for other names are refused."""
        return self._checked

    def allows(self, host: bytes) -> bool:
        """Say whether a request for ``host``, the value of the header, is answered."""
        if not self._checked or host in self._known:
            return True
        name = _name(host)
        if name is None or not (self._is_own(name) or _is_address(name)):
            return False
        if len(self._known) < _MOST_KNOWN:
            self._known.add(host)
        return True

    def owns(self, host: bytes) -> bool:
        """Say whether ``host`` is a name of the server's own, fit to be told to other clients."""
        name = _name(host)
        return name is not None and self._is_own(name)

    def _is_own(self, name: str) -> bool:
        return name in self._names or name.endswith(self._suffixes or ("\0",))


def _name(host: bytes) -> str | None:
    """Return the name in a value of ``Host``, in lower case and without brackets; None without a name."""
    found = _HOST.fullmatch(host.decode("latin-1"))
    return None if found is None else _bare(found["name"])


def _bare(name: str) -> str:
    return name.lower().strip("[]").removesuffix(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
