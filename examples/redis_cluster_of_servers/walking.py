"""An agent that takes its time. It knows nothing of servers, runs or Redis."""

from __future__ import annotations

import asyncio
from typing import Any

from dockrion_events import StreamContext


async def walk(payload: dict[str, Any], context: StreamContext | None = None) -> dict[str, Any]:
    """Take so many steps, with a pause after each."""
    steps = payload["steps"]
    for step in range(1, steps + 1):
        if context is not None:
            await context.emit_progress(f"step {step}", step / steps)
        await asyncio.sleep(payload.get("pause", 0.1))
    return {"walked": steps}
