"""What a graph factory is called with: what LangGraph's server would give it."""

from __future__ import annotations

import inspect
import types
import typing
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from langchain_core.runnables import RunnableConfig
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore

from ..errors import LoadError
from .surroundings import RUNTIME_KEY

_sdk: Any
try:
    from langgraph_sdk import runtime as _sdk
except ImportError:  # an older langgraph-sdk: there is no ServerRuntime to ask for
    _sdk = None

_ASSISTANTS: Final = uuid.UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
"""The namespace that LangGraph's server derives a graph's own assistant from."""

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True)
class User:
    """The owner of an execution, in the form of LangGraph's ``BaseUser``."""

    identity: str
    is_authenticated: bool = True

    @property
    def display_name(self) -> str:
        return self.identity

    @property
    def permissions(self) -> list[str]:
        return []

    def __getitem__(self, key: str) -> Any:
        return getattr(self, key)

    def __contains__(self, key: object) -> bool:
        return key in tuple(self)

    def __iter__(self) -> typing.Iterator[str]:
        return iter(("identity", "display_name", "is_authenticated", "permissions"))


class Caller(NamedTuple):
    """Who calls a factory, and what for.

    ``owner`` is empty if nobody has authenticated. ``request_id`` names the request, or the run. Without
    ``execution`` the graph is only looked at.
    """

    graph_id: str
    owner: str = ""
    request_id: str | None = None
    context: Any = None
    execution: bool = True


class Factory:
    """A function that makes graphs, and what its parameters are: none, the config, the runtime or both."""

    def __init__(self, function: Callable[..., Any], shown: str) -> None:
        self._function = function
        self._config, self._runtime = _parameters(function, shown)
        self._store: BaseStore | None = None
        self.is_evident: bool = self._runtime is not None or _is_config(function, self._config)
        """Whether its parameters say that it makes graphs; any other single one may as well be a payload."""

    @property
    def per_execution(self) -> bool:
        """Whether it takes anything, and so makes a graph for each execution."""
        return self._config is not None or self._runtime is not None

    def __call__(self, config: RunnableConfig, caller: Caller) -> Any:
        """Call the function; its result may have to be awaited or entered."""
        if not self.per_execution:
            return self._function()
        runtime = self._server_runtime(caller)
        positional: list[Any] = []
        named: dict[str, Any] = {}
        values = (
            (self._config, lambda: seen_by_factory(config, caller, runtime)),
            (self._runtime, lambda: runtime),
        )
        for parameter, value in values:
            if parameter is None:
                continue
            if parameter.kind is parameter.POSITIONAL_ONLY:
                positional.append(value())
            else:
                named[parameter.name] = value()
        return self._function(*positional, **named)

    def _server_runtime(self, caller: Caller) -> Any:
        if _sdk is None:
            return None
        if self._store is None:
            self._store = InMemoryStore()
        user = User(caller.owner) if caller.owner else None
        if caller.execution:
            context = {} if caller.context is None else caller.context
            return _sdk._ExecutionRuntime(
                access_context="threads.create_run", user=user, store=self._store, context=context
            )
        return _sdk._ReadRuntime(access_context="assistants.read", user=user, store=self._store)


def seen_by_factory(config: RunnableConfig, caller: Caller, runtime: Any) -> RunnableConfig:
    """Return ``config`` with what LangGraph's server adds to it for a factory."""
    # Never the id of a run or a request: in a thread, LangGraph drops the input of an id that comes again.
    run_id = str(uuid.uuid4())
    added: dict[str, Any] = {
        "run_id": run_id,
        "graph_id": caller.graph_id,
        "assistant_id": str(uuid.uuid5(_ASSISTANTS, caller.graph_id)),
        "user_id": caller.owner,
        "langgraph_auth_user": User(caller.owner) if caller.owner else None,
        "langgraph_auth_user_id": caller.owner,
        "langgraph_auth_permissions": [],
        "langgraph_request_id": caller.request_id or run_id,
        "__is_for_execution__": caller.execution,
    }
    if runtime is not None:
        added[RUNTIME_KEY] = runtime
    configurable: Mapping[str, Any] = config.get("configurable") or {}
    shown = (
        "run_id",
        "graph_id",
        "assistant_id",
        "user_id",
        "langgraph_auth_user_id",
        "langgraph_request_id",
    )
    metadata = {name: added[name] for name in shown}
    if "thread_id" in configurable:
        metadata["thread_id"] = configurable["thread_id"]
    return {
        **config,
        "configurable": {**added, **configurable},
        "metadata": {**metadata, **(config.get("metadata") or {})},
    }


def _parameters(
    function: Callable[..., Any], shown: str
) -> tuple[inspect.Parameter | None, inspect.Parameter | None]:
    """Return the parameters that take the config and the runtime. Raises `LoadError`."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None, None
    hints = _hints(function)
    runtime = next((p for p in parameters if _means_runtime(hints.get(p.name, p.annotation))), None)
    others = [p for p in parameters if p is not runtime and p.kind not in _VARIADIC]
    needed = [p for p in others if p.default is p.empty]
    if len(needed) > 1 or any(p.kind is p.KEYWORD_ONLY for p in needed):
        names = ", ".join(p.name for p in needed)
        raise LoadError(
            f"{shown} takes {names}; a factory has no argument, or the config, "
            "or a parameter annotated ServerRuntime, or both"
        )
    named = (p for p in others if p.name == "config" and p.kind is not p.KEYWORD_ONLY)
    return (needed[0] if needed else next(named, None)), runtime


def _is_config(function: Any, parameter: inspect.Parameter | None) -> bool:
    if parameter is None or parameter.name == "config":
        return True
    annotation = _hints(function).get(parameter.name, parameter.annotation)
    return annotation is RunnableConfig or "RunnableConfig" in str(annotation)


def _hints(function: Any) -> dict[str, Any]:
    function = getattr(function, "func", function)  # of a partial
    function = function if inspect.isroutine(function) else type(function).__call__
    known = {} if _sdk is None else {"ServerRuntime": _sdk.ServerRuntime}
    try:
        return typing.get_type_hints(function, localns=known)
    except Exception:  # noqa: BLE001 - hints that do not resolve leave the plain annotations
        return {}


def _means_runtime(annotation: Any) -> bool:
    if _sdk is None or annotation is inspect.Parameter.empty:
        return False
    if isinstance(annotation, str):
        return annotation.partition("[")[0].rpartition(".")[2] == "ServerRuntime"
    if annotation is _sdk.ServerRuntime:
        return True
    origin = typing.get_origin(annotation)
    if origin is _sdk.ServerRuntime:
        return True
    classes = (_sdk._ExecutionRuntime, _sdk._ReadRuntime)
    if inspect.isclass(annotation):
        return issubclass(annotation, classes)
    if inspect.isclass(origin) and issubclass(origin, classes):
        return True
    if origin in (typing.Annotated, typing.Union, types.UnionType):
        return any(map(_means_runtime, typing.get_args(annotation)))
    return False
