"""A browser's own WebSocket executes, cancels and follows."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any

from playwright.async_api import Page

from .conftest import Live, Serve, Store


async def talk(payload: dict[str, Any], context: Any) -> dict[str, Any]:
    for number in range(payload.get("tokens", 2)):
        await context.emit_token(f"t{number}")
        await asyncio.sleep(payload.get("pause", 0))
    return {"said": payload.get("tokens", 2)}


TALK = """([messages, cancelling]) => new Promise((resolve, reject) => {
  const frames = [];
  const socket = new WebSocket(`ws://${location.host}/invoke/ws`);
  socket.onopen = () => messages.forEach(message => socket.send(JSON.stringify(message)));
  socket.onerror = () => reject(new Error("the socket failed"));
  let left = messages.length;
  socket.onmessage = ({data}) => {
    const frame = JSON.parse(data);
    frames.push(frame);
    if (frame.type === "started" && frame.request_id === cancelling) {
      socket.send(JSON.stringify({cancel: cancelling}));
    }
    if (["complete", "error", "cancelled", "problem"].includes(frame.type) && --left === 0) {
      socket.onclose = () => resolve(frames);
      socket.close();
    }
  };
})"""
"""Send messages, cancel one of them once it has begun; what was received until all have ended."""

FOLLOW = """path => new Promise(resolve => {
  const frames = [];
  const socket = new WebSocket(`ws://${location.host}${path}`);
  socket.onmessage = ({data}) => frames.push(JSON.parse(data));
  socket.onclose = ({code, wasClean}) => resolve({frames, code, wasClean});
})"""


async def opened(page: Page, serve: Serve, agent: Any = talk, **streaming: Any) -> Live:
    live = serve(agent, expose={"streaming": "websocket"}, streaming=streaming)
    await page.goto(f"{live.url}/health")
    return live


async def test_a_socket_executes_and_cancels(page: Page, serve: Serve) -> None:
    live = await opened(page, serve)
    messages = [
        {"payload": {"tokens": 3}, "request_id": "short"},
        {"payload": {"tokens": 100_000, "pause": 0.01}, "request_id": "long"},
        {"payload": "none"},
    ]
    frames = await page.evaluate(TALK, [messages, "long"])
    [problem] = [frame for frame in frames if frame["type"] == "problem"]
    assert (problem["problem"]["code"], problem["problem"]["status"]) == ("NOT_AN_OBJECT", 400)
    short, long = (
        [frame for frame in frames if frame.get("request_id") == name] for name in ("short", "long")
    )
    assert [frame["type"] for frame in short] == ["started", *["token"] * 3, "complete"]
    assert short[-1]["output"] == {"said": 3}
    assert (long[0]["type"], long[-1]["type"], long[-1]["reason"]) == ("started", "cancelled", "client")
    for events in (short, long):
        assert [frame["sequence"] for frame in events] == list(range(1, len(events) + 1))
    live.until(lambda: live.service.active == 0)


async def test_a_page_that_goes_stops_its_agents(page: Page, serve: Serve) -> None:
    live = await opened(page, serve)
    begin = """() => new Promise(resolve => {
      const socket = new WebSocket(`ws://${location.host}/invoke/ws`);
      socket.onopen = () => socket.send(JSON.stringify({payload: {tokens: 100000, pause: 0.01}}));
      socket.onmessage = resolve;
    })"""
    await page.evaluate(begin)
    assert live.service.active == 1
    await page.goto("about:blank")
    await asyncio.to_thread(live.until, lambda: live.service.active == 0)


async def test_a_run_is_followed_from_any_sequence_on(page: Page, serve: Serve, store: Store) -> None:
    go_on = Future[None]()

    async def agent(payload: dict[str, Any], context: Any) -> dict[str, Any]:
        await talk({"tokens": 15}, context)
        await asyncio.wrap_future(go_on)
        return await talk({"tokens": 15}, context)

    live = await opened(page, serve, agent, async_runs=True, **store.streaming())
    run_id = live.post("/runs").json()["run_id"]
    live.eventually(lambda: live.get(f"/runs/{run_id}").json()["last_sequence"] == 16)
    first = await page.evaluate(FOLLOW, f"/runs/{run_id}/ws?timeout=0.2")
    assert first["code"] == 1001
    assert len(first["frames"]) == 16
    go_on.set_result(None)
    rest = await page.evaluate(FOLLOW, f"/runs/{run_id}/ws?from_sequence=17")
    assert (rest["code"], rest["wasClean"]) == (1000, True)
    frames = [*first["frames"], *rest["frames"]]
    assert [frame["sequence"] for frame in frames] == list(range(1, 33))
    assert frames[-1]["type"] == "complete"
