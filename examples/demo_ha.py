"""Two servers, a worker, and a client that survives the kill of each: ``python -m examples.demo_ha``.

Starts a Redis of its own unless ``REDIS_URL`` names one, and ends everything that it started.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.servers import RedisServer

from .demo import end, wait_until_ready
from .redis_cluster_of_servers.client import follow, start

HERE = Path(__file__).parent / "redis_cluster_of_servers"
COMMAND = [sys.executable, "-m", "dockrion_runtime.cli"]
STEPS = 30


class Process:
    """A server or a worker, which may be killed."""

    def __init__(self, name: str, *arguments: str, env: dict[str, str]) -> None:
        self.name = name
        self.process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, text=True, env=env)
        self.url = ""

    def ready(self) -> None:
        """Wait until it says that it works."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if " is served at " in line:
                self.url = line.split()[-1]
            if "Ctrl-C stops it" in line:
                return
        raise RuntimeError(f"{self.name} ended with {self.process.wait()} before it was ready")

    def kill(self) -> None:
        """End it without a warning, as a crash would."""
        self.process.kill()
        self.process.wait()
        print(f"  ✗ {self.name} is killed")


def main() -> int:
    with ExitStack() as stack:
        url = os.environ.get("REDIS_URL") or stack.enter_context(redis())
        env = {**os.environ, "REDIS_URL": url}
        serve = ("run", str(HERE), "--host", "127.0.0.1", "--port", "0", "--no-executor")
        servers = [Process(f"server {name}", *serve, env=env) for name in "AB"]
        worker = Process("the worker", "worker", str(HERE), env=env)
        for process in (*servers, worker):
            stack.callback(end, process.process)
        for process in (*servers, worker):
            process.ready()
        for server in servers:
            wait_until_ready(server.url)
        print(f"server A {servers[0].url}, server B {servers[1].url}, and a worker, on one Redis\n")
        return walk(stack, servers, worker, env)


def walk(stack: ExitStack, servers: list[Process], worker: Process, env: dict[str, str]) -> int:
    """Follow one run, killing on the way whatever serves or executes it."""
    urls = [server.url for server in servers]
    names = {server.url: server.name for server in servers}
    run_id = f"walk-{time.time_ns()}"
    start(urls, run_id, {"steps": STEPS, "pause": 0.1})
    sequences: list[int] = []
    attempts = 1
    for url, event in follow(urls, run_id):
        sequences.append(event["sequence"])
        print(f"{event['sequence']:4}  {event['type']:9} {event.get('step', ''):8} by {names[url]}")
        if event["type"] == "restarted":
            attempts = event["attempt"]
        if attempts == 1 and event.get("step") == "step 5":
            servers[0].kill()
        elif attempts == 1 and event.get("step") == "step 10":
            worker.kill()
            another = Process("another worker", "worker", str(HERE), env=env)
            stack.callback(end, another.process)
            another.ready()
            print("  ✓ another worker is up, and waits for the lease to expire")
    whole = sequences == list(range(1, len(sequences) + 1))
    verdict = "each once and in order" if whole else "NOT each once and in order"
    print(f"\n{len(sequences)} events, {verdict}; {attempts} executions; the run ended with {event['type']}")
    return 0 if whole and attempts == 2 and event["type"] == "complete" else 1


@contextmanager
def redis() -> Iterator[str]:
    """Run a Redis of our own; yields its URL."""
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder)) as server:
        yield server.url


if __name__ == "__main__":
    sys.exit(main())
