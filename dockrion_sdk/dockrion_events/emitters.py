"""The emitters of one type of event each, asynchronous and synchronous."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from . import build
from .way_out import WayOut


class Emitters(WayOut):
    """What agent code calls to emit a built-in event; see `StreamContext` for what holds for all.

    A call whose event the filter does not allow builds nothing.
    """

    __slots__ = ()

    # -- asynchronous --------------------------------------------------------------------------

    async def emit_token(self, content: str, finish_reason: str | None = None) -> None:
        """Emit a piece of generated text."""
        if self._tokens:
            if self._halted:
                self._too_late(sync=False)
            elif self._out(self._token(content, finish_reason)):
                await self._room()

    async def emit_step(
        self,
        node_name: str,
        duration_ms: float | None = None,
        input_keys: Iterable[str] | None = None,
        output_keys: Iterable[str] | None = None,
    ) -> None:
        """Emit the end of a step; ``duration_ms`` in milliseconds."""
        if self._events_filter.is_allowed("step"):
            await self._send(build.step_event(node_name, duration_ms, input_keys, output_keys))

    async def emit_progress(self, step: str, progress: float, message: str | None = None) -> None:
        """Emit progress, clamped to 0.0-1.0."""
        if self._events_filter.is_allowed("progress"):
            await self._send(build.progress_event(step, progress, message))

    async def checkpoint(self, name: str, data: Any) -> None:
        """Emit a named intermediate result."""
        if self._events_filter.is_allowed("checkpoint"):
            await self._send(build.checkpoint_event(name, data))

    async def emit_reasoning(self, content: str, message_id: str | None = None) -> None:
        """Emit a piece of what a model thinks."""
        if self._events_filter.is_allowed("reasoning"):
            await self._send(build.reasoning_event(content, message_id))

    async def emit_content_block(self, kind: str, data: Any = None, message_id: str | None = None) -> None:
        """Emit a part of a message that is no text, such as an ``image`` or a ``citation``."""
        if self._events_filter.is_allowed("content_block"):
            await self._send(build.content_block_event(kind, data, message_id))

    async def emit_tool_call(
        self,
        id: str,  # noqa: A002 - the field's name
        name: str,
        arguments: Mapping[str, Any] | None = None,
        arguments_delta: str | None = None,
        message_id: str | None = None,
    ) -> None:
        """Emit a call of a tool: whole, with ``arguments``, or a piece of their JSON text."""
        if self._events_filter.is_allowed("tool_call"):
            await self._send(build.tool_call_event(id, name, arguments, arguments_delta, message_id))

    async def emit_tool_result(
        self,
        id: str,  # noqa: A002 - the field's name
        name: str,
        content: Any,
        error: bool = False,
        artifact: Any = None,
    ) -> None:
        """Emit what the call ``id`` of a tool gave; with ``error`` what went wrong.

        ``artifact`` is what it gave for the program, and not for the model.
        """
        if self._events_filter.is_allowed("tool_result"):
            await self._send(build.tool_result_event(id, name, content, error, artifact))

    async def emit_usage(
        self,
        input_tokens: int,
        output_tokens: int,
        total_tokens: int | None = None,
        details: Mapping[str, Any] | None = None,
        message_id: str | None = None,
    ) -> None:
        """Emit how many tokens one call of a model took."""
        if self._events_filter.is_allowed("usage"):
            await self._send(
                build.usage_event(input_tokens, output_tokens, total_tokens, details, message_id)
            )

    async def emit_message(
        self,
        id: str,  # noqa: A002 - the field's name
        role: str,
        phase: Literal["start", "end"],
        node_name: str | None = None,
        error: bool = False,
    ) -> None:
        """Emit that a message begins or ends; with ``error`` it ends because its model failed."""
        if self._events_filter.is_allowed("message"):
            await self._send(build.message_event(id, role, phase, node_name, error))

    async def emit_step_started(self, node_name: str) -> None:
        """Emit the beginning of a step."""
        if self._events_filter.is_allowed("step_started"):
            await self._send(build.step_started_event(node_name))

    # -- synchronous twins ---------------------------------------------------------------------

    def sync_emit_token(self, content: str, finish_reason: str | None = None) -> None:
        """Emit a piece of generated text."""
        if self._tokens:
            if self._halted:
                self._too_late(sync=True)
            elif self._out(self._token(content, finish_reason)):
                self._wait_for_room()
        elif self._cancelled:
            self._too_late(sync=True)

    def sync_emit_step(
        self,
        node_name: str,
        duration_ms: float | None = None,
        input_keys: Iterable[str] | None = None,
        output_keys: Iterable[str] | None = None,
    ) -> None:
        """Emit the end of a step; ``duration_ms`` in milliseconds."""
        if self._wanted("step"):
            self._sync_send(build.step_event(node_name, duration_ms, input_keys, output_keys))

    def sync_emit_progress(self, step: str, progress: float, message: str | None = None) -> None:
        """Emit progress, clamped to 0.0-1.0."""
        if self._wanted("progress"):
            self._sync_send(build.progress_event(step, progress, message))

    def sync_checkpoint(self, name: str, data: Any) -> None:
        """Emit a named intermediate result."""
        if self._wanted("checkpoint"):
            self._sync_send(build.checkpoint_event(name, data))

    def sync_emit_reasoning(self, content: str, message_id: str | None = None) -> None:
        """Emit a piece of what a model thinks."""
        if self._wanted("reasoning"):
            self._sync_send(build.reasoning_event(content, message_id))

    def sync_emit_content_block(self, kind: str, data: Any = None, message_id: str | None = None) -> None:
        """Emit a part of a message that is no text, such as an ``image`` or a ``citation``."""
        if self._wanted("content_block"):
            self._sync_send(build.content_block_event(kind, data, message_id))

    def sync_emit_tool_call(
        self,
        id: str,  # noqa: A002 - the field's name
        name: str,
        arguments: Mapping[str, Any] | None = None,
        arguments_delta: str | None = None,
        message_id: str | None = None,
    ) -> None:
        """Emit a call of a tool: whole, with ``arguments``, or a piece of their JSON text."""
        if self._wanted("tool_call"):
            self._sync_send(build.tool_call_event(id, name, arguments, arguments_delta, message_id))

    def sync_emit_tool_result(
        self,
        id: str,  # noqa: A002 - the field's name
        name: str,
        content: Any,
        error: bool = False,
        artifact: Any = None,
    ) -> None:
        """Emit what the call ``id`` of a tool gave; with ``error`` what went wrong.

        ``artifact`` is what it gave for the program, and not for the model.
        """
        if self._wanted("tool_result"):
            self._sync_send(build.tool_result_event(id, name, content, error, artifact))

    def sync_emit_usage(
        self,
        input_tokens: int,
        output_tokens: int,
        total_tokens: int | None = None,
        details: Mapping[str, Any] | None = None,
        message_id: str | None = None,
    ) -> None:
        """Emit how many tokens one call of a model took."""
        if self._wanted("usage"):
            self._sync_send(build.usage_event(input_tokens, output_tokens, total_tokens, details, message_id))

    def sync_emit_message(
        self,
        id: str,  # noqa: A002 - the field's name
        role: str,
        phase: Literal["start", "end"],
        node_name: str | None = None,
        error: bool = False,
    ) -> None:
        """Emit that a message begins or ends; with ``error`` it ends because its model failed."""
        if self._wanted("message"):
            self._sync_send(build.message_event(id, role, phase, node_name, error))

    def sync_emit_step_started(self, node_name: str) -> None:
        """Emit the beginning of a step."""
        if self._wanted("step_started"):
            self._sync_send(build.step_started_event(node_name))
