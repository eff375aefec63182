"""A browser's own EventSource follows a run."""

from __future__ import annotations

import asyncio
from typing import Any

from playwright.async_api import Page

from .conftest import Serve


async def talk(payload: dict[str, Any], context: Any) -> dict[str, Any]:
    for number in range(5):
        await context.emit_token(f"t{number}")
        await asyncio.sleep(0.05)
    return {"said": 5}


FOLLOW = """url => new Promise((resolve, reject) => {
  const seen = [];
  const source = new EventSource(url);
  for (const type of ["started", "token", "complete"]) {
    source.addEventListener(type, event => {
      seen.push([type, event.lastEventId, JSON.parse(event.data).sequence]);
      if (type === "complete") { source.close(); resolve(seen); }
    });
  }
})"""


async def test_an_event_source_follows_a_run(page: Page, serve: Serve) -> None:
    live = serve(talk, streaming={"async_runs": True})
    run = live.post("/runs").json()
    await page.goto(f"{live.url}/health")
    seen = await page.evaluate(FOLLOW, run["events_url"])
    assert [kind for kind, _, _ in seen] == ["started", *["token"] * 5, "complete"]
    assert [int(cursor) for _, cursor, _ in seen] == list(range(1, 8))
    assert [sequence for _, _, sequence in seen] == list(range(1, 8))


async def test_with_a_ticket_where_there_are_keys(page: Page, serve: Serve) -> None:
    env, headers = {"DOCKRION_API_KEY": "alice:key-of-alice"}, {"X-API-Key": "key-of-alice"}
    live = serve(talk, streaming={"async_runs": True}, env=env, auth={"mode": "api_key"})
    run_id = live.post("/runs", headers=headers).json()["run_id"]
    address = live.post(f"/runs/{run_id}/ticket", headers=headers).json()["events_url"]
    await page.goto(f"{live.url}/health")
    seen = await page.evaluate(FOLLOW, address)
    assert [sequence for _, _, sequence in seen] == list(range(1, 8))
