"""JSON Schema (Draft 2020-12): compiled once, checked in bounded time, and nothing is ever fetched.

The engine is `jsonschema_rs`: regular expressions without backtracking, references that are resolved when
the schema is compiled, and a verdict that stops at the first fault. ``pattern`` and ``uniqueItems`` are
replaced, because their worst case is too slow there.
"""

from __future__ import annotations

from .dangers import dangers
from .errors import Fault, SchemaError, ValidationTimeout
from .schema import Schema
from .texts import shortened

__all__ = ["Fault", "Schema", "SchemaError", "ValidationTimeout", "dangers", "shortened"]
