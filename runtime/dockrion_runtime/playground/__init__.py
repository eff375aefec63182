"""The playground: a page that runs the agent and shows its stream, served by the agent's own server.

The page in ``static`` is plain HTML, CSS and ES modules: no build step, and nothing from elsewhere.
"""

from __future__ import annotations

from .routes import has_playground, playground_routes

__all__ = ["has_playground", "playground_routes"]
