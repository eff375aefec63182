"""A browser's own EventSource follows a run, loses its connection and stops at the end, all by itself."""

from __future__ import annotations

import asyncio
from typing import Any

from playwright.async_api import Page, Response

from ..servers import Proxy
from .conftest import Serve, Store


async def talk(payload: dict[str, Any], context: Any) -> dict[str, Any]:
    for number in range(payload.get("tokens", 5)):
        await context.emit_token(f"t{number}")
        await asyncio.sleep(0.05)
    return {"said": 5}


FOLLOW = """url => new Promise(resolve => {
  const seen = [];
  const source = new EventSource(url);
  for (const type of ["started", "token", "complete"]) {
    source.addEventListener(type, event => {
      seen.push([type, event.lastEventId, JSON.parse(event.data).sequence]);
    });
  }
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) resolve(seen);
  });
})"""
"""Follow until the browser itself gives up; nothing is closed here."""


def answers(page: Page) -> list[int]:
    """Return a list that grows by the status of each answer with events."""
    statuses: list[int] = []

    def note(response: Response) -> None:
        if response.url.endswith("/events"):
            statuses.append(response.status)

    page.on("response", note)
    return statuses


def follows(seen: list[list[Any]], tokens: int) -> None:
    assert [kind for kind, _, _ in seen] == ["started", *["token"] * tokens, "complete"]
    assert [int(cursor.split(".")[0]) for _, cursor, _ in seen] == list(range(1, tokens + 3))
    assert [sequence for _, _, sequence in seen] == list(range(1, tokens + 3))


async def test_an_event_source_follows_a_run_and_stops_behind_its_end(
    page: Page, serve: Serve, store: Store
) -> None:
    live = serve(talk, streaming={"async_runs": True, **store.streaming()})
    run = live.post("/runs").json()
    await page.goto(f"{live.url}/health")
    statuses = answers(page)
    follows(await page.evaluate(FOLLOW, run["events_url"]), 5)
    assert statuses == [200, 204]


async def test_an_event_source_comes_back_from_cuts_and_sees_each_event_once(
    page: Page, serve: Serve
) -> None:
    """The browser waits three seconds before it comes back, and the run goes on meanwhile."""
    live = serve(talk, streaming={"async_runs": True}, expose={"cors": {"origins": ["*"]}})
    run = live.post("/runs", {"tokens": 160}).json()
    await page.goto(f"{live.url}/health")
    statuses = answers(page)
    cuts = [1111, 5432, 2345]  # bytes; a frame has about 170
    with Proxy(live.port) as proxy:
        proxy.cut_after(iter(cuts))
        seen = await page.evaluate(FOLLOW, f"http://127.0.0.1:{proxy.port}{run['events_url']}")
        assert proxy.lost == len(cuts)
    follows(seen, 160)
    assert statuses == [200] * (len(cuts) + 1) + [204]


async def test_with_a_ticket_where_there_are_keys(page: Page, serve: Serve) -> None:
    env, headers = {"DOCKRION_API_KEY": "alice:key-of-alice"}, {"X-API-Key": "key-of-alice"}
    live = serve(talk, streaming={"async_runs": True}, env=env, auth={"mode": "api_key"})
    run_id = live.post("/runs", headers=headers).json()["run_id"]
    address = live.post(f"/runs/{run_id}/ticket", headers=headers).json()["events_url"]
    await page.goto(f"{live.url}/health")
    follows(await page.evaluate(FOLLOW, address), 5)
