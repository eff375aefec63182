"""Every error this package raises.

::

    DockrionError
    ├── EventError (ValueError)      an emit call that cannot become an event
    │   ├── InvalidEvent             wrong name, wrong field, or a name that only the runtime may emit
    │   ├── EventTooLarge            over the size or the depth that one event may have
    │   └── NotSerialisable          a value that contains itself
    ├── InvalidFilter (ValueError)   an events filter that names what does not exist
    └── StreamClosed                 an emit after the terminal event, outside any execution

    RunCancelled (BaseException)     raised by ``sync_*`` calls once the execution is cancelled
    DockrionWarning (UserWarning)    something was ignored, and the program goes on
"""

from __future__ import annotations


class DockrionError(Exception):
    """Base of every error that dockrion raises by itself."""


class EventError(DockrionError, ValueError):
    """An emit call that cannot become an event; nothing was sent."""


class InvalidEvent(EventError):
    """The event's name or one of its fields is not valid; the message names what would be."""


class EventTooLarge(EventError):
    """The event's JSON is over the limit of bytes or of nesting levels."""


class NotSerialisable(EventError):
    """The value contains itself, so it has no finite JSON."""


class InvalidFilter(DockrionError, ValueError):
    """The filter names a preset or an event that does not exist; the message lists those that do."""


class StreamClosed(DockrionError):
    """The context's terminal event has been emitted; nothing may follow it."""


class RunCancelled(BaseException):
    """The execution was cancelled; synchronous code learns it from its next ``sync_*`` call.

    Like ``asyncio.CancelledError`` it is no ``Exception``, so that a retry loop around a failing
    call does not swallow it.
    """


class DockrionWarning(UserWarning):
    """Something the program asked for was ignored; the message says what and why."""
