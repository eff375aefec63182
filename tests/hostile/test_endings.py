"""SIGTERM while something in the process would not end: it exits within the grace and a second, with 0."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from ..chaos.processes import Instance, project
from ..servers.redis import RedisServer

DEADLINE = 30.0
GRACE = 0.5
PROMISED = GRACE + 1.0
MARGIN = 1.5
"""For the machine: the test's own look, and the teardown of a process by the kernel."""

AGENT = """
import asyncio, atexit, concurrent.futures, multiprocessing, pathlib, signal, subprocess, sys, threading, time

here = pathlib.Path(__file__).parent
forked = multiprocessing.get_context("fork")
pool = concurrent.futures.ThreadPoolExecutor(2)

def never(*_):
    while True:
        time.sleep(3600)

def busy(*_):
    while True:
        pass

class Stubborn:
    def __del__(self):
        never()

async def swallows():
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass

async def handle(payload, context):
    kind = payload["kind"]
    if kind == "thread":
        threading.Thread(target=never).start()
    elif kind == "busy thread":
        threading.Thread(target=busy).start()
    elif kind == "own pool":
        pool.submit(never)
    elif kind == "child":
        forked.Process(target=never).start()
    elif kind == "process pool":
        workers = concurrent.futures.ProcessPoolExecutor(1, mp_context=forked)
        workers.submit(never)
        here.joinpath("kept").touch()
        globals()["workers"] = workers
    elif kind == "subprocess":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    elif kind == "atexit":
        atexit.register(never)
    elif kind == "finaliser":
        globals()["stubborn"] = Stubborn()
    elif kind == "signals replaced":
        for sig in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sig, lambda *_: None)
    elif kind == "signals ignored":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif kind == "printing":
        threading.Thread(target=lambda: [print("x" * 1000) for _ in iter(int, 1)]).start()
    here.joinpath("started").touch()
    if kind == "to_thread":
        await asyncio.to_thread(never)
    elif kind == "blocked loop":
        never()
    elif kind == "busy loop":
        busy()
    elif kind == "swallowed":
        await swallows()
    elif kind == "finally":
        try:
            await asyncio.sleep(3600)
        finally:
            await swallows()
    elif kind == "tasks":
        for _ in range(3):
            asyncio.get_running_loop().create_task(swallows())
        await asyncio.sleep(3600)
    return "done"

def block(payload):
    here.joinpath("started").touch()
    never()
"""

KINDS = [
    "thread", "busy thread", "own pool", "to_thread", "child", "process pool", "subprocess", "atexit",
    "finaliser", "blocked loop", "busy loop", "swallowed", "finally", "tasks", "printing",
]  # fmt: skip


