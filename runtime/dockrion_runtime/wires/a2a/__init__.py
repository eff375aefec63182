"""The A2A wire (https://a2a-protocol.org, 1.0, and 0.3 by the SDK's compatibility): tasks are runs.

A task's id is its run's, its state the run's status, its context the run's ``thread_id`` (the run's own id,
where the client named none). What a stream shows is the run's log from its beginning, so that subscribing
again, on any server of the store, shows the same once more; nothing is kept here between requests. A
message that is sent again, as after a connection broke, finds the task that it has made.

======================== ================================================================
event                    in a stream
======================== ================================================================
``started``              status ``working``
``token``                a chunk of a text artifact, one artifact for each ``message_id``
``complete``             the artifact ``output``, and status ``completed``
``error``, ``cancelled`` status ``failed``, ``canceled``
``restarted``, ``gap``   status ``working`` with the event; text begins anew
all others               status ``working`` with the event as a data part
======================== ================================================================

The metadata of every update has the event's ``type`` and ``sequence``.
"""

from __future__ import annotations

from .routes import protocol_routes

__all__ = ["protocol_routes"]
