"""The OpenAPI document of one agent's server, and the page that shows it.

A route says what it takes and gives by its ``operation_class``, which `Describer` makes; the schemas are
made of the structs that are sent (`schemas`), so that they cannot differ from them.
"""

from __future__ import annotations

from .operation import (
    ANY_CODE,
    Describer,
    Headers,
    JSONSchema,
    answer,
    header,
    nothing,
    parameter,
    stream,
    text,
)
from .page import openapi_config

__all__ = [
    "ANY_CODE",
    "Describer",
    "Headers",
    "JSONSchema",
    "answer",
    "header",
    "nothing",
    "openapi_config",
    "parameter",
    "stream",
    "text",
]
