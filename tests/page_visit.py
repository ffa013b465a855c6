"""A page in a real Chromium, driven by Playwright; without Chromium the tests are skipped."""

from __future__ import annotations

import io
import shutil

import matplotlib.image
import pytest
from playwright.sync_api import Error, Page, expect

from waiting import LIMIT_SECONDS, until

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
expect.set_options(timeout=1000 * LIMIT_SECONDS)


class Visit:
    """One page, and what it said and asked for since it was opened.

    Attributes:
        page: Playwright's page.
        said: Uncaught errors and error lines of the console, those of the content policy among them.
        asked: URLs that were requested.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.said: list[str] = []
        self.asked: list[str] = []
        page.set_default_timeout(1000 * LIMIT_SECONDS)
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("console", lambda line: self.said.append(line.text) if line.type == "error" else None)
        page.on("request", lambda request: self.asked.append(request.url))

    def run(self, expression):
        return self.page.evaluate(expression)

    def until(self, expression):
        """Wait until an expression of the page is true; its policy forbids `wait_for_function`, an eval."""
        return until(
            lambda: self.run(expression),
            ignore=(Error,),
            says=lambda: f"{expression}; {self.said}; {self.page.inner_text('body')}",
        )

    def text(self, name):
        return self.page.text_content(f"#{name}")

    def choose(self, name, value):
        self.page.select_option(f"#{name}", value)

    def pixels(self):
        return matplotlib.image.imread(io.BytesIO(self.page.screenshot()))
