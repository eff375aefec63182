"""Checkpointers as executions use them: from an event loop, and with each owner's threads apart.

A graph's own checkpointer is never changed. An execution that needs more is lent a `LentSaver` through
its config, which LangGraph prefers to the graph's own, in subgraphs and in what a node calls too.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, TypeVar, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.serde.base import SerializerProtocol

from ..signatures import accepts
from ..threads import WorkerPool, run_in_thread

T = TypeVar("T")

_SEPARATOR: Final = "/"
"""Between an owner and a thread; no owner's name contains it."""


class Savers:
    """Asks each checkpointer once whether it is synchronous only."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Any], bool]] = {}

    async def is_sync_only(self, saver: Any) -> bool:
        """Say whether the checkpointer has no asynchronous methods."""
        if not isinstance(saver, BaseCheckpointSaver) or isinstance(saver, LentSaver):
            return False
        key = id(saver)
        known = self._known.get(key)
        if known is None:
            forget = weakref.ref(saver, lambda _: self._known.pop(key, None))
            known = self._known[key] = (forget, await _refuses_async(saver))
        return known[1]


async def _refuses_async(saver: BaseCheckpointSaver[Any]) -> bool:
    try:
        await saver.aget_tuple({"configurable": {"thread_id": "", "checkpoint_ns": ""}})
    except NotImplementedError:
        return True
    except Exception:  # noqa: BLE001 - any other failure is reported by the execution
        return False
    return False


class LentSaver(BaseCheckpointSaver[Any]):
    """Another checkpointer, as one owner's executions see it.

    With ``owner``, a thread is stored as ``owner/thread``; configs that come back have the thread's own
    name again, so user code never sees the owner, and cannot reach another owner's threads. With ``pool``,
    the asynchronous methods call the synchronous ones of ``inner`` in a thread of the pool.

    Attributes that this class does not define are those of ``inner``.
    """

    def __init__(
        self, inner: BaseCheckpointSaver[Any], *, owner: str = "", pool: WorkerPool | None = None
    ) -> None:
        self._inner = inner
        self._prefix = owner + _SEPARATOR if owner else ""
        self._pool = pool
        self.serde: SerializerProtocol = inner.serde
        put_writes = inner.put_writes if pool is not None else inner.aput_writes
        self._takes_path = accepts(put_writes, "task_path")

    def __getattr__(self, name: str) -> Any:
        if name == "_inner":  # not there yet: this object is being copied
            raise AttributeError(name)
        return getattr(self._inner, name)

    @property
    def config_specs(self) -> list[Any]:
        return self._inner.config_specs

    def get_next_version(self, current: Any, channel: None) -> Any:
        return self._inner.get_next_version(current, channel)

    def with_allowlist(self, extra_allowlist: Collection[tuple[str, ...]]) -> BaseCheckpointSaver[Any]:
        clone = copy.copy(self)
        clone._inner = self._inner.with_allowlist(extra_allowlist)
        clone.serde = clone._inner.serde
        return clone

    # -- synchronous -------------------------------------------------------------------------------

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        found = self._inner.get_tuple(self._stored(config))
        return None if found is None else self._shown_tuple(found)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        found = self._inner.list(**self._listing(config, filter, before, limit))
        return islice((self._shown_tuple(one) for one in found if self._is_own(one)), limit)

    def put(
        self, config: RunnableConfig, checkpoint: Any, metadata: Any, new_versions: Any
    ) -> RunnableConfig:
        return self._shown(self._inner.put(self._stored(config), checkpoint, metadata, new_versions))

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        self._inner.put_writes(self._stored(config), writes, task_id, *self._path(task_path))

    def delete_thread(self, thread_id: str) -> None:
        self._inner.delete_thread(self._prefix + str(thread_id))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        source, target = self._prefix + str(source_thread_id), self._prefix + str(target_thread_id)
        self._inner.copy_thread(source, target)

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        self._inner.delete_for_runs(run_ids)

    def prune(self, thread_ids: Sequence[str], **options: Any) -> None:
        self._inner.prune([self._prefix + str(thread_id) for thread_id in thread_ids], **options)

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, Any]:
        return self._inner.get_delta_channel_history(config=self._stored(config), channels=channels)

    # -- asynchronous ------------------------------------------------------------------------------

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        if self._pool is not None:
            return await self._in_thread(lambda: self.get_tuple(config))
        found = await self._inner.aget_tuple(self._stored(config))
        return None if found is None else self._shown_tuple(found)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        if self._pool is not None:
            listed = lambda: tuple(self.list(config, filter=filter, before=before, limit=limit))  # noqa: E731
            for one in await self._in_thread(listed):
                yield one
            return
        given = 0
        async for one in self._inner.alist(**self._listing(config, filter, before, limit)):
            if self._is_own(one):
                if limit is not None and given >= limit:
                    return
                given += 1
                yield self._shown_tuple(one)

    async def aput(
        self, config: RunnableConfig, checkpoint: Any, metadata: Any, new_versions: Any
    ) -> RunnableConfig:
        if self._pool is not None:
            return await self._in_thread(lambda: self.put(config, checkpoint, metadata, new_versions))
        return self._shown(await self._inner.aput(self._stored(config), checkpoint, metadata, new_versions))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        if self._pool is not None:
            await self._in_thread(lambda: self.put_writes(config, writes, task_id, task_path))
            return
        await self._inner.aput_writes(self._stored(config), writes, task_id, *self._path(task_path))

    async def adelete_thread(self, thread_id: str) -> None:
        if self._pool is not None:
            await self._in_thread(lambda: self.delete_thread(thread_id))
            return
        await self._inner.adelete_thread(self._prefix + str(thread_id))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        if self._pool is not None:
            await self._in_thread(lambda: self.copy_thread(source_thread_id, target_thread_id))
            return
        source, target = self._prefix + str(source_thread_id), self._prefix + str(target_thread_id)
        await self._inner.acopy_thread(source, target)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        if self._pool is not None:
            await self._in_thread(lambda: self.delete_for_runs(run_ids))
            return
        await self._inner.adelete_for_runs(run_ids)

    async def aprune(self, thread_ids: Sequence[str], **options: Any) -> None:
        if self._pool is not None:
            await self._in_thread(lambda: self.prune(thread_ids, **options))
            return
        await self._inner.aprune([self._prefix + str(one) for one in thread_ids], **options)

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, Any]:
        if self._pool is not None:
            return await self._in_thread(
                lambda: self.get_delta_channel_history(config=config, channels=channels)
            )
        stored = self._stored(config)
        return await self._inner.aget_delta_channel_history(config=stored, channels=channels)

    # -- names -------------------------------------------------------------------------------------

    async def _in_thread(self, call: Callable[[], T]) -> T:
        assert self._pool is not None
        return await run_in_thread(self._pool, call)

    def _path(self, task_path: str) -> tuple[str, ...]:
        return (task_path,) if self._takes_path else ()

    def _stored(self, config: RunnableConfig) -> RunnableConfig:
        """Return ``config`` with the name that its thread is stored under."""
        return _renamed(config, lambda thread: self._prefix + thread) if self._prefix else config

    def _shown(self, config: RunnableConfig) -> RunnableConfig:
        """Return ``config`` with the name that user code knows its thread by."""
        return _renamed(config, lambda thread: thread.removeprefix(self._prefix)) if self._prefix else config

    def _shown_tuple(self, found: CheckpointTuple) -> CheckpointTuple:
        if not self._prefix:
            return found
        parent = found.parent_config
        return found._replace(
            config=self._shown(found.config), parent_config=None if parent is None else self._shown(parent)
        )

    def _is_own(self, found: CheckpointTuple) -> bool:
        thread = (found.config.get("configurable") or {}).get("thread_id")
        return str(thread).startswith(self._prefix)

    def _listing(
        self,
        config: RunnableConfig | None,
        filter: dict[str, Any] | None,  # noqa: A002 - LangGraph's name
        before: RunnableConfig | None,
        limit: int | None,
    ) -> dict[str, Any]:
        named = config is not None and "thread_id" in (config.get("configurable") or {})
        return {
            "config": None if config is None else self._stored(config),
            "filter": filter,
            "before": None if before is None else self._stored(before),
            "limit": limit if named or not self._prefix else None,  # others' threads do not count
        }


def _renamed(config: RunnableConfig, rename: Callable[[str], str]) -> RunnableConfig:
    configurable = config.get("configurable") or {}
    if "thread_id" not in configurable:
        return config
    thread = rename(str(configurable["thread_id"]))
    return cast("RunnableConfig", {**config, "configurable": {**configurable, "thread_id": thread}})
