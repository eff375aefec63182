"""The callbacks of a config, and how to be one of them."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager


def added(callbacks: Any, handler: BaseCallbackHandler) -> Any:
    """Return the callbacks of a config and one more, leaving the given ones as they are."""
    if isinstance(callbacks, BaseCallbackManager):
        manager = callbacks.copy()
        manager.add_handler(handler, inherit=True)
        return manager
    return [*(callbacks or ()), handler]
