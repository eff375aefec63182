"""Dockfile.yaml: its models, and how one is read, filled from the environment and checked."""

from .errors import DockfileError, Problem
from .limits import Limits
from .load import load_dockfile
from .models import (
    CORS,
    Agent,
    APIKeys,
    Auth,
    Dockfile,
    Expose,
    IOSchema,
    Observability,
    OptionalSecret,
    RequiredSecret,
    Secrets,
)
from .streaming import Streaming, StreamingEvents

__all__ = [
    "CORS",
    "APIKeys",
    "Agent",
    "Auth",
    "Dockfile",
    "DockfileError",
    "Expose",
    "IOSchema",
    "Limits",
    "Observability",
    "OptionalSecret",
    "Problem",
    "RequiredSecret",
    "Secrets",
    "Streaming",
    "StreamingEvents",
    "load_dockfile",
]
