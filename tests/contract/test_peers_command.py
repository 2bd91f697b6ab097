"""`swarm peers`, `ban`, `unban`, `trust`, `invite new` and `audit` against a real coordinator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from coordinator import trust
from coordinator.server import Coordinator
from swarm import lent
from swarm.client import CoordinatorClient
from swarm.errors import BannedError, InviteFullError, NotFoundError, RefusedError, UsageError
from swarm.identity import Identity
from swarm.invite import Invite
from swarm.passes import Authority
from swarm.proto import coordinator_pb2 as pb
from tests.contract.conftest import Run

NOW = 1.8e9
ANNA, BEN = (Identity.from_seed(letter * 32) for letter in (b"a", b"b"))


@pytest.fixture
def where(coordinator: Coordinator, tmp_path: Path) -> list[str]:
    """Two members have joined."""
    with CoordinatorClient.connect(coordinator.invite) as client:
        client.join(ANNA, "anna")
        client.join(BEN, "ben")
    return ["--data-dir", str(tmp_path / "run")]


def test_members_are_shown_with_what_they_did(swarm: Run, where: list[str]) -> None:
    code, out, err = swarm("peers", *where)
    assert (code, err) == (0, "")
    assert out.splitlines()[0].split()[:3] == ["Member", "Since", "Rounds"]
    assert f"anna ({ANNA.member_id[:8]})" in out
    found = {item["name"]: item for item in json.loads(swarm("peers", *where, "--json")[1])}
    assert set(found) == {"anna", "ben"}
    assert (found["anna"]["member_id"], found["anna"]["role"]) == (ANNA.member_id, "volunteer")
    assert found["anna"]["since"] > 1.7e9
    assert (found["anna"]["rounds"], found["anna"]["banned_at"]) == (0, 0)


def test_a_brief_status_leaves_the_members_out(where: list[str], coordinator: Coordinator) -> None:
    with CoordinatorClient.connect(coordinator.invite) as client:
        whole, brief = client.status(), client.status(brief=True)
    assert {member.name for member in whole.members} == {"anna", "ben"}
    assert not brief.members
    assert (brief.round, list(brief.decisions)) == (whole.round, list(whole.decisions))


def test_a_ban_is_shown_with_its_reason_until_it_is_lifted(
    swarm: Run, where: list[str], coordinator: Coordinator
) -> None:
    assert f"anna ({ANNA.member_id}) is banned" in swarm("ban", "anna", "--why", "sends nonsense.", *where)[1]
    assert "banned" in swarm("peers", *where)[1]
    found = {item["name"]: item for item in json.loads(swarm("peers", *where, "--json")[1])}
    assert (found["anna"]["banned_why"], found["anna"]["live"], found["ben"]["banned_why"]) == (
        "sends nonsense",
        False,
        "",
    )
    with CoordinatorClient.connect(coordinator.invite) as client:
        with pytest.raises(BannedError, match=r"sends nonsense\. Ask the run's maintainer"):
            client.join(ANNA, "anna")
        assert "may join again" in swarm("unban", ANNA.member_id[:5], *where)[1]
        client.join(ANNA, "anna")


def of(swarm: Run, where: list[str], name: str) -> dict[str, Any]:
    return next(item for item in json.loads(swarm("peers", *where, "--json")[1]) if item["name"] == name)


def test_what_checks_found_is_shown_to_the_maintainer_and_to_the_member(
    swarm: Run, where: list[str], coordinator: Coordinator
) -> None:
    engine = coordinator._lead._engine
    for _ in range(3):
        state, made = trust.checked(engine.state, ANNA.member_id, False, "its loss is higher on its own data", NOW)
        engine.store.write(made, NOW)
        engine.state = state
    assert of(swarm, where, "ben")["share"] == 1.0
    anna = of(swarm, where, "anna")
    assert (anna["share"], anna["trust"]["checks"], anna["trust"]["condemned"]) == (0.0, 3, 1)
    assert "weighs" in swarm("peers", *where)[1]
    with CoordinatorClient.connect(coordinator.invite) as client:
        seat = client.join(ANNA, "anna").member_id
        told = client.heartbeat(pb.HeartbeatRequest(member_id=seat))
        assert told.share == 0.0
        assert "its loss is higher on its own data" in told.probation
    assert "is trusted" in swarm("trust", "anna", "--why", "a friend", *where)[1]
    assert of(swarm, where, "anna")["share"] == 1.0
    assert of(swarm, where, "anna")["trust"]["why"] == "a friend"
    assert "no more" in swarm("trust", "anna", "--revoke", *where)[1]
    assert of(swarm, where, "anna")["share"] == 0.0


def test_an_invite_lets_in_and_weighs_what_its_maintainer_said(
    swarm: Run, where: list[str], coordinator: Coordinator
) -> None:
    made = json.loads(swarm("invite", "new", "--slots", 2, "--weight", 0.5, "--json", *where)[1])
    assert (made["slots"], made["weight"]) == (2, 0.5)
    with CoordinatorClient.connect(Invite.of(made["invite"])) as client:
        for name in ("carl", "dora"):
            client.join(Identity.from_seed(name[:1].encode() * 32), name)
        with pytest.raises(InviteFullError, match="is for 2 members at a time"):
            client.join(Identity.from_seed(b"e" * 32), "eve")
    assert [of(swarm, where, name)["share"] for name in ("anna", "carl", "dora")] == [1.0, 0.25, 0.25]
    assert "2 of 2, weight 0.5" in swarm("invite", "list", *where)[1]
    code, _, err = swarm("invite", "new", "--weight", 1e9, *where)
    assert (code, "cannot weigh" in err) == (UsageError.exit_code, True)


def test_a_lease_comes_with_the_coordinators_word(coordinator: Coordinator) -> None:
    with CoordinatorClient.connect(coordinator.invite) as client:
        client.join(ANNA, "anna")
        lease = client.take_lease(ANNA.member_id, 8)
        found = lent.opened(lease.lent, Authority.of(client.invite.run, client.certificate))
    assert found is not None
    assert (found.member, found.lease_id, found.range, found.share) == (
        ANNA.member_id,
        lease.lease_id,
        lease.range,
        1.0,
    )


def test_who_is_meant_must_be_clear_and_why_must_be_said(swarm: Run, where: list[str]) -> None:
    code, _, err = swarm("ban", "nobody", "--why", "lies", *where)
    assert (code, "swarm peers" in err) == (NotFoundError.exit_code, True)
    code, _, err = swarm("ban", "anna", "--why", " ", *where)
    assert (code, "needs a reason" in err) == (UsageError.exit_code, True)
    assert swarm("unban", "anna", *where)[0] == NotFoundError.exit_code


def test_a_volunteer_bans_nobody(swarm: Run, where: list[str], coordinator: Coordinator) -> None:
    code, _, err = swarm("ban", "anna", "--why", "lies", "--run", coordinator.invite)
    assert (code, "maintainer" in err) == (RefusedError.exit_code, True)


def test_the_log_is_read_on_this_machine_also_when_the_coordinator_is_stopped(
    swarm: Run, where: list[str], coordinator: Coordinator
) -> None:
    swarm("ban", "ben", "--why", "lies", *where)
    coordinator.stop()
    lines = swarm("audit", *where)[1].splitlines()
    assert ["Join" in line for line in lines] == [True, True, False]
    assert all("127.0.0.1" in line for line in lines)
    [last] = json.loads(swarm("audit", "--last", 1, "--json", *where)[1])
    assert (last["call"], last["about"], last["why"]) == ("Ban", BEN.member_id, "lies")
