"""A hand-over is followed when the run's coordinator signed it and it is the latest; others are refused by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator import handover as notes_of
from coordinator.handover import Last
from swarm import notes
from swarm.errors import HandedOverError, HandoverError, UsageError
from swarm.handover import Handover, kept, later, signed, verified
from swarm.identity import ServerCertificate, server_certificate
from swarm.invite import Invite

SAID = Handover("run", "new.example.org", 7700, 5, 12, "d" * 64, 1000.0)
LAST = Last("run", 12, "d" * 64)
OLD, NEW = ("old.example.org", 7700), ("new.example.org", 7700)


@pytest.fixture
def key(tmp_path: Path) -> ServerCertificate:
    return server_certificate(tmp_path)


def test_what_the_coordinator_signed_is_read_as_it_was_said(key: ServerCertificate) -> None:
    assert verified(signed(SAID, key), "run", key.fingerprint) == SAID
    assert SAID.moved(Invite(*OLD, "run", key.fingerprint, "t")) == Invite(*NEW, "run", key.fingerprint, "t")


@pytest.mark.parametrize(
    "change", [{"host": "evil.example.org"}, {"number": 6}, {"port": 1}, {"run": "other"}, {"round": 13}, {"more": 1}]
)
def test_a_changed_one_is_refused(key: ServerCertificate, change: dict[str, object]) -> None:
    parts = json.loads(signed(SAID, key))
    parts["statement"] |= change
    with pytest.raises(HandoverError, match="of the run run is forged"):
        verified(json.dumps(parts), "run", key.fingerprint)


def test_another_key_signs_for_nobody_else(key: ServerCertificate, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    forger = server_certificate(tmp_path / "other")
    forged = json.loads(signed(SAID, forger))
    with pytest.raises(HandoverError):
        verified(json.dumps(forged), "run", key.fingerprint)
    forged["certificate"] = json.loads(signed(SAID, key))["certificate"]
    with pytest.raises(HandoverError, match="its signature is not the coordinator's"):
        verified(json.dumps(forged), "run", key.fingerprint)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"certificate": "", "statement": {}, "signature": ""}', "ä"])
def test_nonsense_is_refused(key: ServerCertificate, text: str) -> None:
    with pytest.raises(HandoverError):
        verified(text, "run", key.fingerprint)


def test_the_latest_counts() -> None:
    assert later(SAID, None)
    assert not later(SAID, SAID)
    assert later(replace(SAID, number=6), SAID)
    with pytest.raises(HandoverError, match="is older than the hand-over number 5"):
        later(replace(SAID, number=4), SAID)
    with pytest.raises(HandoverError, match="disagrees"):
        later(replace(SAID, host="elsewhere"), SAID)


def test_a_folder_that_was_handed_over_leads_no_more(tmp_path: Path) -> None:
    notes_of.require_lead(tmp_path, "run", OLD)
    text = notes_of.close(tmp_path, LAST, NEW, 1000.0)
    assert notes_of.close(tmp_path, LAST, NEW, 2000.0) == text
    for at in (OLD, NEW):
        with pytest.raises(HandedOverError, match="is led at new"):
            notes_of.require_lead(tmp_path, "run", at)
    with pytest.raises(HandedOverError):
        notes_of.close(tmp_path, LAST, ("third", 1), 2000.0)


def test_a_copy_leads_where_its_members_look_for_it_and_nowhere_else(tmp_path: Path) -> None:
    notes_of.close(tmp_path, LAST, NEW, 1000.0)
    (tmp_path / notes_of.CLOSED).unlink()  # it stays on the other machine
    notes_of.require_lead(tmp_path, "run", NEW)
    with pytest.raises(UsageError, match="where its members look"):
        notes_of.require_lead(tmp_path, "run", OLD)


def test_who_takes_over_has_a_greater_number_than_all_before(tmp_path: Path) -> None:
    key = server_certificate(tmp_path)
    texts = [notes_of.close(tmp_path, LAST, NEW, 1000.0)]
    texts += [notes_of.take(tmp_path, LAST, OLD, now) for now in (10.0, 5000.0)]  # a clock may be behind
    assert [verified(text, "run", key.fingerprint).number for text in texts] == [1000, 1001, 5000]
    notes_of.require_lead(tmp_path, "run", OLD)


def test_a_kept_one_of_another_run_is_not_used(key: ServerCertificate, tmp_path: Path) -> None:
    notes.keep(tmp_path / "note", signed(SAID, key))
    invite = Invite(*OLD, "run", key.fingerprint, "t")
    assert verified(kept(tmp_path / "note", invite), "run", key.fingerprint) == SAID
    assert kept(tmp_path / "note", replace(invite, run="other")) == ""
    assert kept(tmp_path / "nothing", invite) == ""
