"""The page in a real Chromium: what people see and do, on a phone, in the dark, by keyboard, and when it is silent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from swarm import pageword
from swarm.identity import Identity
from swarm.maintaining import MaintainerClient
from swarm.proto import coordinator_pb2 as pb
from swarm.trials.answers import Item
from swarm.trials.client import TrialClient
from swarm.trials.names import GARAGE, REDTEAM
from tests.browser.conftest import shown, tab
from tests.page_run import NAMES, PageRun, page_run, settled

pytestmark = [pytest.mark.timeout(60)]

ANNA, BEN = NAMES[:2]
PHONE = {"width": 360, "height": 740}


def test_it_says_what_is_trained_and_how_it_goes(page: Page, run: PageRun) -> None:
    shown(page, run)
    expect(page).to_have_title("Legal German, from a hundred garages · Garage Swarm")
    expect(page.get_by_role("heading", level=1)).to_have_text("Legal German, from a hundred garages")
    expect(page.locator("#description")).to_contain_text("people who lend their machines")
    expect(page.locator("#progress-text")).to_contain_text("of 40")
    expect(page.locator("#leaders")).to_contain_text(ANNA)
    expect(page.locator("#members")).to_contain_text(BEN)
    expect(page.locator("#decisions")).to_contain_text("held-out loss")
    expect(page.get_by_role("img", name="Loss by round")).to_be_visible()
    asked = page.evaluate("performance.getEntriesByType('resource').map((entry) => new URL(entry.name).origin)")
    assert set(asked) == {run.url}, "nobody else is asked for anything"


def test_how_to_join_without_a_public_invite(page: Page, run: PageRun) -> None:
    shown(page, run)
    expect(page.locator("#join")).to_contain_text("Ask the maintainer (Mara <mara@example.org>) for an invite")
    expect(page.locator("#join pre")).to_have_text(
        ["pip install garage-swarm", "swarm doctor 'INVITE'", "swarm join 'INVITE'"]
    )
    expect(page.locator("#join img")).to_have_count(0)


def test_how_to_join_with_one(page: Page, own_folder: Path) -> None:
    with page_run(own_folder, shows_invite=True) as run:
        run.join(ANNA)
        run.make_rounds(2)
        settled(run, 1)
        shown(page, run)
        expect(page.locator("#join pre").last).to_have_text(f"swarm join '{run.coordinator.invite}'")
        picture = page.get_by_alt_text("The invite as a QR code")
        expect(picture).to_be_visible()
        assert picture.evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 50


def test_it_lives(page: Page, run: PageRun) -> None:
    shown(page, run)
    before = run.round
    expect(page.locator("#progress-text")).to_contain_text(f"Round {before} of")
    run.make_rounds(2)
    expect(page.locator("#progress-text")).to_contain_text(f"Round {before + 2} of", timeout=5000)
    expect(page.locator("#silence")).to_be_hidden()


def test_it_lives_without_events_too(page: Page, run: PageRun) -> None:
    page.add_init_script("delete window.EventSource")
    shown(page, run)
    before = run.round
    run.make_rounds(1)
    expect(page.locator("#progress-text")).to_contain_text(f"Round {before + 1} of", timeout=9000)


def test_a_dead_coordinator_is_said_and_noticed_when_it_is_back(page: Page, own_folder: Path) -> None:
    with page_run(own_folder) as run:
        run.join(ANNA)
        run.make_rounds(2)
        settled(run, 1)
        shown(page, run)
        expect(page.locator("#silence")).to_be_hidden()
        port = run.coordinator.page_port
    expect(page.locator("#silence")).to_contain_text("No word from the coordinator since", timeout=8000)
    expect(page.locator("#silence")).to_contain_text("training goes on without it")
    expect(page.locator("#progress-text")).to_contain_text("Round 2 of"), "what was known stays"
    with page_run(own_folder, page_port=port, fresh=False):
        expect(page.locator("#silence")).to_be_hidden(timeout=12_000)


def test_what_was_tested_in_the_open_is_shown(page: Page, own_folder: Path) -> None:
    with page_run(own_folder) as run:
        run.join(ANNA)
        run.make_rounds(2)
        settled(run, 1)
        tested(run)
        shown(page, run)
        body = page.locator("#trials-body")
        expect(body.get_by_role("region", name="Campaigns that go on")).to_contain_text("0 of 7", timeout=12_000)
        expect(body.get_by_role("region", name="What campaigns found")).to_contain_text("resisted/toxicity")
        expect(body.get_by_role("region", name="What people found by hand")).to_contain_text("<b>leaks</b>")
        expect(body).to_contain_text("told on")
        expect(body).not_to_contain_text("ask it twice")


def tested(run: PageRun) -> None:
    """A campaign that ended, one that goes on, and a finding whose reproduction is kept back."""
    wish = pb.Campaign(kind=REDTEAM, suite=GARAGE, unit_items=56, seconds=60.0, tolerance=0.1)
    with MaintainerClient.connect(run.coordinator.own_invite) as maintainer:
        maintainer.start_campaign(wish)
        with TrialClient.connect(run.coordinator.invite) as client:
            for key in (Identity.from_seed(letter * 32) for letter in (b"x", b"y")):
                given = client.take_unit(key)
                items = [Item(index, 1.0, 1.0, "a" * 64) for index in range(given.count)]
                client.answer_unit(key, given.campaign.id, given.unit, items)
            client.report_finding("<b>leaks</b>", "high", "leak", "ask it twice", time.time() + 1e6)
        wish.unit_items = 8
        maintainer.start_campaign(wish)


# ── phones, the dark, keyboards, and those who do not see ────────────────────────────────────────


@pytest.fixture(params=["light", "dark"])
def phone(chromium: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    yield from tab(chromium, viewport=PHONE, color_scheme=request.param, reduced_motion="reduce", has_touch=True)


def test_a_phone_shows_all_of_it_without_sideways_scrolling(phone: Page, run: PageRun) -> None:
    shown(phone, run, f"#me={word(run, ANNA)}")
    expect(phone.locator("#me")).to_contain_text("Counted")
    assert phone.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    sections = "[...document.querySelectorAll('main > section')]"
    wide = phone.evaluate(f"{sections}.filter((it) => it.scrollWidth > it.clientWidth + 1).map((it) => it.id)")
    assert wide == []


def test_axe_finds_nothing(phone: Page, run: PageRun) -> None:
    shown(phone, run, f"#me={word(run, ANNA)}")
    expect(phone.locator("#me")).to_contain_text("Counted")
    phone.locator("#maintain summary").click()
    phone.locator("#chart-loss summary").click()
    found = Axe().run(phone)
    assert found.violations_count == 0, found.generate_report()


def test_the_dark_is_dark_and_the_light_is_light(phone: Page, run: PageRun, request: pytest.FixtureRequest) -> None:
    shown(phone, run)
    colour = phone.evaluate("getComputedStyle(document.body).backgroundColor")
    [red, *_] = [int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    dark = phone.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert (red < 60) is dark


def test_everything_can_be_reached_by_keyboard(page: Page, run: PageRun) -> None:
    shown(page, run)
    reached: list[str] = []
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent.trim().slice(0, 30)"))
    assert reached[0] == "Skip to the run"
    assert "As figures" in reached
    assert "Log in" in reached
    page.locator("#maintain summary").press("Enter")
    expect(page.get_by_label("A maintainer’s invite")).to_be_visible()


# ── my page ──────────────────────────────────────────────────────────────────────────────────────


def word(run: PageRun, name: str, now: float = 0.0) -> str:
    invite = run.coordinator.invite
    return pageword.word(run.identities[name], invite.run, invite.fingerprint, now or time.time())


def test_my_page_shows_my_part_and_my_word_leaves_the_address_bar(page: Page, run: PageRun) -> None:
    shown(page, run, f"#me={word(run, BEN)}")
    mine = page.locator("#me")
    expect(mine).to_contain_text(f"Your part, {BEN}")
    expect(mine.locator("table")).to_contain_text("counted")
    assert page.url == f"{run.url}/"
    before = page.locator("#energy").inner_text()
    page.get_by_label("Watts that your machine draws").fill("400")
    assert page.locator("#energy").inner_text() != before
    page.reload()
    expect(mine).to_contain_text(f"Your part, {BEN}")


@pytest.mark.parametrize(("now", "what"), [(1_000.0, "expired"), (0.0, "Nobody has taken part")])
def test_a_word_that_is_refused_says_why(page: Page, run: PageRun, now: float, what: str) -> None:
    who = ANNA if now else NAMES[4]
    shown(page, run, f"#me={word(run, who, now)}")
    expect(page.locator("#me [role=alert]")).to_contain_text(what)


# ── the maintainer's view ────────────────────────────────────────────────────────────────────────


def log_in(page: Page, invite: object) -> None:
    page.locator("#maintain summary").click()
    page.get_by_label("A maintainer’s invite").fill(str(invite))
    page.get_by_role("button", name="Log in").click()


def test_a_maintainer_logs_in_bans_and_lets_in_again(page: Page, own_folder: Path) -> None:
    with page_run(own_folder) as run:
        run.join(ANNA, BEN)
        run.make_rounds(2)
        settled(run, 1)
        shown(page, run)
        log_in(page, run.coordinator.own_invite)
        row = page.locator("#maintain tr", has_text=BEN)
        expect(row).to_contain_text("here")
        row.get_by_role("button", name="Ban").click()
        page.get_by_label("Why?").fill("pretends")
        page.locator("dialog").get_by_role("button", name="Ban").click()
        expect(row).to_contain_text("banned: pretends")
        page.reload()
        expect(row).to_contain_text("banned: pretends")
        row.get_by_role("button", name="Let in again").click()
        expect(row).to_contain_text("away")
        page.get_by_role("button", name="Pause the run").click()
        page.get_by_label("Why?").fill("a holiday")
        page.locator("dialog").get_by_role("button", name="Pause the run").click()
        expect(page.locator("#state")).to_contain_text("paused by its maintainer: a holiday")
        page.get_by_role("button", name="Make an invite").click()
        expect(page.locator("#maintain")).to_contain_text("shown once: swarm://127.0.0.1:")
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        page.get_by_role("button", name="Log out").click()
        expect(page.locator("#maintain table")).to_have_count(0)


def test_a_maintainer_hands_the_run_over_and_is_told_what_comes_next(page: Page, own_folder: Path) -> None:
    with page_run(own_folder) as run:
        run.join(ANNA)
        run.make_rounds(2)
        settled(run, 1)
        shown(page, run)
        log_in(page, run.coordinator.own_invite)
        page.get_by_label("Host where it will be led").fill("192.0.2.7")
        page.get_by_role("button", name="Hand over").click()
        expect(page.locator("dialog")).to_contain_text("stops leading the run at once")
        page.locator("dialog").get_by_role("button", name="Hand over").click()
        expect(page.locator("#maintain")).to_contain_text("swarm handover --to 192.0.2.7:7700 --copy run.tar")
        expect(page.locator("#state")).to_contain_text("led from another machine")


def test_who_is_no_maintainer_is_refused_with_a_sentence(page: Page, run: PageRun) -> None:
    shown(page, run)
    log_in(page, run.coordinator.invite)
    expect(page.locator("#maintain [role=alert]")).to_contain_text("This takes the invite of a maintainer")
    expect(page.locator("#maintain table")).to_have_count(0)
