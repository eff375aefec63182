"""What `dockrion add` does: a Dockfile is changed, and the rest of it left as it is."""

from __future__ import annotations

import difflib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from dockrion_events import encode_json
from dockrion_sdk import DockfileError, load_dockfile
from dockrion_sdk.dockfile.load import FILE_NAME
from dockrion_sdk.dockfile.read import parse_document

from .editing import NotEditable, Path, value_at, with_item, with_value
from .environment import environment_file, unset_variables
from .failure import Failure, Teller
from .project import KEY_VARIABLE, RUNS_ARE_OFF, SET_STORE, STORE_SECRET, STORE_URL, STORE_VARIABLE

MAKE_KEY: Final = (
    "python -c \"import secrets; print('{variable}=' + secrets.token_urlsafe(32))\" >> .env && chmod 600 .env"
)
_STYLES: Final = {"+": "green", "-": "red", "@": "cyan"}


@dataclass(frozen=True)
class Target:
    """The Dockfile to change, and how: ``dry_run`` changes nothing."""

    path: FilePath
    env_file: FilePath | None
    teller: Teller
    dry_run: bool
    json: bool


def add_streaming(target: Target, wanted: Mapping[Path, Any], *, store: bool) -> None:
    """Stream by SSE, with the ``wanted`` values in place; with ``store`` runs are kept on Redis."""

    def change(text: str) -> str:
        tree = parse_document(text).tree
        if (served := _with_sse(value_at(tree, ("expose", "streaming")))) is not None:
            text = with_value(text, ("expose", "streaming"), served)
        for place, value in wanted.items():
            if value is not None and value_at(tree, place) != value:
                text = with_value(text, place, value)
        if store:
            text = _with_store(text)
        if value_at(parse_document(text).tree, ("streaming",)) is None:
            text = with_value(text, ("streaming", "events", "allowed"), "all")
        return text

    def notes(tree: Mapping[str, Any]) -> list[str]:
        if value_at(tree, ("streaming", "backend")) != "redis":
            return []
        lines = [] if value_at(tree, ("streaming", "async_runs")) else [RUNS_ARE_OFF]
        if value_at(tree, ("streaming", "redis", "url")) == STORE_URL:
            lines.append(f"{STORE_VARIABLE} has to be set before `dockrion run`, for example: {SET_STORE}")
        return lines

    _edit(target, change, notes)


def add_auth(target: Target) -> None:
    """Ask clients for an API key."""
    place = ("auth", "mode")

    def change(text: str) -> str:
        asked = value_at(parse_document(text).tree, place) == "api_key"
        return text if asked else with_value(text, place, "api_key")

    def notes(tree: Mapping[str, Any]) -> list[str]:
        variable = value_at(tree, ("auth", "api_keys", "env_var")) or KEY_VARIABLE
        make = MAKE_KEY.format(variable=variable)
        return [f"The keys come from {variable}; to make one, beside the Dockfile: {make}"]

    _edit(target, change, notes)


def _with_sse(streaming: Any) -> Any:
    """Return what `expose.streaming` becomes; None where SSE is served as it is."""
    if isinstance(streaming, str) and "${" in streaming:
        return None
    named = [streaming] if isinstance(streaming, str) else list(streaming or ())
    if "sse" in named:
        return None
    others = [name for name in named if name != "none"]
    return [*others, "sse"] if others else "sse"


def _with_store(text: str) -> str:
    """Name a Redis where none is named, by a variable that is declared as a secret."""
    tree = parse_document(text).tree
    redis = value_at(tree, ("streaming", "redis"))
    if not redis:
        text = with_value(text, ("streaming", "redis"), {"url": STORE_URL})
    elif not redis.get("url"):
        text = with_value(text, ("streaming", "redis", "url"), STORE_URL)
    elif STORE_URL not in redis["url"]:
        return text
    secrets = [
        entry
        for kind in ("required", "optional")
        for entry in value_at(tree, ("secrets", kind)) or ()
        if entry.get("name") == STORE_VARIABLE
    ]
    return text if secrets else with_item(text, ("secrets", "required"), dict(STORE_SECRET))


def _edit(
    target: Target, change: Callable[[str], str], notes: Callable[[Mapping[str, Any]], list[str]]
) -> None:
    """Change a Dockfile: check it before and after, show the difference, write it in one step."""
    path = target.path
    file = (path / FILE_NAME if path.is_dir() else path).resolve()
    env = {**unset_variables(environment_file(path, target.env_file)), **os.environ}
    _check(path, env, None)
    before = file.read_bytes().decode("utf-8")
    try:
        after = change(before)
    except NotEditable as error:
        what = f"{path} is laid out so that {error} cannot be put there safely"
        raise Failure(what, "put it there by hand, and run this again") from None
    bare = after.removeprefix("\ufeff")
    _check(path, env, bare)
    changed = before != after
    lines = _difference(before, after, file.name)
    if changed and not target.dry_run:
        _replace(file, after)
    said = notes(parse_document(bare).tree)
    if target.json:
        shown = {"file": str(file), "changed": changed, "written": changed and not target.dry_run}
        print(encode_json({**shown, "diff": "".join(lines), "notes": said}).decode())
        return
    _show(lines)
    if not changed:
        said = [f"Nothing to change: {path} has all of that."]
    else:
        said.insert(0, f"{path} would change so; nothing is written." if target.dry_run else f"Wrote {path}.")
    for line in said:
        target.teller.say(line)


def _check(path: FilePath, env: Mapping[str, str], text: str | None) -> None:
    """Raise `DockfileError` unless the Dockfile is valid; variables may be set later."""
    try:
        load_dockfile(path, env, text=text)
    except DockfileError as error:
        wrong = [problem for problem in error.problems if not problem.variable]
        if wrong:
            raise DockfileError(error.file, wrong) from None


def _difference(before: str, after: str, name: str) -> list[str]:
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{name}", f"b/{name}"
    )
    return [line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines]


def _show(lines: list[str]) -> None:
    """Print a difference, coloured in a terminal."""
    if not sys.stdout.isatty():
        sys.stdout.write("".join(lines))
        return
    console = Console(highlight=False)
    for line in lines:
        header = line.startswith(("+++", "---"))
        style = "bold" if header else _STYLES.get(line[0], "")
        console.print(Text(line.rstrip("\r\n"), style=style), soft_wrap=True)


def _replace(file: FilePath, text: str) -> None:
    """Put ``text`` in the file's place, whole or not at all. Raises `Failure`."""
    made = ""
    try:
        handle, made = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        with open(handle, "wb") as new:
            new.write(text.encode())
            new.flush()
            os.fsync(new.fileno())
        shutil.copymode(file, made)
        os.replace(made, file)
    except OSError as error:
        with suppress(OSError):
            os.unlink(made)
        reason = error.strerror or str(error)
        raise Failure(f"cannot write {file}: {reason}", "see who may write there") from None