def group_of(pid: int) -> list[int]:
    """Return the processes that descend from this one."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            if int(entry.joinpath("stat").read_text().rpartition(")")[2].split()[1]) == pid:
                child = int(entry.name)
                found += [child, *group_of(child)]
    return found


def wait_for(condition: Any, what: str) -> None:
    limit = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < limit, what
        time.sleep(0.02)


@contextmanager
def serving(
    folder: Path, *options: str, redis: str | None = None, handler: str = "handle"
) -> Iterator[Instance]:
    project(
        folder,
        AGENT,
        redis=redis,
        expose={"shutdown_grace": GRACE},
        agent={"name": folder.name, "handler": f"agent:{handler}"},
        streaming={"async_runs": redis is not None},
    )
    instance = Instance(folder, *options)
    instance.start()
    left: list[int] = []
    try:
        wait_for(
            lambda: b"Ctrl-C stops it" in instance._told() or instance.process.poll() is not None, "a start"
        )
        assert instance.process.poll() is None, instance._told().decode()
        yield instance
        left = group_of(instance.pid)
    finally:
        left += group_of(instance.pid)
        instance.kill()
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def call(port: int, payload: Any) -> None:
    def sent() -> None:
        with suppress(httpx.HTTPError):
            httpx.post(f"http://127.0.0.1:{port}/invoke", json=payload, timeout=DEADLINE)

    threading.Thread(target=sent, daemon=True).start()


def ends(instance: Instance, sig: int = signal.SIGTERM) -> None:
    began = time.monotonic()
    instance.process.send_signal(sig)
    code = instance.process.wait(DEADLINE)
    took = time.monotonic() - began
    assert code == 0, instance.log.read_text()
    assert took <= PROMISED + MARGIN, instance.log.read_text()
    assert "Traceback" not in instance.log.read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_ends_in_time(tmp_path: Path, kind: str) -> None:
    with serving(tmp_path) as instance:
        call(instance.port, {"kind": kind})
        wait_for((tmp_path / "started").exists, "the agent")
        children = group_of(instance.pid)
        ends(instance)
        if kind in ("child", "process pool"):
            assert children
            wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), "the children's end")


def test_a_server_ends_in_time_while_synchronous_code_runs(tmp_path: Path) -> None:
    with serving(tmp_path, handler="block") as instance:
        call(instance.port, {})
        wait_for((tmp_path / "started").exists, "the agent")
        ends(instance)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no hang-up here")
@pytest.mark.parametrize("kind", ["thread", "swallowed"])
def test_a_hang_up_drains(tmp_path: Path, kind: str) -> None:
    with serving(tmp_path) as instance:
        call(instance.port, {"kind": kind})
        wait_for((tmp_path / "started").exists, "the agent")
        ends(instance, signal.SIGHUP)


def test_nohup_is_respected(tmp_path: Path) -> None:
    project(tmp_path, AGENT, expose={"shutdown_grace": GRACE}, streaming={"async_runs": False})
    instance = Instance(tmp_path)
    instance._command = ["nohup", *instance._command]
    instance.start()
    try:
        wait_for(lambda: b"Ctrl-C stops it" in instance._told(), "a start")
        instance.signal(signal.SIGHUP)
        assert httpx.get(f"http://127.0.0.1:{instance.port}/ready").status_code == 200
        ends(instance)
    finally:
        instance.kill()


@pytest.mark.parametrize("kind", ["thread", "blocked loop", "atexit"])
@pytest.mark.parametrize("options", [("--workers", "2"), ("--reload",)], ids=" ".join)
def test_several_processes_end_in_time(tmp_path: Path, options: tuple[str, ...], kind: str) -> None:
    with serving(tmp_path, *options) as instance:
        wait_for(lambda: _answers(instance.port), "an answer")
        call(instance.port, {"kind": kind})
        wait_for((tmp_path / "started").exists, "the agent")
        children = group_of(instance.pid)
        assert children
        ends(instance)
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), "the children's end")


def _answers(port: int) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(f"http://127.0.0.1:{port}/ready").status_code == 200
    return False


@pytest.mark.parametrize("kind", ["thread", "own pool", "to_thread", "atexit", "blocked loop", "swallowed"])
def test_a_worker_ends_in_time(tmp_path: Path, shared_redis: RedisServer, kind: str) -> None:
    folder = tmp_path / f"ending-{kind.replace(' ', '-')}"
    with serving(folder, "--no-executor", redis=shared_redis.url) as server:
        worker = Instance(folder, worker=True)
        worker.start()
        try:
            wait_for(lambda: b"Ctrl-C stops it" in worker._told(), "a start")
            httpx.post(f"http://127.0.0.1:{server.port}/runs", json={"kind": kind}).raise_for_status()
            wait_for((folder / "started").exists, "the agent")
            ends(worker)
        finally:
            worker.kill()


@pytest.mark.parametrize("kind", ["signals replaced", "signals ignored"])
def test_an_agent_cannot_keep_the_signals(tmp_path: Path, kind: str) -> None:
    with serving(tmp_path) as instance:
        call(instance.port, {"kind": kind})
        wait_for(lambda: "the server's own is set again" in instance.log.read_text(), "the warning")
        ends(instance)


def test_an_idle_server_ends_soon_whatever_its_grace(tmp_path: Path) -> None:
    """What holds the interpreter is not waited for as if it were work."""
    project(tmp_path, AGENT, expose={"shutdown_grace": 60}, streaming={"async_runs": False})
    instance = Instance(tmp_path)
    instance.start()
    try:
        wait_for(lambda: b"Ctrl-C stops it" in instance._told(), "a start")
        httpx.post(f"http://127.0.0.1:{instance.port}/invoke", json={"kind": "thread"})
        began = time.monotonic()
        instance.signal(signal.SIGTERM)
        assert instance.process.wait(DEADLINE) == 0
        assert time.monotonic() - began < 3
        assert "threads of its own: Thread-" in instance.log.read_text()
    finally:
        instance.kill()


@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["one", "two"])
def test_a_second_interruption_ends_it_now(tmp_path: Path, options: tuple[str, ...]) -> None:
    project(tmp_path, AGENT, expose={"shutdown_grace": 60}, streaming={"async_runs": False})
    instance = Instance(tmp_path, *options)
    instance.start()
    try:
        wait_for(lambda: b"Ctrl-C stops it" in instance._told(), "a start")
        call(instance.port, {"kind": "swallowed"})
        wait_for((tmp_path / "started").exists, "the agent")
        instance.signal(signal.SIGINT)
        wait_for(lambda: "press Ctrl-C again to stop now" in instance.log.read_text(), "the hint")
        began = time.monotonic()
        instance.signal(signal.SIGINT)
        assert instance.process.wait(DEADLINE) == 130
        assert time.monotonic() - began < 4
        assert "Traceback" not in instance.log.read_text()
    finally:
        instance.kill()


WITHOUT = """
import asyncio, os, signal
for module, names in ((signal, ["SIGHUP"]), (os, ["fork", "register_at_fork", "setpgrp"])):
    for name in names:
        delattr(module, name)

