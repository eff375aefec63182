"""Loaded by schemathesis, not by pytest."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Name a run in one way: OpenAPI cannot say that two parameters exclude each other.

    What is answered where both are given is tested in tests/runtime/test_runs.py.
    """
    del context, kwargs
    if "run_id" in (case.query or {}):
        case.headers.pop("Idempotency-Key", None)
