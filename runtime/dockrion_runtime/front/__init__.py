"""What every request passes before it reaches a route.

* `hosts`: is the name in ``Host`` one of this server's? Without that check a page can reach a server on its
  visitor's machine by giving its own name that machine's address (DNS rebinding).
* `origins`: does the request come from a page, and may pages of that origin call? CORS alone keeps a page
  from reading an answer, not from sending a request, and does not know WebSockets.
* `prefix`: below which path do clients find the server? It stands before every address that is answered.
* `door`: the ASGI part of all three, and ``HEAD``.
"""

from __future__ import annotations

from .door import AgentApp, FrontDoor
from .hosts import Hosts
from .prefix import prefix_of

__all__ = ["AgentApp", "FrontDoor", "Hosts", "prefix_of"]