def refused(*_):
    raise NotImplementedError

asyncio.unix_events._UnixSelectorEventLoop.add_signal_handler = refused
"""


@pytest.mark.parametrize("options", [(), ("--workers", "2"), ("worker",)], ids=["run", "workers", "worker"])
def test_it_does_without_what_windows_lacks(
    tmp_path: Path, shared_redis: RedisServer, options: tuple[str, ...]
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(WITHOUT)
    project(tmp_path, AGENT, name=f"without-{'-'.join(options)}", redis=shared_redis.url)
    path = os.pathsep.join([str(tmp_path / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
    worker = options == ("worker",)
    instance = Instance(tmp_path, *(() if worker else options), worker=worker, env={"PYTHONPATH": path})
    instance.start()
    try:
        wait_for(
            lambda: b"Ctrl-C stops it" in instance._told() or instance.process.poll() is not None, "a start"
        )
        assert instance.process.poll() is None, instance._told().decode()
        if not worker:
            httpx.post(
                f"http://127.0.0.1:{instance.port}/invoke", json={"kind": "none"}, timeout=DEADLINE
            ).raise_for_status()
        instance.signal(signal.SIGTERM)
        assert instance.process.wait(DEADLINE) == 0
    finally:
        instance.kill()


@pytest.mark.parametrize("command", [["doctor"], ["doctor", "--json"], ["validate"], ["run", "--help"]])
def test_a_reader_that_leaves_is_not_told_of(tmp_path: Path, command: list[str]) -> None:
    project(tmp_path, AGENT, streaming={"async_runs": False})
    here, elsewhere = os.pipe()
    os.close(here)
    told = subprocess.run(
        [sys.executable, "-m", "dockrion_runtime.cli", *command],
        cwd=tmp_path,
        stdout=elsewhere,
        stderr=subprocess.PIPE,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    os.close(elsewhere)
    assert told.stderr == ""
    assert told.returncode in (0, 1)


def test_a_server_goes_on_when_nobody_reads_its_stdout(tmp_path: Path) -> None:
    project(tmp_path, AGENT, streaming={"async_runs": False})
    port = Instance(tmp_path).port
    here, elsewhere = os.pipe()
    command = [sys.executable, "-m", "dockrion_runtime.cli", "run", str(tmp_path), "--port", str(port)]
    with subprocess.Popen(command, stdout=elsewhere, stderr=subprocess.PIPE, text=True) as process:
        os.close(elsewhere)
        os.close(here)
        try:
            wait_for(lambda: _answers(port), "an answer")
            for _ in range(3):
                assert httpx.post(f"http://127.0.0.1:{port}/invoke", json={"kind": "none"}).status_code == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE) == 0
            assert process.stderr is not None
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()
