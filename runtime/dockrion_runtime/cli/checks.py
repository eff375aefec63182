"""What can be wrong with an installation and a project, one check each; none changes anything."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Final, Literal, NamedTuple

from packaging.requirements import Requirement

from dockrion_events import BackendUnavailable
from dockrion_sdk import Dockfile, DockfileError, load_dockfile

from ..app import create_app
from ..auth import Authenticator, authenticator
from ..redaction import redactor
from ..runs.service import event_backend
from ..server import bind
from ..service import Service
from .announce import address, auth_line, is_loopback, reach
from .environment import environment_file, unset_variables
from .failure import Failure, describe
from .serving import memory_note
from .waiting import waiting

OURS: Final = "dockrion-sdk"
THEIRS: Final = "dockrion"
OLDEST_PYTHON: Final = (3, 11)
MORE: Final = "`dockrion validate --verbose` says more"

Status = Literal["ok", "warning", "failed", "skipped"]


class Check(NamedTuple):
    """What a check found; ``fix`` says how to mend what is not well."""

    name: str
    status: Status
    message: str
    fix: str = ""


def installation() -> Iterator[Check]:
    """Look at Python and the packages."""
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info >= OLDEST_PYTHON:
        yield Check("python", "ok", f"Python {found}")
    else:
        yield Check(
            "python", "failed", f"Python {found} is too old", "make an environment of Python 3.11 or newer"
        )
    yield from _packages()
    try:
        other = version(THEIRS)
    except PackageNotFoundError:
        yield Check("conflict", "ok", f"no other distribution brings packages of {OURS}'s names")
    else:
        fix = f"pip uninstall {THEIRS}; then pip install --force-reinstall --no-deps {OURS}"
        message = f"the distribution {THEIRS} {other} brings packages of the same names as {OURS}"
        yield Check("conflict", "failed", message, fix)


def _packages() -> Iterator[Check]:
    wrong = 0
    for text in distribution(OURS).requires or ():
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(wanted.name)
        except PackageNotFoundError:
            message = f"{wanted.name} is not installed"
        else:
            if wanted.specifier.contains(found, prereleases=True):
                continue
            message = f"{wanted.name} is {found}, and {OURS} needs {wanted.specifier}"
        wrong += 1
        yield Check("packages", "failed", message, f'pip install "{wanted.name}{wanted.specifier}"')
    if not wrong:
        yield Check("packages", "ok", f"{OURS} {version(OURS)} and what it needs")


def project(path: Path, env_file: Path | None, *, named: bool) -> Iterator[Check]:
    """Look at the Dockfile at ``path`` and at all that it names.

    Without a Dockfile, and where none was ``named``, there is nothing to look at.
    """
    if not named and not path.exists():
        yield Check("dockfile", "skipped", "no Dockfile.yaml here: there is no agent to look at")
        return
    try:
        file = environment_file(path, env_file)
        os.environ.update(unset_variables(file))
    except Failure as failure:
        yield Check("environment", "failed", failure.what, failure.mend)
        return
    if file is not None:
        yield _environment_file(file)
    try:
        dockfile = load_dockfile(path)
        guard = authenticator(dockfile, os.environ)
    except DockfileError as error:
        yield from _problems(error)
        return
    redact = redactor(dockfile, os.environ, guard.secrets if guard else ())
    for check in _checks(dockfile, guard):
        yield check._replace(message=redact(check.message), fix=redact(check.fix))


def _checks(dockfile: Dockfile, guard: Authenticator | None) -> Iterator[Check]:
    yield Check("dockfile", "ok", str(dockfile.file))
    for warning in dockfile.warnings:
        unknown = "unknown section" in warning
        yield Check("dockfile", "warning", warning, "remove it, or mend its name" if unknown else "")
    yield _secrets(dockfile, os.environ)
    with waiting("loading the agent"):
        check = _agent(dockfile)
    yield check
    yield from _store(dockfile)
    yield _port(dockfile)
    yield from _exposure(dockfile)
    for warning in guard.warnings if guard else ():
        yield Check("keys", "warning", *warning.split("; ", 1))


def _environment_file(file: Path) -> Check:
    if os.name == "posix" and stat.S_IMODE(file.stat().st_mode) & 0o077:
        return Check("environment", "warning", f"others may read {file}", f"chmod 600 {file}")
    return Check("environment", "ok", str(file))


def _problems(error: DockfileError) -> Iterator[Check]:
    """Tell secrets that are missing apart from what is wrong with the file."""
    wrong = DockfileError(error.file, [problem for problem in error.problems if not problem.variable])
    for line, problem in zip(str(wrong).splitlines(), wrong.problems, strict=True):
        yield Check("dockfile", "failed", line, problem.hint or f"mend {problem.path or error.file}")
    missing = {problem.variable: problem for problem in error.problems if problem.variable}
    for variable, problem in missing.items():
        fix = f"export {variable}=…, or put it into .env beside the Dockfile"
        yield Check("secrets", "failed", f"{problem.path}: {problem.message}", fix)
    yield Check("agent", "skipped", "not looked at until the above is mended")


def _secrets(dockfile: Dockfile, env: Mapping[str, str]) -> Check:
    required = [secret.name for secret in dockfile.secrets.required]
    if dockfile.auth.mode == "api_key":
        required.append(dockfile.auth.api_keys.env_var)
    unset = [secret.name for secret in dockfile.secrets.optional if not env.get(secret.name)]
    parts = [f"set: {', '.join(dict.fromkeys(required))}" if required else "none are required"]
    if unset:
        parts.append(f"optional and not set: {', '.join(unset)}")
    return Check("secrets", "ok", f"{'; '.join(parts)}; auth {auth_line(dockfile)}")


def _agent(dockfile: Dockfile) -> Check:
    name = dockfile.agent.name

    async def start() -> tuple[str, str | None, list[str]]:
        service: Service = create_app(dockfile).state.service
        agent = service.agent
        async with agent.lifetime():
            return agent.adapter.framework, memory_note(service, dockfile), await agent.inspect()

    try:
        framework, note, warnings = asyncio.run(start())
    except DockfileError as error:
        first = error.problems[0]
        fix = (
            first.hint
            or "make it importable from the Dockfile's directory; `dockrion validate --verbose` says more"
        )
        return Check("agent", "failed", str(error).splitlines()[0], fix)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the agent's own code raises
        return Check(
            "agent",
            "failed",
            f"{name} cannot start: {describe(error)}",
            "`dockrion validate --verbose` says more",
        )
    if warnings:
        return Check("agent", "warning", "; ".join(warnings), "change what the agent asks for")
    if note is not None:
        what, _, fix = note.partition("; ")
        return Check("agent", "warning", f"{name} ({framework}) loads; {what}", fix)
    return Check("agent", "ok", f"{name} ({framework}) loads")


def _store(dockfile: Dockfile) -> Iterator[Check]:
    if not dockfile.streaming.async_runs:
        yield Check("store", "skipped", "no runs are kept (streaming.async_runs)")
        return
    if dockfile.streaming.backend == "memory":
        yield Check("store", "ok", "runs are kept in memory, and end with the server")
        return

    async def opened() -> list[str]:
        backend = event_backend(dockfile)
        try:
            return await backend.open()
        finally:
            await backend.close()

    try:
        with waiting("asking Redis"):
            warnings = asyncio.run(opened())
    except BackendUnavailable as error:
        yield Check("store", "failed", str(error), "start it, or mend streaming.redis.url")
        return
    for line in warnings:
        message, _, fix = line.partition(": set ")
        if not fix:
            message, _, fix = line.removesuffix(")").partition(" (set ")
        yield Check("store", "warning", message, f"set {fix}" if fix else "let dockrion's user ask for it")
    if not warnings:
        yield Check("store", "ok", "Redis answers, keeps what it is given, and is new enough")


def _port(dockfile: Dockfile) -> Check:
    host, port = dockfile.expose.host, dockfile.expose.port
    try:
        bind(host, port).close()
    except (OSError, UnicodeError) as error:
        what, _, mend = str(error).partition("; ")
        return Check("port", "failed", what, mend or "end what listens there, or change expose.port")
    free = f"{address(host, port)} is free" if port else f"any free one on {host} is taken"
    return Check("port", "ok", f"{free}; reached by {reach(host)}")


def _exposure(dockfile: Dockfile) -> Iterator[Check]:
    """Report an agent that others may call as they like."""
    host = dockfile.expose.host
    if dockfile.auth.mode == "none" and not is_loopback(host):
        yield Check(
            "exposure",
            "failed",
            f"the server listens on {host}, reached by {reach(host)}, and asks nobody for a key",
            "set auth.mode: api_key, or expose.host: 127.0.0.1",
        )
