"""The page itself: themes, narrow screens, the keyboard, keys, and what it says when things go wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from .agents import SCHEMA, Gate, branching, counter, run_json, talker, visit
from .conftest import DEADLINE, Serve

RUNS = {"async_runs": True}
KEYS = {"env": {"DOCKRION_API_KEY": "alice:key-of-alice,bob:key-of-bob"}, "auth": {"mode": "api_key"}}


# -- looks --------------------------------------------------------------------------------------


async def ground(page: Page) -> int:
    """Return how bright the page's ground is, from 0 to 255."""
    colour: list[int] = await page.evaluate(
        "() => { const c = document.createElement('canvas').getContext('2d');"
        "c.fillStyle = getComputedStyle(document.body).backgroundColor; c.fillRect(0, 0, 1, 1);"
        "return [...c.getImageData(0, 0, 1, 1).data].slice(0, 3); }"
    )
    return sum(colour) // 3


@pytest.mark.parametrize("system", ["light", "dark"])
async def test_dark_and_light(page: Page, serve: Serve, artefacts: Path, system: Any) -> None:
    await page.emulate_media(color_scheme=system)
    gate = Gate()
    gate.open()
    await visit(page, serve(branching(gate), framework="langgraph", streaming=RUNS))
    dark = system == "dark"
    assert (await ground(page) < 60) == dark
    await run_json(page, '{"seen": []}')
    await expect(page.locator(".pill")).to_have_text("Completed")
    await page.screenshot(path=artefacts / f"{system}.png", full_page=True)
    await page.get_by_role("button", name=f"Use the {'light' if dark else 'dark'} theme").click()
    assert (await ground(page) < 60) != dark


CONTRAST = """() => {
  const pen = Object.assign(document.createElement("canvas"), {width: 1, height: 1}).getContext("2d");
  const luminance = colour => {
    pen.clearRect(0, 0, 1, 1); pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1);
    const parts = [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3).map(value => value / 255)
      .map(value => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const ground = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (!/, 0\\)$|transparent/.test(colour)) return colour;
    }
  };
  const faint = [];
  for (const element of document.querySelectorAll("body *:not(svg *, option, script)")) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    const apart = element.closest(".unseen, .chart, [aria-disabled=true]");
    if (!own || apart || !element.checkVisibility()) continue;
    const [a, b] = [getComputedStyle(element).color, ground(element)].map(luminance);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) faint.push([element.textContent.trim().slice(0, 40), ratio.toFixed(2)]);
  }
  return faint;
}"""


@pytest.mark.parametrize("system", ["light", "dark"])
async def test_every_text_stands_out(page: Page, serve: Serve, system: Any) -> None:
    await page.emulate_media(color_scheme=system)
    await visit(page, serve(counter, streaming=RUNS, io_schema=SCHEMA))
    await page.get_by_role("textbox", name="Message").fill("hello")
    await page.keyboard.press("Enter")
    await expect(page.locator(".pill")).to_have_text("Completed")
    assert await page.evaluate(CONTRAST) == []


async def test_four_hundred_pixels_are_enough(page: Page, serve: Serve, artefacts: Path) -> None:
    await page.set_viewport_size({"width": 400, "height": 800})
    gate = Gate()
    live = serve(branching(gate), framework="langgraph", streaming=RUNS, io_schema=SCHEMA)
    await visit(page, live)

    async def overflow() -> int:
        width: int = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
        return width

    for way in ("Chat", "Form", "JSON"):
        await page.get_by_role("radio", name=way).check()
        assert await overflow() <= 0, way
    await run_json(page, '{"query": "something long enough", "seen": []}')
    await expect(page.get_by_role("button", name="Pull the plug")).to_be_visible()
    assert await overflow() <= 0
    gate.open()
    await expect(page.locator(".pill")).to_have_text("Completed")
    await expect(page.locator(".pill")).to_be_in_viewport()
    assert await overflow() <= 0
    await page.screenshot(path=artefacts / "narrow.png", full_page=True)


async def test_the_policy_is_kept_and_nobody_else_is_asked(page: Page, serve: Serve) -> None:
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("request", lambda request: asked.append(request.url))
    gate = Gate()
    gate.open()
    live = serve(branching(gate), framework="langgraph", streaming=RUNS)
    await visit(page, live)
    await run_json(page, '{"seen": []}')
    await expect(page.locator(".pill")).to_have_text("Completed")
    await page.get_by_label("Sequence").fill("3")
    assert complaints == []
    assert all(url.startswith(live.url) for url in asked)


