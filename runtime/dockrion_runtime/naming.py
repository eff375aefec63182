"""The identifiers that clients may choose."""

from __future__ import annotations

from dockrion_events.bus.names import ID, ID_RULE

__all__ = ["ID", "ID_RULE"]
