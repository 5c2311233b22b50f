"""A Chromium in which pages are opened; what it reports of them fails the test."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile
from spelling import make_beeps

# A microphone that may be used without a question, and plays a file over and over.
MICROPHONE = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
PLAYED = "--use-file-for-fake-audio-capture="
OURS = re.compile(r"(file|data|blob|about):|https?://(127\.0\.0\.1|localhost)(:\d+)?(/|$)")


@pytest.fixture(scope="session")
def browser(tmp_path_factory) -> Iterator[Any]:
    """Debian's Chromium without a window, one for all tests; its microphone beeps."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed (Debian: apt-get install chromium)")
    beeps = tmp_path_factory.mktemp("microphone") / "beeps.wav"
    soundfile.write(beeps, make_beeps(4, 48000), 48000)
    arguments = [*MICROPHONE, f"{PLAYED}{beeps}", "--autoplay-policy=no-user-gesture-required"]
    arguments += ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program, args=arguments)
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser) -> Iterator[Callable[..., Any]]:
    """``open_page(address_or_file, **options of the context)`` gives a page of playwright's.

    It reaches files and this machine alone. When the test ends, there must be no error of any page: neither
    in the console nor thrown, no request that failed or was refused. ``page.expected`` takes patterns of
    messages that the test itself causes.
    """
    contexts, pages, faults = [], [], []

    def open_one(address: str | Path, **options: Any) -> Any:
        context = browser.new_context(**options)
        contexts.append(context)

        def refuse(route: Any) -> None:
            faults.append(f"request to elsewhere: {route.request.url}")
            route.abort()

        def note_failure(request: Any) -> None:
            if request.failure != "net::ERR_ABORTED":  # by the page itself, or because it is closed
                faults.append(f"{request.url}: {request.failure}")

        context.route(lambda url: not OURS.match(url), refuse)
        page = context.new_page()
        page.expected = []
        pages.append(page)
        page.on("console", lambda said: said.type in ("error", "warning") and faults.append(said.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("requestfailed", note_failure)
        page.goto(address.absolute().as_uri() if isinstance(address, Path) else address)
        return page

    yield open_one
    expected = [pattern for page in pages for pattern in page.expected]
    for context in contexts:
        context.close()
    unexpected = [fault for fault in faults if not any(re.search(pattern, fault) for pattern in expected)]
    assert not unexpected, unexpected