# -- the keyboard -------------------------------------------------------------------------------


async def focused(page: Page) -> str:
    """Return the name of what has the focus; it has to be seen to have it."""
    shown = await page.evaluate(
        "() => { const at = document.activeElement; const marked = at.matches('.choices input, .chip input')"
        " ? at.nextElementSibling : at; return getComputedStyle(marked).outlineStyle; }"
    )
    assert shown != "none", await page.evaluate("document.activeElement.outerHTML.slice(0, 300)")
    name: str = await page.evaluate(
        "() => { const at = document.activeElement; return at.getAttribute('aria-label')"
        " ?? at.labels?.[0]?.textContent ?? at.textContent; }"
    )
    return name.strip()


async def test_a_run_by_the_keyboard_alone(page: Page, serve: Serve) -> None:
    gate = Gate()
    await visit(page, serve(talker(gate), streaming=RUNS, io_schema=SCHEMA))
    passed = []
    while "Message" not in passed:
        await page.keyboard.press("Tab")
        passed.append(await focused(page))
        assert len(passed) < 12, passed
    assert passed[0] == "Skip to the answer"
    assert passed[-2:] == ["Chat", "Message"]
    await page.keyboard.type("hello")
    await page.keyboard.press("Enter")
    await expect(page.locator(".words")).to_have_text("one two three ")
    while await focused(page) != "Pull the plug":
        await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.locator(".resumes")).to_contain_text("0 lost, 0 duplicated")
    gate.open()
    await expect(page.locator(".pill")).to_have_text("Completed")
    while await focused(page) != "Sequence":
        await page.keyboard.press("Tab")
    await page.keyboard.press("Home")
    await expect(page.locator(".where")).to_have_text("1 / 8")
    await page.keyboard.press("ArrowRight")
    await expect(page.locator(".words")).to_have_text("one ")
    while await focused(page) != "Chat":
        await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("ArrowRight")
    await expect(page.get_by_label("query")).to_be_visible()


async def test_every_control_has_a_name(page: Page, serve: Serve) -> None:
    await visit(page, serve(counter, streaming=RUNS, io_schema=SCHEMA))
    await page.get_by_role("radio", name="Form").check()
    await page.get_by_role("button", name="Add tags").click()
    nameless = await page.evaluate(
        "() => [...document.querySelectorAll('button, input, textarea, select')]"
        ".filter(at => at.checkVisibility() && !at.getAttribute('aria-label'))"
        ".filter(at => !at.labels?.length && !at.textContent.trim()).map(at => at.outerHTML)"
    )
    assert nameless == []


# -- keys ---------------------------------------------------------------------------------------


async def test_with_keys_it_asks_and_forgets(page: Page, serve: Serve, artefacts: Path) -> None:
    gate = Gate()
    live = serve(talker(gate), streaming=RUNS, **KEYS)
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    await page.goto(live.url)
    key = page.get_by_label("API key")
    await expect(key).to_be_focused()
    await expect(page.get_by_role("dialog")).to_contain_text("X-API-Key")
    await key.fill("wrong")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog")).to_contain_text("That key was refused.")
    await page.screenshot(path=artefacts / "key.png")
    await key.fill("key-of-alice")
    await page.keyboard.press("Enter")
    await page.locator("#page").wait_for()
    await run_json(page, "{}")
    await expect(page.locator(".words")).to_have_text("one two three ")
    gate.open()
    await expect(page.locator(".pill")).to_have_text("Completed")
    kept = await page.evaluate(
        "[JSON.stringify(localStorage), JSON.stringify(sessionStorage), document.cookie]"
    )
    assert kept == ["{}", "{}", ""]
    assert not any("key-of" in url for url in urls)
    assert "key-of" not in await page.content()
    await page.reload()
    await expect(key).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("alert")).to_contain_text("UNAUTHORIZED")
    await page.get_by_role("button", name="Try again").click()
    await key.fill("key-of-bob")
    await page.keyboard.press("Enter")
    await expect(page.locator("runs-list .empty")).to_contain_text("None yet")  # alice's are hers


