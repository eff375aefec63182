"""A real Chromium for the scripts of a page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import ConsoleMessage, Page, sync_playwright

from ..browser.conftest import QUIET, chromium


class Browser:
    """Runs scripts, one after the other, and keeps what the last of them has logged."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._lines: list[str] = []
        page.on("console", self._note)

    def run(self, script: str, url: str) -> None:
        """Load ``url``, and run a script there, which may await, to its end. Raises what it throws."""
        self._page.goto(url)
        self._lines.clear()
        self._page.evaluate(f"async () => {{{script}}}")

    def logged(self) -> str:
        """Return the lines that `console.log` has printed until now."""
        self._page.wait_for_timeout(1)  # lets in what the browser has to tell
        return "".join(f"{line}\n" for line in self._lines)

    def _note(self, message: ConsoleMessage) -> None:
        if message.type == "log":  # and not what the browser itself finds worth saying
            self._lines.append(message.text)


@contextmanager
def browser() -> Iterator[Browser]:
    """Start Chromium with an empty page; skip the test where there is none."""
    executable = chromium()
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=executable, args=QUIET)
        try:
            yield Browser(running.new_page())
        finally:
            running.close()
