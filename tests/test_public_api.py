"""The exported names: adding one is a decision, losing one breaks somebody."""

from __future__ import annotations

import subprocess
import sys

import pytest

import dockrion_adapters
import dockrion_events
import dockrion_runtime
import dockrion_sdk

EVENTS = """
    AnyEvent BackendUnavailable BusError CONFIGURABLE CancelledEvent CheckpointEvent CompleteEvent
    ContentBlockEvent CustomEvent DockrionError DockrionWarning EVENT_CLASSES EncodedEvent ErrorEvent
    Event EventBus EventEncoder EventError EventTooLarge EventsFilter Exit GapEvent HeartbeatEvent
    InvalidEvent
    InvalidFilter LogLost MANDATORY MAX_EVENT_BYTES MessageEvent NotSerialisable PRESETS ProgressEvent
    QueueBackend QueueFull QuotaExceeded ReasoningEvent RestartedEvent RunCancelled RunEnded RunExists
    RunNotFound RunUnreadable StartedEvent StepEvent StepStartedEvent StoreFull StreamClosed StreamContext
    StreamEvent StreamingBackend Superseded TERMINAL TokenEvent
    ToolCallEvent ToolResultEvent UnknownEvent UsageEvent as_encoded as_objects as_sse as_text
    context_scope decode_event encode_json get_current_context set_current_context sse_comment sse_frame
"""

ADAPTERS = """
    Adapter AdapterError AgentCancelled AgentFailed AgentGraph AsyncAdapter Chats ChecksInput
    DescribesInput DescribesItself Drawable Driver EventStream GraphEdge GraphNode HandlerAdapter HasLifetime
    InputRefused Inspects LangChainAdapter
    LangGraphAdapter LangGraphBackend LoadError MissingExtra NoWorkerThreads ObjectAdapter Resumes
    StreamingAdapter UnknownFramework UsesThreads WorkerPool abandoned_threads adapter_of as_stream
    available_frameworks get_adapter load_entrypoint register_adapter
"""

SDK = """
    Agent Client Dockfile DockfileError EventStreamResponse Problem SyncClient as_sse batch buffer collect
    load load_dockfile merge only progress stream_sync text timeout
"""

HEAVY = (
    "asyncio",
    "pydantic",
    "langgraph",
    "langchain_core",
    "redis",
    "litestar",
    "uvicorn",
    "httpx",
    "numpy",
)


def test_dockrion_events_exports_these_names() -> None:
    assert sorted(dockrion_events.__all__) == sorted(EVENTS.split())


def test_dockrion_adapters_exports_these_names() -> None:
    assert sorted(dockrion_adapters.__all__) == sorted(ADAPTERS.split())


def test_dockrion_sdk_exports_these_names() -> None:
    assert sorted(dockrion_sdk.__all__) == sorted(SDK.split())
    assert all(getattr(dockrion_sdk, name) is not None for name in dockrion_sdk.__all__)


def test_dockrion_runtime_exports_these_names() -> None:
    assert dockrion_runtime.__all__ == ["create_app"]
    assert callable(dockrion_runtime.create_app)


@pytest.mark.parametrize(
    "package", [dockrion_events, dockrion_adapters], ids=lambda package: package.__name__
)
def test_every_exported_name_is_there(package: object) -> None:
    missing = [name for name in package.__all__ if getattr(package, name, None) is None]  # type: ignore[attr-defined]
    assert missing == []


@pytest.mark.parametrize(
    "package", [dockrion_events, dockrion_adapters], ids=lambda package: package.__name__
)
def test_a_name_that_does_not_exist_is_an_attribute_error(package: object) -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        package.Nothing  # type: ignore[attr-defined]  # noqa: B018


def _loaded_by(statements: str, names: tuple[str, ...]) -> list[str]:
    program = f"import sys\n{statements}\nprint(*[n for n in {names!r} if n in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return answer.stdout.split()


def test_importing_the_events_loads_no_framework_and_no_asyncio() -> None:
    assert _loaded_by("import dockrion_events", HEAVY) == []


def test_asking_for_the_current_context_still_loads_nothing() -> None:
    agent = "from dockrion_events import get_current_context, StreamContext, EventsFilter"
    assert _loaded_by(f"{agent}\nassert get_current_context() is None", HEAVY) == []


def test_the_bus_brings_asyncio_and_nothing_else() -> None:
    assert _loaded_by("from dockrion_events import EventBus", HEAVY) == ["asyncio"]


def test_the_adapters_load_no_framework_until_it_is_asked_for() -> None:
    heavy = tuple(name for name in HEAVY if name != "asyncio")
    assert _loaded_by("from dockrion_adapters import HandlerAdapter", heavy) == []


def test_the_conformance_suite_needs_no_pytest() -> None:
    assert _loaded_by("import dockrion_events.testing", (*HEAVY, "pytest")) == []


def test_the_conformance_suite_of_adapters_needs_no_framework_either() -> None:
    heavy = tuple(name for name in HEAVY if name != "asyncio")
    assert _loaded_by("import dockrion_adapters.testing", (*heavy, "pytest")) == []
