"""A real headless Chromium, one for all tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The installed browser; tests that need it are skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium): the report was not looked at in one")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(_QUIET))
        yield browser
        browser.close()


class Opened:
    """A page of the report in the browser, and what it complained of."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def overflow(self) -> list[str]:
        """Elements that stand out of the window at its right, those that scroll by themselves left out."""
        outside: list[str] = self.page.evaluate(
            """[...document.querySelectorAll("body *")]
            .filter(element => element.getBoundingClientRect().right > innerWidth + 1)
            .filter(element => !element.closest(".scroll, nav, .skip"))
            .map(element => `${element.tagName} ${element.textContent.slice(0, 60)}`)"""
        )
        return outside

    def through(self) -> None:
        """Scroll from top to end, so that everything is drawn."""
        self.page.evaluate(
            """async () => {
            for (let y = 0; y < document.documentElement.scrollHeight; y += 600) {
                scrollTo(0, y);
                await new Promise(requestAnimationFrame);
                await new Promise(requestAnimationFrame);
            }
            scrollTo(0, 0);
        }"""
        )


def opened(browser: Browser, path: Path, width: int = 1400, theme: str = "light") -> Opened:
    """The report at a width and under a theme of the system."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)  # type: ignore[arg-type]
    context.set_default_timeout(5000)
    held = Opened(context.new_page())
    held.page.goto(path.as_uri())
    return held
