"""The adapter that makes a flow an agent like any other."""

import asyncio
import uuid
from typing import Any

from dockrion_adapters import EventStream, LoadError, load_entrypoint
from dockrion_events import EventsFilter, Exit, StreamContext, context_scope

from . import Flow


class FlowAdapter:
    """Wraps a `Flow`, given as an object or as ``module:attribute``; words are tokens, steps are steps."""

    framework = "flows"
    keeps_threads = False

    def __init__(self) -> None:
        self.agent_name = "flow"
        self._flow = Flow()

    def load(self, target: Any) -> None:
        found = load_entrypoint(target) if isinstance(target, str) else target
        if not isinstance(found, Flow):
            raise LoadError(f"{target!r:.80} is a {type(found).__name__}; expected a Flow")
        self._flow = found

    def invoke(
        self,
        payload: Any,
        *,
        config: dict[str, Any] | None = None,
        context: StreamContext | None = None,
        **options: Any,
    ) -> Any:
        return asyncio.run(self.ainvoke(payload, context=context))

    async def ainvoke(
        self,
        payload: Any,
        *,
        config: dict[str, Any] | None = None,
        context: StreamContext | None = None,
        **options: Any,
    ) -> Any:
        context = context or StreamContext(str(uuid.uuid4()), events_filter=EventsFilter("minimal"))
        with context_scope(context):
            return await self._flow.run(payload)

    def invoke_stream(
        self,
        payload: Any,
        *,
        config: dict[str, Any] | None = None,
        context: StreamContext | None = None,
        events_filter: EventsFilter | None = None,
        serialize: bool = False,
        **options: Any,
    ) -> EventStream[Any]:
        told = context or StreamContext(str(uuid.uuid4()), events_filter=events_filter)

        async def hook(what: str, text: str) -> None:
            if what == "word":
                await told.emit_token(text)
            elif what == "begin":
                await told.emit_step_started(text)
            else:
                await told.emit_step(text)

        async def run(_: Exit) -> Any:
            return await self._flow.run(payload, hook)

        return EventStream(
            run, told, agent_name=self.agent_name, framework=self.framework, serialize=serialize
        )
