"""The consent card."""

from __future__ import annotations

from pathlib import Path

import pytest

from peer.admission import Prospect
from peer.machine import Machine
from peer.needs import Needs
from peer.nvidia import Card
from swarm.cli.card import Activity, Agreement, costs, terms, text
from swarm.invite import Invite
from swarm.proto import coordinator_pb2 as pb
from swarm.runspec import RunSpec, loads
from tests.unit.test_runspec import spec_text

INVITE = Invite("192.0.2.1", 7700, "a-run", "ab" * 16, "secret")
NEEDS = Needs(10**6, 20 * 10**6, 60 * 10**6, 10**9, 10**9, 1e9, False)


def spec(**run: str) -> RunSpec:
    return loads(spec_text(run={"name": "a-run", **run}))


def prospect(*cards: Card) -> Prospect:
    return Prospect(pb.Run(), spec(), NEEDS, Machine(4, 1, 1, "2.13.0", cards=cards), 0.0)


def test_it_says_what_who_and_under_which_licence() -> None:
    shown = text(
        terms(spec(title="Law", description="in German", maintainer="Ada <a@x.org>", license="MIT"), INVITE), 200
    )
    for words in ("Law – in German", "Ada <a@x.org>", "192.0.2.1:7700", "preset:tiny-llama", "MIT", "no file of yours"):
        assert words in shown
    assert "secret" not in shown


def test_it_says_what_it_costs() -> None:
    shown = text(costs(prospect(Card("a", 1, 1, 350.0)), Activity(3, 60.0), "pc"), 200)
    for words in ("'pc'", "60 MB, of it 20 MB", "6 MB up", "60 rounds an hour", "0.35 kWh"):
        assert words in shown
    alone = text(costs(prospect(), Activity(0, 0.0), "pc"), 200)
    assert "not known here" in alone
    assert "none while nobody else is there; with one other about" in alone


def test_it_keeps_to_the_terminal() -> None:
    lines = text(terms(spec(description="many words " * 30), INVITE), 60).splitlines()
    assert max(map(len, lines)) <= 60
    assert lines[1].startswith("           words"), lines


def test_the_pace_is_that_of_the_last_rounds() -> None:
    status = pb.Status(
        rounds=[pb.Round(round=n, finished_at=1000.0 + 30 * n) for n in (3, 2, 1)],
        members=[pb.Member(live=True), pb.Member(live=False)],
    )
    assert Activity.of(status) == Activity(1, 30.0)
    assert Activity.of(pb.Status()) == Activity(0, 0.0)


@pytest.mark.parametrize("change", [{"license": "MIT"}, {"maintainer": "Eve"}, {"description": "weapons"}])
def test_an_agreement_ends_when_the_terms_change(change: dict[str, str], tmp_path: Path) -> None:
    agreement = Agreement(tmp_path / "peer" / "consent.json")
    assert not agreement.known()
    agreement.keep(terms(spec(), INVITE))
    assert agreement.holds(terms(spec(), INVITE))
    assert not agreement.holds(terms(spec(**change), INVITE))
    assert agreement.known()


def test_a_damaged_agreement_is_none(tmp_path: Path) -> None:
    (tmp_path / "consent.json").write_text("{")
    assert not Agreement(tmp_path / "consent.json").holds(terms(spec(), INVITE))
