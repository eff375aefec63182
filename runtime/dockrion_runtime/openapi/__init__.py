"""The OpenAPI document of one agent's server, and the page that shows it.

A route says what it takes and gives by its ``operation_class``, which `Describer` makes; the schemas are
made of the structs that are sent (`schemas`), so that they cannot differ from them.
"""

from __future__ import annotations

from .operation import Describer, Headers, JSONSchema, answer, header, nothing, parameter, reference, stream
from .page import assets_router, openapi_config

__all__ = [
    "Describer",
    "Headers",
    "JSONSchema",
    "answer",
    "assets_router",
    "header",
    "nothing",
    "openapi_config",
    "parameter",
    "reference",
    "stream",
]
