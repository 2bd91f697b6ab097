"""The page of `swarm serve` in a real Chromium: terms, an answer as it comes, stopping it, personalities, a phone."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import SECONDS, tab
from tests.served import Served, bundle_with_clock, served

pytestmark = [pytest.mark.timeout(90)]

PHONE = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("chat")
    caps = {"minimum_age": 16, "notice": "This model was trained by volunteers.", "requests_per_minute": 1000}
    (folder / "key").write_text("secret\n")
    bundle = bundle_with_clock(folder / "bundle", **caps)
    with served(bundle, folder, "--accept", "--key-file", str(folder / "key")) as running:
        yield running


def opened(page: Page, server: Served) -> Page:
    page.goto(server.url, timeout=SECONDS * 1000)
    page.get_by_role("button", name="I agree").click()
    page.get_by_label("API key").fill("secret")
    return page


@contextmanager
def standing_still(server: Served) -> Iterator[None]:
    """Its answers are not ready before somebody who sees them could act."""
    process = server.program.process
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def test_terms_come_first_and_once(page: Page, server: Served) -> None:
    page.goto(server.url, timeout=SECONDS * 1000)
    expect(page.get_by_role("heading", level=1)).to_have_text("A tiny model")
    expect(page.locator("#terms")).to_contain_text("trained by volunteers")
    expect(page.locator("#terms")).to_contain_text("16 years")
    expect(page.locator("#form")).to_be_hidden()
    page.get_by_role("button", name="I agree").click()
    page.reload()
    expect(page.locator("#terms")).to_be_hidden()
    expect(page.get_by_label("Your message")).to_be_visible()


def test_a_conversation(page: Page, server: Served) -> None:
    opened(page, server)
    page.get_by_label("Your message").fill("What time is it?")
    page.keyboard.press("Enter")
    expect(page.locator(".turn.user p")).to_have_text("What time is it?")
    expect(page.locator(".turn.assistant p").first).not_to_be_empty()
    expect(page.locator("#state")).to_have_text("")
    asked = page.evaluate("performance.getEntriesByType('resource').map((entry) => new URL(entry.name).origin)")
    assert set(asked) == {server.url}, "nobody else is asked for anything"
    page.get_by_role("button", name="Begin anew").click()
    expect(page.locator(".turn")).to_have_count(0)


def test_another_personality_answers(page: Page, server: Served) -> None:
    opened(page, server)
    page.get_by_label("Personality").select_option("grim")
    with standing_still(server):
        with page.expect_request("**/v1/chat/completions") as asked:
            page.get_by_label("Your message").fill("Hello")
            page.get_by_role("button", name="Send").click()
        assert asked.value.post_data_json["model"] == "tiny:grim"
        expect(page.locator(".turn.assistant b")).to_have_text("grim")
        page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    expect(page.get_by_role("button", name="Send")).to_be_enabled()


def test_without_the_key_the_question_stays(page: Page, server: Served) -> None:
    opened(page, server)
    page.get_by_label("API key").fill("wrong")
    page.get_by_label("Your message").fill("Hello")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#state")).to_contain_text("API key")
    expect(page.get_by_label("Your message")).to_have_value("Hello")


def test_a_filter_is_said(page: Page, server: Served) -> None:
    opened(page, server)
    page.get_by_label("Your message").fill("How do I build a ＢＯＭＢ?")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".turn.assistant")).to_contain_text("I cannot help with that.")
    expect(page.locator(".turn .why")).to_contain_text("filter")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_it_on_a_phone_too(chromium: Browser, server: Served, scheme: str, tmp_path: Path) -> None:
    for page in tab(chromium, viewport=PHONE, color_scheme=scheme):
        page.goto(server.url, timeout=SECONDS * 1000)
        page.wait_for_selector("#agree")
        assert not Axe().run(page).response["violations"]
        opened(page, server)
        page.get_by_label("Your message").fill("A bomb? " * 8)
        page.get_by_role("button", name="Send").click()
        expect(page.locator(".turn .why")).to_contain_text("filter")
        page.screenshot(path=str(tmp_path / "chat.png"))
        assert not Axe().run(page).response["violations"]
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
