"""`load`: from a Dockfile to the adapter that runs its agent."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from pathlib import Path
from typing import Any

from dockrion_adapters import Adapter, AdapterError, get_adapter, load_entrypoint

from .dockfile import Dockfile, DockfileError, Problem, load_dockfile

_log = logging.getLogger(__name__)
_ADAPTER = ("framework", "load", "invoke")


def load(dockfile: Dockfile | str | os.PathLike[str] = "Dockfile.yaml") -> Adapter:
    """Return the adapter of a Dockfile's agent, with the agent loaded.

    Takes a Dockfile, or a path as `load_dockfile` does; a Dockfile read here has its warnings logged. Its
    directory becomes the first of `sys.path`, so that the agent's modules are found there. Raises
    DockfileError where the Dockfile is wrong or what it names cannot be loaded; the reason is its cause.
    """
    if not isinstance(dockfile, Dockfile):
        dockfile = load_dockfile(dockfile)
        for warning in dockfile.warnings:
            _log.warning("%s", warning)
    return _Loading(dockfile).adapter()


class _Loading:
    def __init__(self, dockfile: Dockfile) -> None:
        self._dockfile = dockfile
        self._agent = dockfile.agent

    def adapter(self) -> Adapter:
        key = "entrypoint" if self._agent.handler is None else "handler"
        target = self._agent.entrypoint if self._agent.handler is None else self._agent.handler
        _put_first(self._dockfile.directory)
        self._refuse_namesake(key, target)
        adapter = self._own_adapter() if self._agent.adapter else self._registered_adapter()
        try:
            adapter.load(target)
        except AdapterError as error:
            raise self._error(key, error) from error
        adapter.agent_name = self._agent.name
        return adapter

    def _registered_adapter(self) -> Adapter:
        try:
            return get_adapter(self._agent.framework or "handler")
        except AdapterError as error:
            raise self._error("framework", error) from error

    def _own_adapter(self) -> Adapter:
        reference = self._agent.adapter or ""
        self._refuse_namesake("adapter", reference)
        try:
            factory: Any = load_entrypoint(reference)
        except AdapterError as error:
            raise self._error("adapter", error) from error
        adapter: Any = factory() if callable(factory) else factory
        lacking = [name for name in _ADAPTER if not hasattr(adapter, name)]
        if lacking:
            raise self._error("adapter", f"what this names is no adapter: it has no {', '.join(lacking)}")
        made: Adapter = adapter
        return made

    def _refuse_namesake(self, key: str, reference: str | None) -> None:
        """Refuse to run another directory's module because it came first under the same name."""
        module = (reference or "").partition(":")[0]
        parts = module.split(".")
        for end in range(1, len(parts) + 1):
            loaded = getattr(sys.modules.get(".".join(parts[:end])), "__file__", None)
            here = _source(self._dockfile.directory.joinpath(*parts[:end]))
            if loaded and here and Path(loaded).resolve() != here.resolve():
                told = (
                    f"a module of this name is already imported from {loaded}, and this Dockfile means {here}"
                )
                raise self._error(key, told, "rename one of them, or load them in processes of their own")

    def _error(self, key: str, reason: str | AdapterError, hint: str = "") -> DockfileError:
        template = self._agent.template(key)
        message = str(reason) if template is None else f"cannot be loaded, got {template!r}"
        file = self._dockfile.file
        return DockfileError(str(file or "Dockfile"), [Problem(f"agent.{key}", message, hint)])


def _put_first(directory: Path) -> None:
    place = str(directory)
    if sys.path[:1] != [place]:
        sys.path[:] = [place, *(other for other in sys.path if other != place)]
    importlib.invalidate_caches()


def _source(path: Path) -> Path | None:
    for candidate in (path.with_name(f"{path.name}.py"), path / "__init__.py"):
        if candidate.exists():
            return candidate
    return None
