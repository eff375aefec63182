"""Which adapter serves which framework."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final, Literal, overload

from .base import Adapter
from .errors import MissingExtra, UnknownFramework

if TYPE_CHECKING:
    from .handler import HandlerAdapter
    from .langchain import LangChainAdapter
    from .langgraph import LangGraphAdapter
    from .objects import ObjectAdapter

GROUP: Final = "dockrion.adapters"

_registered: dict[str, Callable[[], Adapter]] = {}


def register_adapter(framework: str, factory: Callable[[], Adapter]) -> None:
    """Serve ``framework`` with what ``factory`` makes, in place of what served it before.

    ``factory`` is an adapter class or any function without arguments. A package registers its
    adapter by an entry point of the group ``dockrion.adapters`` instead.
    """
    _registered[framework] = factory


def available_frameworks() -> tuple[str, ...]:
    """Return the names that `get_adapter` knows, sorted."""
    return tuple(sorted({*_registered, *(entry.name for entry in entry_points(group=GROUP))}))


@overload
def get_adapter(framework: Literal["handler"]) -> HandlerAdapter: ...  # type: ignore[overload-overlap]


@overload
def get_adapter(framework: Literal["object"]) -> ObjectAdapter: ...


@overload
def get_adapter(framework: Literal["langgraph"]) -> LangGraphAdapter: ...


@overload
def get_adapter(framework: Literal["langchain"]) -> LangChainAdapter: ...


@overload
def get_adapter(framework: str) -> Adapter: ...


def get_adapter(framework: str) -> Any:
    """Return a new adapter for ``framework``, with nothing loaded.

    Raises `UnknownFramework` for a name nobody registered, and `MissingExtra` where the adapter is
    there and its framework is not installed.
    """
    factory: Any = _registered.get(framework)
    if factory is None:
        entry = next(iter(entry_points(group=GROUP, name=framework)), None)
        if entry is None:
            known = available_frameworks()
            near = difflib.get_close_matches(framework, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UnknownFramework(f"unknown framework {framework!r}{hint}; known: {', '.join(known)}")
        try:
            factory = entry.load()
        except ImportError as error:
            raise MissingExtra(
                f"the {framework} adapter needs a package that is not installed ({error}); "
                f"pip install 'dockrion-sdk[{framework}]'"
            ) from error
    return factory()
