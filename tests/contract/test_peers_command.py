"""`swarm peers`, `ban`, `unban` and `audit` against a real coordinator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.server import Coordinator
from swarm.cli.rundir import remember
from swarm.client import CoordinatorClient
from swarm.errors import BannedError, NotFoundError, RefusedError, UsageError
from swarm.identity import Identity
from swarm.runspec import load
from tests.contract.conftest import Run
from tests.small_run import coordinating

ANNA, BEN = (Identity.from_seed(letter * 32) for letter in (b"a", b"b"))


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[Coordinator]:
    with coordinating(tmp_path / "run") as found:
        remember(tmp_path / "run", load(tmp_path / "run" / "run.toml"), found.invite, found.own_invite)
        yield found


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
