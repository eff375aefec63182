"""Runs in the playground: listed, opened again, scrubbed through, cancelled, left, rejoined, cut off."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from playwright.async_api import Page, Request, expect

from .agents import Gate, counter, run_json, talker, visit
from .conftest import DEADLINE, Serve, Store

RUNS = {"async_runs": True}


def sequences(page: Page) -> Any:
    """Return the sequences of the events that the page has, as it shows them."""
    return page.locator(".events summary .number").all_inner_texts()


def sent(kind: str, sequence: int, **fields: Any) -> str:
    event = {"type": kind, **fields, "timestamp": f"2026-01-01T00:00:0{sequence}.5Z", "sequence": sequence}
    return f"event: {kind}\ndata: {json.dumps(event)}\nid: {sequence}\n\n"


async def test_the_plug_is_pulled_and_nothing_is_lost(
    page: Page, serve: Serve, store: Store, artefacts: Path
) -> None:
    live = serve(counter, streaming={**RUNS, **store.streaming()})
    asked: list[str | None] = []

    def note(request: Request) -> None:
        if request.url.endswith("/events"):
            asked.append(request.headers.get("last-event-id"))

    page.on("request", note)
    await visit(page, live)
    await run_json(page, '{"tokens": 200, "pause": 0.02}')
    await expect(page.locator(".words")).to_contain_text("10 ")
    await page.get_by_role("button", name="Pull the plug").click()
    await expect(page.locator(".pill")).to_have_text("Plug pulled, coming back")
    await expect(page.locator(".resumes")).to_contain_text("0 lost, 0 duplicated")
    await expect(page.locator(".pill")).to_have_text("Running")
    await page.screenshot(path=artefacts / "plug.png")
    await expect(page.locator(".pill")).to_have_text("Completed")
    await expect(page.locator(".resumes")).to_contain_text("0 lost, 0 duplicated")
    assert len(asked) == 2
    assert asked[0] is None
    assert int((asked[1] or "0").split(".")[0]) > 10  # it went on after what it had
    assert await page.locator(".words").inner_text() == "".join(f"{number} " for number in range(200))
    assert await sequences(page) == [str(number) for number in range(1, 203)]


async def test_what_a_broken_store_loses_is_counted(page: Page, serve: Serve) -> None:
    """The counts are real: a server that skips and repeats is seen through."""
    live = serve(counter, streaming=RUNS)
    started, one, six = (
        sent("started", 1, agent_name="a"),
        sent("token", 2, content="a"),
        sent("token", 6, content="e"),
    )
    bodies = [started + one, one + six + sent("complete", 7, output={}, latency_seconds=1.0)]
    await page.route(
        "**/events",
        lambda route: route.fulfill(body=bodies.pop(0), headers={"Content-Type": "text/event-stream"}),
    )
    await visit(page, live)
    await run_json(page, '{"tokens": 1}')
    await expect(page.locator(".resumes")).to_contain_text("3 lost, 1 duplicated")


async def test_an_earlier_run_is_opened_and_scrubbed_through(
    page: Page, serve: Serve, artefacts: Path
) -> None:
    live = serve(counter, streaming=RUNS)
    live.post("/runs", {"tokens": 30})
    await visit(page, live)
    await page.locator(".runs button").first.click()
    await expect(page.locator(".pill")).to_have_text("Completed")
    scrubber = page.get_by_label("Sequence")
    await expect(page.locator(".where")).to_have_text("32 / 32")
    await scrubber.fill("11")
    await expect(page.locator(".where")).to_have_text("11 / 32")
    await expect(page.locator(".words")).to_have_text("".join(f"{number} " for number in range(10)))
    await expect(scrubber).to_have_attribute("aria-valuetext", "event 11 of 32, token")
    assert await sequences(page) == [str(number) for number in range(1, 12)]
    await expect(page.locator(".output")).to_have_count(0)
    await page.screenshot(path=artefacts / "scrub.png")
    await scrubber.fill("31")
    await expect(page.locator(".words")).to_have_text("".join(f"{number} " for number in range(30)))
    await scrubber.focus()
    await page.keyboard.press("ArrowLeft")
    await expect(page.locator(".where")).to_have_text("30 / 32")
    await page.get_by_role("button", name="To the end").click()
    await expect(page.locator(".output")).to_have_count(1)
    await page.get_by_role("button", name="Replay").click()
    await expect(page.locator(".where")).to_have_text("32 / 32")
    await expect(page.get_by_role("button", name="Replay")).to_be_visible()


async def test_scrubbing_while_it_runs_and_back_to_the_newest(page: Page, serve: Serve) -> None:
    gate = Gate()
    await visit(page, serve(talker(gate), streaming=RUNS))
    await run_json(page, "{}")
    await expect(page.locator(".words")).to_have_text("one two three ")
    await page.get_by_label("Sequence").fill("2")
    await expect(page.locator(".words")).to_have_text("one ")
    gate.open()
    await expect(page.locator(".where")).to_have_text("2 / 8")
    await expect(page.locator(".words")).to_have_text("one ")  # the past stays what it was
    await page.get_by_role("button", name="To the end").click()
    await expect(page.locator(".words")).to_have_text("one two three four five six")


async def test_a_run_is_cancelled(page: Page, serve: Serve) -> None:
    live = serve(talker(Gate()), streaming=RUNS)
    await visit(page, live)
    await run_json(page, "{}")
    await expect(page.locator(".words")).to_have_text("one two three ")
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.locator(".pill")).to_have_text("Cancelled")
    await expect(page.locator(".notice")).to_contain_text("Reason: cancelled in the playground")
    await expect(page.locator(".runs .status")).to_have_text("cancelled")
    [run] = live.get("/runs").json()["runs"]
    assert run["status"] == "cancelled"


async def test_a_direct_stream_is_cancelled_by_leaving_it(page: Page, serve: Serve) -> None:
    live = serve(talker(Gate()))
    await visit(page, live)
    await run_json(page, "{}")
    await expect(page.locator(".words")).to_have_text("one two three ")
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.locator(".notice")).to_contain_text("LEFT")
    live.until(lambda: live.service.active == 0)


async def test_a_run_is_left_and_rejoined(page: Page, serve: Serve) -> None:
    gate = Gate()
    live = serve(talker(gate), streaming=RUNS)
    await visit(page, live)
    await run_json(page, "{}")
    await expect(page.locator(".words")).to_have_text("one two three ")
    await page.get_by_role("button", name="Leave").click()
    await expect(page.locator(".pill")).to_have_text("Left; the run goes on")
    live.eventually(lambda: live.get_info()["runs"]["subscribers"] == 0)
    gate.open()
    live.eventually(lambda: live.get("/runs").json()["runs"][0]["status"] == "completed")
    await expect(page.locator(".words")).to_have_text("one two three ")
    await page.get_by_role("button", name="Rejoin").click()
    await expect(page.locator(".words")).to_have_text("one two three four five six")
    await expect(page.locator(".resumes")).to_contain_text("0 lost, 0 duplicated")


async def test_a_page_that_is_loaded_anew_finds_its_run(page: Page, serve: Serve) -> None:
    gate = Gate()
    await visit(page, serve(talker(gate), streaming=RUNS))
    await run_json(page, "{}")
    await expect(page.locator(".words")).to_have_text("one two three ")
    await page.reload()
    await page.locator(".runs button").click()
    await expect(page.locator(".words")).to_have_text("one two three ")
    gate.open()
    await expect(page.locator(".pill")).to_have_text("Completed")


async def test_what_is_not_kept_is_told(page: Page, serve: Serve) -> None:
    live = serve(counter, streaming={**RUNS, "memory": {"max_events_per_run": 20}})
    live.post("/runs", {"tokens": 60, "pause": 0})
    live.eventually(lambda: live.get("/runs").json()["runs"][0]["status"] == "completed")
    await visit(page, live)
    await page.locator(".runs button").click()
    gone = live.get("/runs").json()["runs"][0]["first_sequence"] - 1
    assert gone > 0
    told = f"The first {gone} events are not kept any more."
    await expect(page.locator("events-view .empty")).to_have_text(told)
    await expect(page.locator(".where")).to_have_text("62 / 62")
    await expect(page.locator(".resumes")).to_have_text("")


async def test_more_runs_than_a_page(page: Page, serve: Serve) -> None:
    live = serve(counter, streaming=RUNS)
    for _ in range(15):
        live.post("/runs", {"tokens": 0})
    await visit(page, live)
    await expect(page.locator(".runs li")).to_have_count(12, timeout=DEADLINE * 1000)
    await page.get_by_role("button", name="More").click()
    await expect(page.locator(".runs li")).to_have_count(15)


async def test_what_is_said_after_a_restart_is_said_anew(page: Page, serve: Serve) -> None:
    body = (
        sent("started", 1, agent_name="a")
        + sent("step_started", 2, node_name="think")
        + sent("token", 3, content="half a sen", node_name="think")
        + sent("restarted", 4, attempt=2)
        + sent("step_started", 5, node_name="think")
        + sent("token", 6, content="a sentence", node_name="think")
        + sent("step", 7, node_name="think", duration_ms=1500)
        + sent("complete", 8, output={}, latency_seconds=7.0)
    )
    await page.route(
        "**/events", lambda route: route.fulfill(body=body, headers={"Content-Type": "text/event-stream"})
    )
    await visit(page, serve(counter, streaming=RUNS))
    await run_json(page, "{}")
    await expect(page.locator(".words")).to_have_text(["half a sen", "a sentence"])
    await expect(page.locator(".bar")).to_have_count(2)
    await expect(page.locator(".bar").first).to_have_class("bar cut")
    await expect(page.locator(".bar").last).to_have_class("bar done")


async def test_a_very_large_output_is_shown_in_part(page: Page, serve: Serve) -> None:
    await visit(page, serve(lambda payload: {"text": "x" * 3_000_000}, streaming=RUNS))
    await run_json(page, "{}")
    await expect(page.locator(".pill")).to_have_text("Completed")
    assert "more characters" in (await page.locator(".output pre").inner_text())[-40:]
