"""From a path and an environment to a checked Dockfile, or to everything that is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..json_schema import dangers
from .errors import DockfileError, Loc, Problem, bounded, did_you_mean, dotted, is_near
from .explain import Finding, explain
from .models import APIKeys, Dockfile, Source
from .read import Document, parse_document, read_document
from .substitute import VARIABLE_NAME, Substitution

FILE_NAME = "Dockfile.yaml"


def load_dockfile(
    path: str | os.PathLike[str] = FILE_NAME,
    env: Mapping[str, str] | None = None,
    *,
    text: str | None = None,
) -> Dockfile:
    """Read, substitute and check a Dockfile.

    `path` is the file or its directory, by default `Dockfile.yaml` in the working directory; `env` is where
    `${NAME}` and secrets are looked up, by default the process's environment. What is odd but harmless is in
    `Dockfile.warnings`, for the caller to log. `text` is checked in place of what the file holds, for editors
    before they write. Raises DockfileError with every problem, in the file's order.
    """
    file, shown = _find(Path(path))
    document = read_document(file, shown) if text is None else parse_document(text, shown)
    return _Check(document, os.environ if env is None else env).dockfile(file)


def _find(path: Path) -> tuple[Path, str]:
    file = path / FILE_NAME if path.is_dir() else path
    if not file.exists():
        problem = Problem("", f"there is no such file: {file.absolute()}", "`dockrion init NAME` makes one")
        raise DockfileError(str(file), [problem])
    return file.absolute(), str(file)


class _Check:
    """One Dockfile on its way from a document to a model, and what was found wrong so far."""

    def __init__(self, document: Document, env: Mapping[str, str]) -> None:
        self._document = document
        self._env = env
        self._unknown = [name for name in document.tree if name not in Dockfile.model_fields]
        self._pass = Substitution()
        self._tree = self._substituted()

    def dockfile(self, file: Path) -> Dockfile:
        source = Source(file, self._pass.templates)
        findings = [*self._unresolved(), *self._misspelt()]
        dockfile: Dockfile | None = None
        try:
            dockfile = Dockfile.model_validate(self._tree, context=source)
        except ValidationError as error:
            findings += explain(error, self._tree, self._pass.templates, self._pass.faults.keys())
        findings += self._missing_secrets()
        if dockfile is None or findings:
            raise DockfileError(self._document.file, self._problems(findings))
        dockfile._warnings = (*self._unknown_sections(), *self._costly_schemas(dockfile))
        return dockfile

    def _substituted(self) -> dict[str, Any]:
        known = {name: value for name, value in self._document.tree.items() if name not in self._unknown}
        secrets = self._pass.apply(known.pop("secrets", None), self._env, ("secrets",))
        env = {**_defaults(secrets), **{name: value for name, value in self._env.items() if value}}
        empty = {name: "" for name in self._env if name not in env}
        tree = self._pass.apply(known, {**empty, **env})
        return {**tree, "secrets": secrets}

    def _misspelt(self) -> Iterator[Finding]:
        """Name the unknown sections that are nearly a known one: what they say would silently not count."""
        for name in self._unknown:
            if is_near(name, tuple(Dockfile.model_fields)):
                hint = did_you_mean(name, tuple(Dockfile.model_fields))
                yield Finding((name,), "unknown section", hint)

    def _unknown_sections(self) -> Iterator[str]:
        for name in self._unknown:
            hint = did_you_mean(name, tuple(Dockfile.model_fields))
            yield self._warning((name,), "unknown section, ignored", hint)

    def _costly_schemas(self, dockfile: Dockfile) -> Iterator[str]:
        schemas = dockfile.io_schema
        for name, schema in (
            ("input", schemas.input),
            ("output", schemas.output if schemas.strict else None),
        ):
            for path, message, hint in dangers(schema) if schema is not None else ():
                yield self._warning(("io_schema", name, *path), message, hint)

    def _warning(self, loc: Loc, message: str, hint: str) -> str:
        mark = self._document.mark(loc)
        problem = Problem(dotted(loc), message, hint, mark.line if mark else None)
        return str(DockfileError(self._document.file, [problem]))

    def _unresolved(self) -> Iterator[Finding]:
        for loc, faults in self._pass.faults.items():
            for fault in faults:
                yield Finding(loc, *fault)

    def _missing_secrets(self) -> Iterator[Finding]:
        """Name every variable that must be set and is not: required secrets, and the one of the API keys."""
        listed = set()
        for loc, entry in _entries(self._tree["secrets"], "required"):
            name = entry.get("name")
            if self._lacks(name):
                listed.add(name)
                description = self._shown((*loc, "description"), entry.get("description"))
                purpose = f" ({description})" if description else ""
                shown = self._shown((*loc, "name"), name)
                message = f"environment variable {shown} is not set{purpose}"
                yield Finding(loc, message, "it is a required secret", shown)
        auth = self._tree.get("auth")
        if not isinstance(auth, dict) or auth.get("mode") != "api_key":
            return
        keys, default = auth.get("api_keys"), APIKeys.model_fields["env_var"].default
        name = keys.get("env_var", default) if isinstance(keys, dict) else default
        if self._lacks(name) and name not in listed:
            place: Loc = ("auth", "api_keys", "env_var")
            shown = self._shown(place, name)
            message = f"environment variable {shown} is not set"
            yield Finding(place, message, "it holds the API keys", shown)

    def _lacks(self, name: Any) -> bool:
        return isinstance(name, str) and bool(VARIABLE_NAME.fullmatch(name)) and not self._env.get(name)

    def _shown(self, loc: Loc, value: Any) -> str:
        return self._pass.templates.get(loc, value if isinstance(value, str) else "")

    def _problems(self, findings: list[Finding]) -> list[Problem]:
        problems = []
        order = sorted(findings, key=lambda finding: self._document.mark(finding.loc) or (0, 0))
        for loc, message, hint, variable in order:
            if loc == ("agent",) and message == "is required":
                hint = self._agent_hint()
            mark = self._document.mark(loc)
            line = mark.line if mark else None
            problems.append(Problem(dotted(loc), message, hint, line, variable=variable))
        return problems

    def _agent_hint(self) -> str:
        if not self._unknown:
            return "add agent: {name: my-agent, handler: app.service:handle}"
        unknown = ", ".join(bounded(name) for name in self._unknown)
        return f"these sections are unknown: {unknown}"


def _entries(secrets: Any, kind: str) -> Iterator[tuple[Loc, dict[str, Any]]]:
    entries = secrets.get(kind) if isinstance(secrets, dict) else None
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        if isinstance(entry, dict):
            yield ("secrets", kind, index), entry


def _defaults(secrets: Any) -> dict[str, str]:
    found = ((entry.get("name"), entry.get("default")) for _, entry in _entries(secrets, "optional"))
    return {name: default for name, default in found if isinstance(name, str) and isinstance(default, str)}
