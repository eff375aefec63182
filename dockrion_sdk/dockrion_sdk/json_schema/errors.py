"""What the parts of this package pass along."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

Document: TypeAlias = dict[str, Any]
Path: TypeAlias = tuple[str | int, ...]


class SchemaError(Exception):
    """A schema that cannot be used; ``path`` leads to the place in it."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path = path
        self.message = message


class Fault(NamedTuple):
    """What is wrong with a value, and where in it."""

    path: Path
    message: str


class ValidationTimeout(TimeoutError):
    """A value took longer to check than `SECONDS`."""
