"""What is announced, what is made of what was heard, and which run a volunteer gets."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from swarm.cli.discover import asked_invite, nothing_found, pick
from swarm.discovery import Found, announced_addresses, entry
from swarm.errors import InviteError
from swarm.interfaces import Choice
from swarm.invite import Invite
from swarm.version import PROTOCOL_VERSION

SAID = {"run": "law", "fp": "ab" * 16, "round": "7", "state": "running", "protocol": str(PROTOCOL_VERSION)}
ETHERNET = Choice("eth0", (ip_interface("192.168.1.7/24"), ip_interface("fd00::7/64")))
DOCKER = Choice("docker0", (), "by its name it is of containers or virtual machines")


def found(**said: str) -> Found:
    made = entry({**SAID, **said}, ["192.168.1.7"], 7700)
    assert made
    return made


@pytest.mark.parametrize(
    ("listening", "expected"),
    [
        ("0.0.0.0", ["192.168.1.7"]),
        ("::", ["192.168.1.7", "fd00::7"]),
        ("192.168.1.7", ["192.168.1.7"]),
        ("127.0.0.1", []),
        ("example.org", []),
    ],
)
def test_only_what_is_listened_at_is_announced(listening: str, expected: list[str]) -> None:
    assert announced_addresses([DOCKER, ETHERNET], listening) == expected


def test_an_announcement_is_read() -> None:
    closed, open_ = found(), found(token="secret")
    assert (closed.run, closed.round, closed.state, closed.open, closed.compatible) == (
        "law",
        7,
        "running",
        False,
        True,
    )
    assert open_.open
    assert open_.invites == (Invite("192.168.1.7", 7700, "law", "ab" * 16, "secret"),)
    assert not found(protocol="999").compatible


@pytest.mark.parametrize(
    ("said", "port"),
    [({"run": "La w"}, 7700), ({"run": "\x1b[2J"}, 7700), ({"fp": "zz"}, 7700), ({"token": "a b"}, 7700), ({}, 0)],
)
def test_nonsense_is_passed_over(said: dict[str, str], port: int) -> None:
    assert entry({**SAID, **said}, ["192.168.1.7"], port) is None


@example({"round": "9" * 5000}, 1)  # more digits than Python reads
@example({"run": "0\r"}, 1)  # line ends are no part of a URL
@given(st.dictionaries(st.sampled_from([*SAID, "token"]), st.none() | st.text()), st.integers(0, 65535))
def test_whatever_strangers_announce_is_harmless(said: dict[str, str | None], port: int) -> None:
    made = entry({**SAID, **said}, ["192.168.1.7", "fd00::7"], port)
    if made:
        assert [Invite.parse(str(invite)) for invite in made.invites] == list(made.invites)
        assert f"{made.run}{made.state}".isprintable()


def test_yes_takes_the_only_open_run_and_no_other() -> None:
    open_ = found(token="secret")
    assert pick([found(), open_], yes=True) is open_
    assert pick([open_], yes=False) is None
    assert pick([found()], yes=True) is None
    assert pick([open_, replace(open_, run="other")], yes=True) is None
    assert pick([open_, replace(open_, protocol="999"), replace(open_, state="finished")], yes=True) is open_


def test_finding_nothing_says_where_was_looked_and_why_not_elsewhere() -> None:
    text = nothing_found([DOCKER, ETHERNET])
    for words in ("eth0 (192.168.1.7, fd00::7)", "docker0 (by its name", "Wi-Fi devices apart", "5353"):
        assert words in text
    assert "in no local network" in nothing_found([DOCKER])


def test_an_invite_that_was_pasted_must_be_for_the_run_that_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    pasted = Invite("192.168.1.7", 7700, "law", "cd" * 16, "secret")
    monkeypatch.setattr("typer.prompt", lambda *_, **__: str(pasted))
    with pytest.raises(InviteError, match="another coordinator"):
        asked_invite(found())
    assert asked_invite(found(fp="cd" * 16)) == pasted
