"""The page of the OpenAPI document, in a browser that reaches nothing but the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.async_api import Page, Route

from .conftest import Serve


def echo(payload: dict[str, Any]) -> dict[str, Any]:
    return payload


async def test_the_page_renders_without_a_network(page: Page, serve: Serve, artefacts: Path) -> None:
    live = serve(echo, streaming={"async_runs": True}, io_schema={"input": {"required": ["text"]}})
    denied: list[str] = []

    async def gate(route: Route) -> None:
        if route.request.url.startswith((live.url, "data:")):
            await route.continue_()
        else:
            denied.append(route.request.url)
            await route.abort()

    policy: list[str] = []
    page.on("console", lambda message: policy.append(message.text) if "Policy" in message.text else None)
    await page.route("**/*", gate)
    await page.goto(f"{live.url}/docs")
    for operation in ("invoke", "stream", "create_run", "follow_run", "cancel_run", "health"):
        await page.locator(f'[id$="-{operation}"]').first.wait_for()
    await page.locator('[id$="-create_run"]').click()
    await page.get_by_text("Names the run: the same key and payload again find it").wait_for()
    await page.locator(".models").wait_for()
    assert await page.locator(".errors-wrapper").count() == 0
    await page.screenshot(path=artefacts / "docs.png", full_page=True)
    assert denied == []
    assert policy == [], "the page needs nothing that its own policy forbids"
