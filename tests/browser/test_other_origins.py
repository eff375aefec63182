"""Pages of other origins, in a real browser, against a developer's server without auth.

Each attack is tried on a server that lets every page and host in, too: there it works, so it is one.
"""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright

from .conftest import DEADLINE, QUIET, Live, Serve, chromium

ANYBODY = {"cors": {"origins": ["*"]}, "allowed_hosts": ["*"]}
EVIL = "evil.example"

FETCH = """async ([url, options]) => {
  try {
    const response = await fetch(url, options);
    return [response.type, response.status, await response.text()];
  } catch (error) {
    return ["failed", 0, String(error)];
  }
}"""

SOCKET = """url => new Promise(resolve => {
  const socket = new WebSocket(url);
  socket.onopen = () => socket.send(JSON.stringify({payload: {by: "socket"}}));
  socket.onmessage = ({data}) => {
    if (JSON.parse(data).type === "complete") resolve(data);
  };
  socket.onclose = () => resolve(null);
})"""

FOLLOW = """url => new Promise(resolve => {
  const source = new EventSource(url);
  source.addEventListener("complete", ({data}) => { source.close(); resolve(data); });
  source.onerror = () => { if (source.readyState === EventSource.CLOSED) resolve(null); };
})"""

SUBMIT = """([url, type]) => new Promise(resolve => {
  const frame = document.createElement("iframe");
  frame.name = "target";
  document.body.append(frame);
  const form = Object.assign(document.createElement("form"), {method: "POST", action: url, enctype: type});
  form.target = "target";
  const field = Object.assign(document.createElement("input"), {name: '{"by": "form', value: '"}'});
  form.append(field);
  document.body.append(form);
  frame.onload = () => resolve(true);
  form.submit();
})"""


class _Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>elsewhere</title>")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def elsewhere() -> Iterator[int]:
    """A site of somebody else's; returns its port."""
    site = ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    thread = threading.Thread(target=site.serve_forever)
    thread.start()
    yield site.server_port
    site.shutdown()
    thread.join(DEADLINE)
    site.server_close()


