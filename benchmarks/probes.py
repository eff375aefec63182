"""Routes that a server under test gets besides its own: a static one, and what is open in the process."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from typing import Any, Final

from litestar import Response, get, post
from litestar.handlers import BaseRouteHandler

ACCEPTED: Final = {
    "run_id": "4be0643f-1d98-573b-97cd-ca98a65347dd",
    "status": "accepted",
    "events_url": "/runs/4be0643f-1d98-573b-97cd-ca98a65347dd/events",
    "created_at": "2026-01-01T00:00:00.000000Z",
}


@post("/bench/static", status_code=202)
async def static() -> Response[dict[str, Any]]:
    """Answer as ``POST /runs`` does, and do nothing."""
    return Response(ACCEPTED, headers={"Location": ACCEPTED["events_url"]})


@get("/bench/state")
async def state() -> dict[str, int]:
    """Return what is open in this process."""
    gc.collect()
    return {
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
        "descriptors": len(os.listdir("/proc/self/fd")),
    }


ROUTES: Final[list[BaseRouteHandler]] = [static, state]
