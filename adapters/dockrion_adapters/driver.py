"""Any adapter as its users see it: whatever it can do is used, and what it cannot is made up for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from dockrion_events import Exit, StreamContext

from .base import (
    Adapter,
    AsyncAdapter,
    ChecksInput,
    HasLifetime,
    Inspects,
    Resumes,
    StreamingAdapter,
    UsesThreads,
)
from .stream import EventStream, as_stream
from .threads import WorkerPool, run_in_thread


class Driver:
    """Executes an adapter's agent; what the adapter can do is looked at once.

    Synchronous agents run in threads of ``pool``.
    """

    def __init__(self, adapter: Adapter, pool: WorkerPool | None = None) -> None:
        self.adapter: Adapter = adapter
        self.pool: WorkerPool = pool or WorkerPool()
        if isinstance(adapter, UsesThreads):  # of its own: what else runs in threads must not wait for agents
            adapter.use_threads(WorkerPool(self.pool.size))
        self._asynchronous = adapter if isinstance(adapter, AsyncAdapter) else None
        self._streaming = adapter if isinstance(adapter, StreamingAdapter) else None
        self._checking = adapter if isinstance(adapter, ChecksInput) else None
        self._resuming = adapter if isinstance(adapter, Resumes) else None

    @property
    def keeps_threads(self) -> bool:
        """Whether an execution needs a ``thread_id`` even if the caller names none."""
        return getattr(self.adapter, "keeps_threads", True)

    @property
    def forgets_threads(self) -> bool:
        """Whether a ``thread_id`` changes nothing for the agent."""
        return getattr(self.adapter, "forgets_threads", False)

    @property
    def keeps_threads_in_memory(self) -> bool:
        """Whether conversations are kept in the memory of this process alone."""
        return getattr(self.adapter, "keeps_threads_in_memory", False)

    @property
    def scopes_threads(self) -> bool:
        """Whether the adapter keeps the threads of several owners apart."""
        return getattr(self.adapter, "scopes_threads", False)

    @property
    def checks_input(self) -> bool:
        """Whether the adapter can tell that its agent would refuse a payload."""
        return self._checking is not None

    async def check_input(self, payload: Any, config: dict[str, Any]) -> None:
        """Raise `InputRefused` if the adapter knows that the agent would refuse ``payload``."""
        if self._checking is not None:
            await self._checking.check_input(payload, config=config)

    async def inspect(self) -> list[str]:
        """Let the adapter learn what its agent is; return its warnings."""
        return await self.adapter.inspect() if isinstance(self.adapter, Inspects) else []

    @property
    def resumes(self) -> bool:
        """Whether a run can go on from what its other executions left behind."""
        return self._resuming is not None

    async def call(self, payload: Any, config: dict[str, Any], context: StreamContext) -> Any:
        """Execute once and return the output, without watching."""
        if self._asynchronous is not None:
            return await self._asynchronous.ainvoke(payload, config=config, context=context)
        adapter = self.adapter
        return await run_in_thread(self.pool, lambda: adapter.invoke(payload, config=config, context=context))

    def stream(
        self,
        payload: Any,
        config: dict[str, Any],
        context: StreamContext,
        *,
        serialize: bool = False,
        run: str | None = None,
        resume: bool = False,
    ) -> EventStream[Any]:
        """Return the stream of one execution, whatever the adapter can do.

        ``run`` names the run that this is an execution of, if it is one, as no other run is ever named.
        With ``resume`` it goes on from what its other executions left behind, where the adapter can.
        """
        adapter = self.adapter
        options: dict[str, Any] = {"config": config, "context": context, "serialize": serialize}
        stream: AsyncIterator[Any] | None = None
        if run is not None and self._resuming is not None:
            stream = self._resuming.run_stream(payload, run=run, resume=resume, **options)
        elif self._streaming is not None:
            stream = self._streaming.invoke_stream(payload, **options)
        names: dict[str, Any] = {"agent_name": adapter.agent_name, "framework": adapter.framework}
        if stream is not None:
            return as_stream(stream, context, serialize=serialize, **names)

        async def execute(_: Exit) -> Any:
            return await self.call(payload, config, context)

        return EventStream(execute, context, serialize=serialize, **names)

    def lifetime(self) -> AbstractAsyncContextManager[Any]:
        """Return the adapter's lifetime; an empty one where it has none."""
        return self.adapter if isinstance(self.adapter, HasLifetime) else nullcontext()
