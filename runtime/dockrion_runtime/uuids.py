"""Random UUIDs as text: each request and each run is named by one."""

from __future__ import annotations

import os


def random_uuid() -> str:
    """Return what ``str(uuid.uuid4())`` returns, for less: the object in between is most of its price."""
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"
