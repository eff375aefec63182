"""The README's pictures of the playground, taken of the examples: ``python -m tests.browser.screenshots``."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from examples.demo import serving
from playwright.async_api import Browser, Page, async_playwright, expect
from ruamel.yaml import YAML

from .conftest import QUIET

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
QUESTION = "What happens when an executor is gone?"
ORDER = {
    "order_id": "A-1042",
    "amount": "1250",
    "card_country": "NL",
    "ship_country": "US",
    "orders_today": "5",
}


async def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=QUIET)
        await answer(browser)
        await order(browser)
        await plug(browser)
        await browser.close()


async def answer(browser: Browser) -> None:
    """A question that is answered, with the graph and the timeline beside it."""
    async with opened(browser, "ask_docs", height=830) as page:
        await page.get_by_role("textbox", name="Message").fill(QUESTION)
        await page.keyboard.press("Enter")
        await expect(page.locator(".pill")).to_have_text("Completed")
        await page.screenshot(path=IMAGES / "playground.png")


async def order(browser: Browser) -> None:
    """A form, and a graph with a subgraph, in the middle of what it did."""
    async with opened(browser, "custom_events", height=860, color_scheme="dark") as page:
        for name, value in ORDER.items():
            await page.get_by_label(name).fill(value)
        await page.get_by_role("button", name="Run", exact=True).click()
        await expect(page.locator(".pill")).to_have_text("Completed")
        types = await page.locator(".events .type").all_inner_texts()
        await page.get_by_label("Sequence").fill(str(types.index("checkpoint") + 1))
        await page.get_by_label("Sequence").blur()
        await page.screenshot(path=IMAGES / "playground-scrub.png")


async def plug(browser: Browser) -> None:
    """A run that has survived a broken connection, on a narrow screen."""
    async with opened(browser, "redis_cluster_of_servers", width=420, height=640) as page:
        await page.get_by_label("steps").fill("60")
        await page.get_by_role("button", name="Run", exact=True).click()
        await expect(page.locator(".where")).to_have_text(re.compile(r"^\d\d / "))
        await page.get_by_role("button", name="Pull the plug").click()
        await expect(page.locator(".resumes")).to_contain_text("0 lost, 0 duplicated")
        await expect(page.locator(".where")).to_have_text(re.compile(r"^[3-5]\d / "))
        await page.locator("transport-bar").evaluate("bar => bar.scrollIntoView()")
        await page.screenshot(path=IMAGES / "playground-resume.png")


@asynccontextmanager
async def opened(
    browser: Browser, example: str, *, width: int = 1280, height: int = 800, **options: Any
) -> AsyncIterator[Page]:
    """Serve an example with runs in memory and all events, and open its playground."""
    folder = ROOT / "examples" / example
    yaml = YAML()
    dockfile = yaml.load(folder / "Dockfile.yaml")
    dockfile["streaming"] = {"async_runs": True}
    dockfile.pop("secrets", None)
    os.environ["PYTHONPATH"] = str(folder)
    with tempfile.TemporaryDirectory() as directory:
        yaml.dump(dockfile, Path(directory) / "Dockfile.yaml")
        with serving(Path(directory)) as url:
            page = await browser.new_page(
                viewport={"width": width, "height": height}, reduced_motion="reduce", **options
            )
            await page.goto(url)
            await page.locator("#page").wait_for()
            yield page
            await page.close()


if __name__ == "__main__":
    asyncio.run(main())
