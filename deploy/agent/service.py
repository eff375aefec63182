"""An agent to deploy: put your own in its place, or its folder's name into the build argument AGENT."""

from typing import Any


async def handle(payload: dict[str, Any], context: Any = None) -> dict[str, Any]:
    """Say each word of ``payload["text"]`` back."""
    words = payload["text"].split()
    for word in words:
        if context:
            await context.emit_token(f"{word} ")
    return {"words": len(words)}
