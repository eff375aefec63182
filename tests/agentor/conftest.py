"""These tests need Agentor, which wants an environment of its own: ``make test-agentor``."""

from __future__ import annotations

import importlib.util
import os

from ..servers.live import module, serve, store

__all__ = ["module", "serve", "store"]

if importlib.util.find_spec("agentor") is None:
    collect_ignore_glob = ["test_*.py"]

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # or litellm asks the network when imported
