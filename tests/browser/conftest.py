"""A real Chromium, and a run for it to look at."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.page_run import NAMES, PageRun, page_run, settled

_QUIET = ("gpu", "quic", "background-networking", "component-update", "sync")
_ARGUMENTS = ["--headless", "--no-sandbox", "--no-first-run", *(f"--disable-{what}" for what in _QUIET)]
SECONDS = 10.0  # for anything on the page to appear


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's; playwright's own would be a download. It ends with these tests: an event loop runs until then, and with
    one nobody else's `asyncio.run` works.
    """
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("Chromium is not installed (Debian: chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS, timeout=30_000)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageRun]:
    """With some rounds behind it; tests add to it."""
    with page_run(tmp_path_factory.mktemp("run") / "coordinator") as made:
        made.join(*NAMES[:3])
        made.make_rounds(4)
        made.evaluate()
        settled(made, 3)
        yield made


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A tab of its own, in which an error fails the test."""
    yield from tab(chromium)


def tab(chromium: Browser, **look: object) -> Iterator[Page]:
    """`look` as playwright's contexts have it: viewport, color_scheme, …"""
    context = chromium.new_context(**look)  # type: ignore[arg-type]
    context.set_default_timeout(SECONDS * 1000)
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    context.close()
    assert errors == []


def shown(page: Page, run: PageRun, more: str = "") -> Page:
    """The run's page, once it is drawn."""
    page.goto(f"{run.url}/{more}", timeout=SECONDS * 1000)
    page.wait_for_selector("#chart-loss svg")
    return page


@pytest.fixture
def own_folder(tmp_path: Path) -> Path:
    return tmp_path / "coordinator"
