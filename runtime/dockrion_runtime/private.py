"""The headers of every answer that is for its client alone: JSON, problems, metrics.

No cache may keep it, and no browser may take it for anything but what its ``Content-Type`` says.
"""

from __future__ import annotations

from typing import Final

PRIVATE_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

PRIVATE: Final = tuple((name.lower().encode(), value.encode()) for name, value in PRIVATE_HEADERS.items())
"""The same as ASGI has them."""
