"""Invites at work, over real processes: made, handed on as a file, revoked; and one identity on two machines."""

from __future__ import annotations

import json
import shutil
import stat
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from swarm.client import CoordinatorClient
from swarm.errors import (
    BannedError,
    InviteExpiredError,
    InviteRevokedError,
    InviteUnknownError,
    NotFoundError,
    RefusedError,
)
from swarm.identity import Identity, member_id
from swarm.invite import Invite
from swarm.maintaining import MaintainerClient
from swarm.replay import replay
from tests.harness import Program
from tests.swarm_run import SwarmRun, after_round, swarm_run

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]

_BEAT_SECONDS = 15.0  # a heartbeat is sent every 5 s; the worker's end takes a moment


@pytest.fixture
def run(tmp_path: Path) -> Iterator[SwarmRun]:
    with swarm_run(tmp_path, rounds=100_000) as found:
        found.launch()
        yield found


def said(run: SwarmRun, *arguments: str) -> str:
    command = run.command(*arguments, *at(run))
    assert command.finish(20) == 0, command.stderr
    return "\n".join(json.dumps(event) if event["event"] != "line" else event["text"] for event in command.events)


def at(run: SwarmRun) -> list[str]:
    return ["--data-dir", str(run.folder / "coordinator")]


def joined(run: SwarmRun, name: str, invite: str) -> Program:
    options = ["--data-dir", str(run.folder / name), "--name", name, "--threads", "1", "--device", "cpu"]
    return run.command("join", invite, *options, "--yes", "--json")


def listed(run: SwarmRun) -> dict[str, dict[str, Any]]:
    return {item["note"]: item for item in json.loads(said(run, "invite", "list", "--json"))}


@pytest.mark.long
def test_a_revoked_invite_stops_its_members_within_a_minute_and_nobody_else(run: SwarmRun) -> None:
    file = run.folder / "run.swarm-invite"
    made = said(run, "invite", "new", "--note", "for Ben", "--output", str(file))
    assert made == file.read_text().strip() == str(replace(Invite.parse(run.invite), token=Invite.of(made).token))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    anna, ben = joined(run, "anna", run.invite), joined(run, "ben", str(file))
    ben.wait_for(after_round(0), 60)
    before = listed(run)
    assert {note: item["members"] for note, item in before.items()} == {"the run's first": 1, "for Ben": 1}
    said(run, "invite", "revoke", before["for Ben"]["id"])
    began = time.monotonic()
    assert ben.finish(_BEAT_SECONDS) == InviteRevokedError.exit_code
    assert time.monotonic() - began < _BEAT_SECONDS
    assert f"revoked this invite ({before['for Ben']['id']})" in ben.stderr
    assert "ask" in ben.stderr.lower()
    last = anna.named("round")["round"]
    anna.wait_for(after_round(last + 2), 30)
    assert joined(run, "ben", str(file)).finish(20) == InviteRevokedError.exit_code
    assert listed(run)["for Ben"]["revoked_at"]
    anna.interrupt()
    assert anna.finish(15) == 0, anna.stderr


@pytest.mark.long  # that the others drop it is in test_passes.py
def test_a_banned_member_ends_within_seconds_and_hears_why_and_nobody_else_does(run: SwarmRun) -> None:
    anna, ben = run.join("anna"), run.join("ben")
    ben.wait_for(after_round(0), 60)
    assert "is banned" in said(run, "ban", "ben", "--why", "sends nonsense")
    assert ben.finish(_BEAT_SECONDS) == BannedError.exit_code
    assert "banned this key" in ben.stderr
    assert "sends nonsense" in ben.stderr
    last = anna.named("round")["round"]
    anna.wait_for(after_round(last + 2), 30)
    assert run.join("ben").finish(20) == BannedError.exit_code
    said(run, "unban", "ben")
    again = run.join("ben")
    again.wait_for(lambda event: event.get("event") == "round", 60)
    for peer in (anna, again):
        peer.interrupt()
        assert peer.finish(15) == 0, peer.stderr


def test_every_call_is_held_against_the_invites_and_only_maintainers_maintain(run: SwarmRun) -> None:
    first = Invite.parse(run.invite)
    with MaintainerClient.connect(first) as volunteer, pytest.raises(RefusedError, match="takes the invite of a main"):
        volunteer.make_invite("volunteer", 1, "")
    with pytest.raises(InviteUnknownError, match="never made"):
        CoordinatorClient.connect(replace(first, token="guessed"))
    other = Invite.of(said(run, "invite", "new", "--role", "maintainer", "--days", "0"))
    with MaintainerClient.connect(other) as maintainer:
        short = maintainer.make_invite("validator", 0.5 / 86_400, "half a second")
        assert short.invite.role == "validator"
        with pytest.raises(NotFoundError, match="no invite 'x'"):
            maintainer.revoke_invite("x")
    with CoordinatorClient.connect(replace(first, token=short.token)) as guest:
        time.sleep(0.6)
        with pytest.raises(InviteExpiredError, match=f"{short.invite.id}.* expired"):
            guest.status()


@pytest.mark.long
def test_the_first_invite_and_a_revocation_outlive_the_coordinator(run: SwarmRun) -> None:
    first = run.invite
    other = Invite.of(said(run, "invite", "new", "--note", "for Ben"))
    said(run, "invite", "revoke", listed(run)["for Ben"]["id"])
    coordinator = run.programs[0]
    coordinator.interrupt()
    assert coordinator.finish(20) == 0
    run.launch()
    assert run.invite == first == said(run, "invite", "show")
    with run.client() as client:
        assert client.status().run == "test"
    with CoordinatorClient.connect(other) as client, pytest.raises(InviteRevokedError):
        client.status()


@pytest.mark.long
def test_an_identity_on_two_machines_has_two_seats_and_counts_nothing_twice(run: SwarmRun) -> None:
    """The whole folder of a running peer is copied, with its key and its notes; each trains as a member of its own."""
    original = joined(run, "original", run.invite)
    original.wait_for(after_round(2), 60)
    key = Identity.load_or_create(run.folder / "home").public_key
    ignore = shutil.ignore_patterns("control", "peer.lock", "worker*", "*.sqlite-*")
    shutil.copytree(run.folder / "original", run.folder / "copy", ignore=ignore)
    copy = joined(run, "copy", run.invite)
    copy.wait_for(after_round(4), 60)
    last = original.named("round")["round"]
    for peer in (original, copy):
        peer.wait_for(lambda event: after_round(last + 4)(event) and event["members"] == 2, 60)
    with run.client() as client:
        members = {member.member_id: member.name for member in client.status().members if member.live}
        layout = run.layout(client.get_run())
    assert set(members) == {member_id(key), member_id(key, 1)}
    assert set(members.values()) == {"original", "copy"}
    for peer in (original, copy):
        peer.interrupt()
        assert peer.finish(15) == 0, peer.stderr
    with run.client() as client:
        replay(client.ledger(), layout).check()


@pytest.mark.long
def test_a_peer_that_was_killed_is_itself_again_at_once(run: SwarmRun) -> None:
    first = joined(run, "one", run.invite)
    first.wait_for(after_round(1), 60)
    first.kill()
    again = joined(run, "one", run.invite)
    again.wait_for(after_round(2), 60)
    with run.client() as client:
        assert [member.member_id for member in client.status().members] == [
            member_id(Identity.load_or_create(run.folder / "home").public_key)
        ]
    again.interrupt()
    assert again.finish(15) == 0, again.stderr
