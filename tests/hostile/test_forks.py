"""An agent that forks: its children hold neither the port nor a connection, and can use an `Agent`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from ..chaos.processes import Instance, project

DEADLINE = 30.0

AGENT = """
import multiprocessing, os, pathlib, subprocess, sys, threading, time

here = pathlib.Path(__file__).parent
fork = multiprocessing.get_context("fork")

def stays():
    print("a word of the child", flush=True)
    here.joinpath(f"child-{os.getpid()}").touch()
    time.sleep(60)

def start(how):
    if how == "multiprocessing":
        child = fork.Process(target=stays, daemon=True)
        child.start()
        return child.pid
    if how == "os.fork":
        pid = os.fork()
        if not pid:
            try:
                stays()
            finally:
                os._exit(0)
        return pid
    code = "import os, pathlib, sys, time\\n"
    code += "pathlib.Path(sys.argv[1], f'child-{os.getpid()}').touch(); time.sleep(60)"
    return subprocess.Popen([sys.executable, "-c", code, str(here)], close_fds=False).pid

async def handle(payload, context):
    if payload.get("thread"):
        found = []
        thread = threading.Thread(target=lambda: found.append(start(payload["how"])))
        thread.start()
        thread.join()
        return found[0]
    return start(payload["how"]) if payload.get("how") else "answered"
"""


@contextmanager
def killed(pid: int) -> Iterator[None]:
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def up(instance: Instance) -> None:
    instance.start()
    limit = time.monotonic() + DEADLINE
    while b"Ctrl-C stops it" not in instance._told():
        assert instance.process.poll() is None, instance._told().decode()
        assert time.monotonic() < limit
        time.sleep(0.02)


@pytest.mark.parametrize("options", [(), ("--workers", "2"), ("--reload",)], ids=["one", "two", "reload"])
@pytest.mark.parametrize("how", ["multiprocessing", "os.fork", "subprocess"])
def test_a_child_does_not_keep_the_port(tmp_path: Path, how: str, options: tuple[str, ...]) -> None:
    project(tmp_path, AGENT, expose={"shutdown_grace": 0.5}, streaming={"async_runs": False})
    instance = Instance(tmp_path, *options)
    up(instance)
    url = f"http://127.0.0.1:{instance.port}"
    try:
        child = httpx.post(f"{url}/invoke", json={"how": how}, timeout=DEADLINE).json()["output"]
        with killed(child):
            limit = time.monotonic() + DEADLINE
            while not (tmp_path / f"child-{child}").exists():
                assert time.monotonic() < limit
                time.sleep(0.02)
            pids = [instance.pid] if not options else _below(instance.pid)
            for pid in [instance.pid, *pids]:
                if pid != child:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            instance.process.wait(DEADLINE)
            with pytest.raises(ConnectionRefusedError):
                _until_refused(instance.port)
            again = Instance(tmp_path)
            again.port, again._command = instance.port, _with_port(again._command, instance.port)
            up(again)
            try:
                for _ in range(20):
                    assert httpx.post(f"{url}/invoke", json={}, timeout=5).json()["output"] == "answered"
            finally:
                again.kill()
    finally:
        instance.kill()


def _with_port(command: list[str], port: int) -> list[str]:
    at = command.index("--port")
    return [*command[: at + 1], str(port), *command[at + 2 :]]


def _below(pid: int) -> list[int]:
    text = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in text.splitlines()]
    return [child for child, parent in pairs if parent == pid]


def _until_refused(port: int) -> None:
    """Connect until nobody listens, which a killed process's sockets take a moment for."""
    limit = time.monotonic() + 5
    while time.monotonic() < limit:
        with suppress(ConnectionResetError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()


@pytest.mark.parametrize("thread", [False, True], ids=["loop", "thread"])
@pytest.mark.parametrize("how", ["multiprocessing", "os.fork"])
def test_a_child_keeps_no_connection_open(tmp_path: Path, how: str, thread: bool) -> None:
    project(tmp_path, AGENT, expose={"shutdown_grace": 0.5}, streaming={"async_runs": False})
    instance = Instance(tmp_path)
    up(instance)
    try:
        with socket.create_connection(("127.0.0.1", instance.port), timeout=DEADLINE) as idle:
            idle.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = b""
            while not answer.endswith(b"}"):
                answer += idle.recv(4096)
            child = httpx.post(
                f"http://127.0.0.1:{instance.port}/invoke",
                json={"how": how, "thread": thread},
                timeout=DEADLINE,
            ).json()["output"]
            with killed(child):
                instance.kill()
                with suppress(ConnectionResetError):
                    assert idle.recv(4096) == b""
    finally:
        instance.kill()


def test_a_child_ends_when_it_is_terminated(tmp_path: Path) -> None:
    """It has the usual signals, not those of the server."""
    project(tmp_path, AGENT, expose={"shutdown_grace": 0.5}, streaming={"async_runs": False})
    instance = Instance(tmp_path)
    up(instance)
    url = f"http://127.0.0.1:{instance.port}"
    try:
        child = httpx.post(f"{url}/invoke", json={"how": "os.fork"}, timeout=DEADLINE).json()["output"]
        with killed(child):
            limit = time.monotonic() + DEADLINE
            while not (tmp_path / f"child-{child}").exists():
                assert time.monotonic() < limit
                time.sleep(0.02)
            os.kill(child, signal.SIGTERM)
            while "Z" not in _state(child):
                assert time.monotonic() < limit
                time.sleep(0.02)
            assert httpx.get(f"{url}/ready").status_code == 200
            assert instance.log.read_text().count("a word of the child") == 1
    finally:
        instance.kill()


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


USED = """
import asyncio, os, sys, time
from dockrion_sdk import Agent

def answer(payload):
    return os.getpid()

def steps(payload):
    yield "one"
    yield "two"

def use(agent):
    async def one():
        return await agent.ainvoke({})
    async def all_events():
        async with agent.invoke_stream({}) as stream:
            return [event.type async for event in stream]
    found = [agent.invoke({}), asyncio.run(one()), asyncio.run(all_events())]
    return found, [event.type for event in agent.stream_chat_sync("hello")]

agent = Agent.load(answer)
print(use(agent), flush=True)
pid = os.fork()
if not pid:
    found, said = use(agent)
    assert found[0] == found[1] == os.getpid(), found
    assert found[2] == ["started", "complete"] == said, (found, said)
    os._exit(7)
deadline = time.monotonic() + 15
while time.monotonic() < deadline:
    done, status = os.waitpid(pid, os.WNOHANG)
    if done:
        use(agent)
        sys.exit(os.waitstatus_to_exitcode(status))
    time.sleep(0.02)
os.kill(pid, 9)
sys.exit("the child hung")
"""


def test_an_agent_that_was_used_before_a_fork_works_in_the_child(tmp_path: Path) -> None:
    (tmp_path / "used.py").write_text(USED)
    done = subprocess.run(
        [sys.executable, "used.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 7, done.stderr
