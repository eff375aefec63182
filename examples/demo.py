"""Serve ask_docs and stream one answer over HTTP into the terminal: ``python -m examples.demo "question"``.

With a terminal attached it keeps serving until Ctrl-C.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import httpx_sse

AGENT = Path(__file__).parent / "ask_docs"
QUESTION = "What happens when a client of a direct stream leaves?"
DEADLINE = 60.0


def main() -> int:
    question = " ".join(sys.argv[1:]).strip() or QUESTION
    attended = sys.stdin.isatty() and sys.stdout.isatty()
    try:
        with serving() as url:
            ended_well = ask(url, question)
            repeat = curl(url if attended else "http://localhost:8080", question)
            if attended:
                print(f"\nAsk again from another terminal:\n\n  {repeat}\n\nServing until Ctrl-C …")
                while True:
                    time.sleep(60)
            print(f"\nTo ask again:\n\n  dockrion run examples/ask_docs\n  {repeat}")
            return 0 if ended_well else 1
    except KeyboardInterrupt:
        return 0
    except (OSError, RuntimeError, httpx.HTTPError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


@contextmanager
def serving(agent: Path = AGENT) -> Iterator[str]:
    """Run the ``dockrion`` command on a free port of this machine; yields the server's address."""
    command = [sys.executable, "-m", "dockrion_runtime.cli", "run", str(agent)]
    with subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", "0"], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            url = next((line.split()[-1] for line in server.stdout if " is served at " in line), None)
            if url is None:
                raise RuntimeError(f"the server ended with {server.wait(DEADLINE)} before it was ready")
            wait_until_ready(url)
            yield url
        finally:
            end(server)


def end(server: subprocess.Popen[str]) -> None:
    """Tell the server to stop, and see to it."""
    server.terminate()
    try:
        server.wait(DEADLINE)
    except subprocess.TimeoutExpired:
        server.kill()


def wait_until_ready(url: str) -> None:
    """Ask ``/ready`` until it says yes."""
    deadline = time.monotonic() + DEADLINE
    while httpx.get(f"{url}/ready", timeout=DEADLINE).status_code != 200:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{url}/ready did not become 200 within {DEADLINE:g} s")
        time.sleep(0.05)


def ask(url: str, question: str) -> bool:
    """Stream the answer into the terminal; say whether it came."""
    print(f"› {question}\n")
    payload = {"query": question}
    with (
        httpx.Client(timeout=DEADLINE) as client,
        httpx_sse.connect_sse(client, "POST", f"{url}/invoke/stream", json=payload) as source,
    ):
        source.response.raise_for_status()
        within_line = False
        for sent in source.iter_sse():
            event = json.loads(sent.data)
            if event["type"] == "token":
                print(event["content"], end="", flush=True)
                within_line = True
                continue
            if within_line:
                print("\n")
                within_line = False
            if not show(event):
                return False
    return True


def show(event: dict[str, Any]) -> bool:
    """Print an event that is no token; False for a failure."""
    if event["type"] == "step":
        print(f"✓ {event['node_name']}  {event['duration_ms']:.0f} ms")
    elif event["type"] == "complete":
        print(f"done in {event['latency_seconds']:.2f} s")
        for number, source in enumerate(event["output"]["sources"], start=1):
            print(f"[{number}] {source['path']}: {source['heading']}")
    elif event["type"] == "error":
        print(f"failed: {event['error']}", file=sys.stderr)
        return False
    return True


def curl(url: str, question: str) -> str:
    """Return the command that asks the same question."""
    payload = shlex.quote(json.dumps({"query": question}, ensure_ascii=False))
    return f'curl -N -X POST {url}/invoke/stream -H "Content-Type: application/json" -d {payload}'


if __name__ == "__main__":
    sys.exit(main())
