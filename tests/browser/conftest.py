"""A real Chromium before a real server. Where none is installed these tests are skipped and say so.

``page`` is an empty page of Playwright's asynchronous client; what a test wants kept to look at, it saves
into ``artefacts``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright

from ..servers.live import DEADLINE, Live, Serve, Store, module, serve, store

__all__ = ["DEADLINE", "Live", "Serve", "Store", "artefacts", "browser", "module", "page", "serve", "store"]

# Without these a browser asks the network for updates and lists, which no test may wait for.
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def artefacts() -> Path:
    """The folder of the screenshots: ``build/browser``, or what ``DOCKRION_ARTEFACTS`` names."""
    folder = Path(os.environ.get("DOCKRION_ARTEFACTS", "build/browser"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def chromium() -> str:
    """Return where Chromium is; skip the test where there is none."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    if executable is None:
        pytest.skip("needs a browser: apt-get install chromium")
    return executable


@pytest.fixture(scope="session")
async def browser(anyio_backend: str) -> AsyncIterator[Browser]:
    executable = chromium()
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=executable, args=QUIET)
        yield running
        await running.close()


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """An empty page in a profile of its own; an error that the page does not catch fails the test."""
    context = await browser.new_context()
    context.set_default_timeout(DEADLINE * 1000)
    page = await context.new_page()
    uncaught: list[str] = []
    page.on("pageerror", lambda error: uncaught.append(str(error)))
    yield page
    await context.close()
    assert uncaught == []
