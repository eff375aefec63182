"""Every error this package raises.

::

    DockrionError
    ├── EventError (ValueError)      an emit call that cannot become an event
    │   ├── InvalidEvent             wrong name, wrong field, or a name that only the runtime may emit
    │   ├── EventTooLarge            over the size or the depth that one event may have
    │   └── NotSerialisable          a value that contains itself
    ├── InvalidFilter (ValueError)   an events filter that names what does not exist
    ├── StreamClosed                 an emit, outside any execution, that nothing can take any more
    └── BusError                     what a run's log cannot do
        ├── BackendUnavailable       the store does not answer, or cannot take what it is given
        ├── RunNotFound              there is no such run, or it is not kept any more
        ├── RunExists                a run of that name is there already
        ├── StoreFull                the store takes no new run for now
        │   ├── QueueFull            too many accepted runs wait for an executor
        │   └── QuotaExceeded        one owner has its share of the store
        ├── RunEnded                 the run has its terminal event, and it is another one
        ├── Superseded               somebody else executes the run by now
        └── LogLost                  events that were in the log are missing from it

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
    """Nothing may follow: the context's terminal event has been emitted, or ``__cause__`` says why."""


class BusError(DockrionError):
    """A run, or its log, is not in the state that the call needs."""


class BackendUnavailable(BusError):
    """The store could not be reached, or refused to work; the message says which, and what to look at."""


class RunUnreadable(BackendUnavailable):
    """The store has the run, and this process cannot read it: its record is broken, or ``newer``.

    ``newer`` says that a newer version of dockrion wrote it; processes of that version can read it.
    """

    def __init__(self, message: str, *, newer: bool = False) -> None:
        super().__init__(message)
        self.newer: bool = newer


class RunNotFound(BusError):
    """There is no run of that name; it never was, or its time is over."""


class RunExists(BusError):
    """A run of that name is there already."""


class StoreFull(BusError):
    """The store takes no new run until others have ended; the message says which limit was reached."""


class QueueFull(StoreFull):
    """As many accepted runs as the store allows wait for an executor."""


class QuotaExceeded(StoreFull):
    """The run's owner has its share of the store; other owners still get theirs."""


class RunEnded(BusError):
    """The run has ended, and not by what was to be appended."""


class Superseded(BusError):
    """The claim is not the newest: somebody else executes the run by now."""


class LogLost(BusError):
    """The store lacks events that it had taken, so that the next ones would leave a hole."""


class RunCancelled(BaseException):
    """The execution was cancelled; synchronous code learns it from its next ``sync_*`` call.

    Like ``asyncio.CancelledError`` it is no ``Exception``, so that a retry loop around a failing
    call does not swallow it.
    """


class DockrionWarning(UserWarning):
    """Something the program asked for was ignored; the message says what and why."""
