"""A headless chromium for tests of pages: one for all tests, a window of its own for each page."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ALLOWED = ("file", "data", "blob")  # besides http to this machine


@pytest.fixture(scope="session")
def chromium() -> Iterator:
    """The browser, driven by playwright; the test is skipped where one of the two is missing."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install playwright"
    )
    if CHROMIUM is None:
        pytest.skip("there is no chromium (Debian: apt-get install chromium)")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []  # chromium's sandbox refuses root
    arguments.append("--autoplay-policy=no-user-gesture-required")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium) -> Iterator[Callable]:
    """``open_page(path or address, **options of the window)`` gives a page of playwright.

    Nothing but files and this machine can be reached. What the pages said on the console as an error, what
    they threw and what they could not load is collected; the test fails at its end if there is any, but for
    what it took out of ``page.faults``.
    """
    windows, pages = [], []

    def open_one(target: Path | str, **options):
        window = chromium.new_context(**options)
        windows.append(window)
        page = window.new_page()
        page.set_default_timeout(20_000)
        page.faults = []
        page.on("console", lambda said: said.type == "error" and page.faults.append(said.text))
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        page.on("requestfailed", lambda request: page.faults.append(f"{request.url}: {request.failure}"))
        page.route("**/*", lambda route: _let_through(route, page.faults))
        pages.append(page)
        page.goto(target.absolute().as_uri() if isinstance(target, Path) else target)
        return page

    yield open_one
    faults = [fault for page in pages for fault in page.faults]
    for window in windows:
        window.close()
    assert faults == []


def _let_through(route, faults: list[str]) -> None:
    address = urlsplit(route.request.url)
    if address.scheme in ALLOWED or address.hostname in ("127.0.0.1", "localhost"):
        route.continue_()
    else:
        faults.append(f"{route.request.url} is on the network")
        route.abort()