class Victim:
    """A server, and what its agent was asked."""

    def __init__(self, serve: Serve, **expose: Any) -> None:
        self.asked: list[Any] = []
        self.live: Live = serve(
            self._handle,
            expose={"streaming": ["sse", "websocket"], "protocols": ["a2a"], **expose},
            streaming={"async_runs": True},
        )
        self.run = self.live.post("/runs", {"by": "owner"}).json()
        self.live.eventually(lambda: self.asked == ["owner"])

    async def _handle(self, payload: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(payload.get("by"))
        return {"secret": 42}

    @property
    def by_others(self) -> list[Any]:
        return [by for by in self.asked if by != "owner"]


async def attacks(page: Page, victim: Victim) -> dict[str, Any]:
    """Try everything that a page can do; return what it has read, by the attack."""
    url, ws = victim.live.url, victim.live.url.replace("http", "ws", 1)
    run_id = victim.run["run_id"]
    plain = {"method": "POST", "body": '{"by": "fetch"}', "headers": {"Content-Type": "text/plain"}}
    json_ = {"method": "POST", "body": '{"by": "json"}', "headers": {"Content-Type": "application/json"}}
    quiet = {"method": "POST", "body": '{"by": "no-cors"}', "mode": "no-cors"}
    beacon = """url => navigator.sendBeacon(url, new Blob(['{"by": "beacon"}']))"""
    part = {"kind": "data", "data": {"by": "a2a"}}
    sent = {"role": "user", "messageId": "m", "kind": "message", "parts": [part]}
    message = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": {"message": sent}})
    read = {
        "fetch": await page.evaluate(FETCH, [f"{url}/invoke", plain]),
        "json": await page.evaluate(FETCH, [f"{url}/invoke", json_]),
        "no-cors": await page.evaluate(FETCH, [f"{url}/invoke", quiet]),
        "a2a": await page.evaluate(FETCH, [f"{url}/a2a", {**plain, "body": message}]),
        "read": await page.evaluate(FETCH, [f"{url}/runs", {}]),
        "metrics": await page.evaluate(FETCH, [f"{url}/metrics", {}]),
        "ticket": await page.evaluate(FETCH, [f"{url}/runs/{run_id}/ticket", {"method": "POST"}]),
        "socket": await page.evaluate(SOCKET, f"{ws}/invoke/ws"),
        "follow": await page.evaluate(FOLLOW, f"{url}{victim.run['events_url']}"),
    }
    await page.evaluate(beacon, f"{url}/invoke")
    await page.evaluate(SUBMIT, [f"{url}/invoke", "text/plain"])
    return read


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"], ids=["cross-site", "same-site"])
async def test_a_page_of_another_origin_gets_nothing(
    page: Page, serve: Serve, elsewhere: int, name: str
) -> None:
    victim = Victim(serve)
    await page.goto(f"http://{name}:{elsewhere}/")
    read = await attacks(page, victim)
    for attack in ("fetch", "json", "a2a", "read", "metrics", "ticket"):
        assert read[attack][0] == "failed", (attack, read[attack])
    assert read["no-cors"][:2] == ["opaque", 0]
    assert (read["socket"], read["follow"]) == (None, None)
    refused = victim.live.service.observability.meter.problems
    # The beacon and the form too; of what is sent as JSON the browser asks first, and then does not send it.
    victim.live.eventually(lambda: refused["403"] >= 10)
    assert victim.by_others == []
    assert len(victim.live.get("/runs").json()["runs"]) == 1
    await page.goto(f"http://{name}:{elsewhere}/")
    await page.goto(victim.live.url)  # a link to the playground leads there
    await page.locator("ask-form, form, textarea").first.wait_for()


async def test_the_same_attacks_work_where_all_are_let_in(page: Page, serve: Serve, elsewhere: int) -> None:
    victim = Victim(serve, **ANYBODY)
    await page.goto(f"http://localhost:{elsewhere}/")
    read = await attacks(page, victim)
    for attack in ("fetch", "json", "a2a", "read", "metrics"):
        assert read[attack][:2] == ["cors", 200], (attack, read[attack])
    assert '"secret":42' in read["socket"]
    assert '"secret":42' in read["follow"]
    for by in ("fetch", "json", "no-cors", "socket", "a2a", "beacon", "form"):
        victim.live.eventually(lambda by=by: by in [str(it).partition("=")[0] for it in victim.asked])


async def test_a_listed_origin_may_call_and_another_may_not(page: Page, serve: Serve, elsewhere: int) -> None:
    victim = Victim(serve, cors={"origins": [f"http://localhost:{elsewhere}"]})
    await page.goto(f"http://localhost:{elsewhere}/")
    read = await attacks(page, victim)
    assert read["json"][:2] == ["cors", 200]
    assert '"secret":42' in read["socket"]
    assert '"secret":42' in read["follow"]
    before = len(victim.asked)
    await page.goto(f"http://127.0.0.1:{elsewhere}/")
    assert (await page.evaluate(SOCKET, victim.live.url.replace("http", "ws", 1) + "/invoke/ws")) is None
    assert len(victim.asked) == before


# -- DNS rebinding ---------------------------------------------------------------------------------


@pytest.fixture
async def rebound(anyio_backend: str) -> AsyncIterator[Browser]:
    """A browser for which a name of somebody else's has this machine's address."""
    async with async_playwright() as playwright:
        rules = f"--host-resolver-rules=MAP {EVIL} 127.0.0.1"
        running = await playwright.chromium.launch(executable_path=chromium(), args=[*QUIET, rules])
        yield running
        await running.close()


@pytest.mark.parametrize("let_in", [False, True])
async def test_dns_rebinding(rebound: Browser, serve: Serve, let_in: bool) -> None:
    """The page's own name leads to the server: for the browser it is the same origin."""
    victim = Victim(serve, **(ANYBODY if let_in else {}))
    page = await rebound.new_page()
    page.set_default_timeout(DEADLINE * 1000)
    here = f"{EVIL}:{victim.live.port}"
    await page.goto(f"http://{here}/health")
    body = {"method": "POST", "body": '{"by": "rebound"}'}
    executed = await page.evaluate(FETCH, ["/invoke", body])
    listed = await page.evaluate(FETCH, ["/runs", {}])
    read = await page.evaluate(SOCKET, f"ws://{here}/invoke/ws")
    if let_in:
        assert (executed[1], listed[1]) == (200, 200)
        assert '"secret":42' in read
    else:
        assert (executed[1], listed[1], read) == (421, 421, None)
        assert "expose.allowed_hosts" in executed[2]
        assert victim.run["run_id"] not in listed[2]
        assert victim.by_others == []
