"""`expose.limits`: what a client may cost the server."""

from __future__ import annotations

from pydantic import Field

from .fields import Count
from .section import Section


class Limits(Section):
    """`expose.limits`: what one client may cost the server."""

    json_growth: Count = Field(
        default=10,
        description="How many times its size a JSON body may take in memory, by estimate; more gets 413. "
        "A body below 1 MiB counts as one of 1 MiB.",
    )
    a2a_values: Count = Field(
        default=10_000,
        description="How many values the JSON of an A2A request may have; more gets 413.",
    )
