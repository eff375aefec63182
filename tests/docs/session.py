"""One reading of a page: its blocks done in their order, in a folder of the page's own."""

from __future__ import annotations

import ast
import asyncio
import inspect
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from dockrion_sdk import Dockfile

from ..cli.conftest import COMMAND, DEADLINE, until
from ..servers.redis import free_port
from .blocks import Block
from .browser import Browser, browser

WRITTEN_PORT = "localhost:8080"
"""Where every page says the server is; here it is on a free port."""

AGENT = {"name": "fragment", "handler": "service:handle"}


class Session:
    """Does what blocks say. Names of Python blocks and variables of shell blocks last until the page ends."""

    def __init__(
        self, folder: Path, given: dict[str, Any], stack: ExitStack, patience: float = DEADLINE
    ) -> None:
        self._patience = patience
        self._folder = folder
        self._names = given
        self._stack = stack
        self._port = free_port()
        self._printed: Callable[[], str] | None = None
        self._browser: Browser | None = None
        commands = folder / ".bin"
        commands.mkdir()
        # The command of this environment, though its folder be on nobody's PATH.
        command = commands / "dockrion"
        command.write_text(f'#!/bin/sh\nexec {shlex.join(COMMAND)} "$@"\n')
        command.chmod(0o755)
        self._env = {**os.environ, "PATH": f"{commands}{os.pathsep}{Path(sys.executable).parent}"
                     f"{os.pathsep}{os.environ['PATH']}"}  # fmt: skip

    def do(self, block: Block) -> None:
        """Do what a block says. Raises `AssertionError` where it does not work, naming the block."""
        if "tested" in block.words:
            return
        if block.language != "text":
            self._printed = None
        if block.language in ("bash", "console") and "curl" in block.text and shutil.which("curl") is None:
            pytest.skip("needs curl: apt-get install curl")
        try:
            getattr(self, f"_{block.language}")(block)
        except Exception as error:
            raise AssertionError(f"{block.where}: {error}") from error

    # -- languages -----------------------------------------------------------------------------

    def _python(self, block: Block) -> None:
        if "file" in block.words or "needs" in block.words:
            compile(block.text, block.where, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
            self._write(block)
            return
        code = compile(
            self._here(block.text),
            block.where,
            "exec",
            flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
            dont_inherit=True,
        )
        with redirect_stdout(io.StringIO()) as printed:
            if code.co_flags & inspect.CO_COROUTINE:
                asyncio.run(eval(code, self._names))
            else:
                exec(code, self._names)
        self._printed = printed.getvalue

    def _bash(self, block: Block) -> None:
        if "needs" in block.words:
            self._shell(block.text, "-n")
        elif "serve" in block.words:
            self._printed = self.serve(block.text).read_text
        else:
            output = self._shell(block.text)
            self._printed = lambda: output

    def _console(self, block: Block) -> None:
        """Run each line that begins with ``$ ``; what follows is its output, in which … is anything."""
        for part in re.split(r"^\$ ", block.text, flags=re.M)[1:]:
            command, _, expected = part.partition("\n")
            if "needs" in block.words:
                self._shell(command, "-n")
                continue
            output = self._shell(command)
            assert self._is(output, expected), f"{command}\n{output}\n--- is not\n{expected}"

    def _yaml(self, block: Block) -> None:
        found = YAML(typ="safe").load(block.text)
        if "plain" in block.words:
            return
        Dockfile.model_validate({"version": "1.0", "agent": AGENT, **found})
        self._write(block)

    def _json(self, block: Block) -> None:
        json.loads(block.text)

    def _javascript(self, block: Block) -> None:
        """Run a script in a page that comes from the server; what it logs is its output."""
        if self._browser is None:
            self._browser = self._stack.enter_context(browser())
        self._browser.run(block.text, f"http://localhost:{self._port}/health")
        self._printed = self._browser.logged

    def _text(self, block: Block) -> None:
        """Hold ``output`` against what the block before has printed; the rest is only to be read.

        A script in a page may go on when it was run to its end, so its output is waited for.
        """
        if "output" not in block.words:
            return
        printed = self._printed
        assert printed is not None, "the block before it prints nothing"
        deadline = time.monotonic() + (self._patience if self._browser is not None else 0)
        while not self._is(printed(), block.text):
            assert time.monotonic() < deadline, f"{printed()}\n--- is not\n{block.text}"
            time.sleep(0.02)

    # -- doing ---------------------------------------------------------------------------------

    def _is(self, output: str, shown: str) -> bool:
        """Say whether ``output`` is what is shown, where … is anything; spaces at line ends do not count."""
        output = output.replace(f"localhost:{self._port}", WRITTEN_PORT)
        output, shown = (re.sub(r" +$", "", text.strip(), flags=re.M) for text in (output, shown))
        return re.fullmatch(".*?".join(map(re.escape, shown.split("…"))), output, re.S) is not None

    def _here(self, text: str) -> str:
        return text.replace(WRITTEN_PORT, f"localhost:{self._port}")

    def _write(self, block: Block) -> None:
        if "file" not in block.words:
            return
        file = self._folder / block.words["file"]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(self._here(block.text))

    def _shell(self, script: str, *options: str) -> str:
        """Run a script with the variables that the scripts before it have set; return its output."""
        kept = self._folder / ".variables"
        whole = self._here(script)
        if not options:
            whole = f". {kept} 2>/dev/null || true\nset -euo pipefail\n{whole}\ndeclare -p > {kept}"
        done = subprocess.run(
            ["bash", *options, "-c", whole],
            cwd=self._folder,
            env=self._env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def serve(self, script: str) -> Path:
        """Run a script whose last line is `dockrion run`, and leave that running until the page ends.

        Returns the file that its output goes to.
        """
        log = self._folder / ".served"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-ec", f"{script.strip()} --host 127.0.0.1 --port {self._port}"],
                cwd=self._folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._stack.callback(_end, process)

        def announced() -> bool:
            assert process.poll() is None, log.read_text()
            return "Ctrl-C stops it" in log.read_text()

        until(announced, script)
        return log


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(DEADLINE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def reading(folder: Path, given: dict[str, Any], *, patience: float = DEADLINE) -> Iterator[Session]:
    """Read a page; its servers end with the block, and the modules that it wrote are forgotten.

    ``patience`` is how many seconds the output of scripts in pages may take.
    """
    with ExitStack() as stack:
        yield Session(folder, given, stack, patience)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(f"{folder}{os.sep}"):
            del sys.modules[name]