async def test_another_header(page: Page, serve: Serve) -> None:
    auth = {"mode": "api_key", "api_keys": {"header": "X-Token", "allow_bearer": False}}
    await page.goto(serve(counter, env=KEYS["env"], auth=auth).url)
    await expect(page.get_by_role("dialog")).to_contain_text("X-Token")
    await page.get_by_label("API key").fill("key-of-bob")
    await page.keyboard.press("Enter")
    await page.locator("#page").wait_for()
    await page.get_by_role("button", name="Key", exact=True).click()
    await page.get_by_label("API key").fill("key-of-alice")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog")).to_be_hidden()
    await run_json(page, '{"tokens": 1}')
    await expect(page.locator(".pill")).to_have_text("Completed")


# -- when things go wrong -----------------------------------------------------------------------


async def test_an_agent_that_fails(page: Page, serve: Serve, artefacts: Path) -> None:
    async def broken(payload: dict[str, Any], context: Any) -> None:
        await context.emit_token("so far")
        raise ValueError("the third column is missing")

    live = serve(broken, streaming=RUNS)
    await visit(page, live)
    await run_json(page, "{}")
    notice = page.locator(".notice")
    await expect(notice).to_contain_text("ValueError; the server's log has the details")
    await expect(notice).not_to_contain_text("the third column")
    run_id = live.get("/runs").json()["runs"][0]["run_id"]
    await expect(notice).to_contain_text(f"AGENT_ERROR · {run_id}")
    await expect(page.locator(".words").first).to_have_text("so far")
    await expect(page.locator("#said")).to_have_text("Failed, 3 events")
    await page.screenshot(path=artefacts / "error.png")


async def test_a_failure_without_a_stream_has_its_id(page: Page, serve: Serve) -> None:
    def broken(payload: dict[str, Any]) -> None:
        raise ValueError("the third column is missing")

    await visit(page, serve(broken, expose={"streaming": "none"}))
    await run_json(page, "{}")
    facts = page.locator(".notice .facts")
    await expect(facts).to_contain_text("AGENT_ERROR · ")
    assert len((await facts.inner_text()).split(" · ")[1]) == 36


async def test_a_busy_server(page: Page, serve: Serve) -> None:
    gate = Gate()
    live = serve(talker(gate), expose={"max_concurrent": 1})
    await visit(page, live)
    with live.stream() as events:
        next(events)
        await run_json(page, "{}")
        await expect(page.locator(".notice")).to_contain_text("OVERLOADED")
        await expect(page.locator(".notice")).to_contain_text("Try again in 1 s.")
    gate.open()
    live.until(lambda: live.service.active == 0)
    await page.get_by_role("button", name="Run", exact=True).click()
    await expect(page.locator(".pill")).to_have_text("Completed")


async def test_a_server_that_is_away(page: Page, serve: Serve, artefacts: Path) -> None:
    live = serve(counter)
    await visit(page, live)
    live.stop()
    await expect(page.locator("#server")).to_have_text("away", timeout=DEADLINE * 1000)
    await run_json(page, "{}")
    await expect(page.locator(".notice")).to_contain_text("SERVER_AWAY")
    await page.screenshot(path=artefacts / "away.png")


async def test_a_server_that_goes_in_mid_run_is_waited_for(page: Page, serve: Serve) -> None:
    gate = Gate()
    live = serve(talker(gate), streaming=RUNS)
    await visit(page, live)
    await run_json(page, "{}")
    await expect(page.locator(".words")).to_have_text("one two three ")
    await page.context.set_offline(True)
    await page.route("**/events", lambda route: route.abort())
    await page.get_by_role("button", name="Pull the plug").click()
    await expect(page.locator(".pill")).to_have_text("Server away, trying again")
    await page.unroute("**/events")
    await page.context.set_offline(False)
    gate.open()
    await expect(page.locator(".words")).to_have_text("one two three four five six")
    await expect(page.locator(".resumes")).to_contain_text("0 lost, 0 duplicated")


async def test_the_first_words_when_the_server_cannot_be_asked(page: Page, serve: Serve) -> None:
    live = serve(counter)
    await page.route("**/info", lambda route: route.abort())
    await page.goto(live.url)
    await expect(page.get_by_role("alert")).to_contain_text("The server does not answer")
    await page.unroute("**/info")
    await page.get_by_role("button", name="Try again").click()
    await page.locator("#page").wait_for()
    await expect(page.get_by_role("alert")).to_be_hidden()
