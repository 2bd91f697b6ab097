"""`swarm run` and `swarm checkpoints approve` against a coordinator."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coordinator.server import Coordinator
from swarm.client import CoordinatorClient
from swarm.errors import NotFoundError, RefusedError
from swarm.identity import Identity
from tests.contract.conftest import Run

ANNA = Identity.from_seed(b"a" * 32)


@pytest.fixture
def where(coordinator: Coordinator, tmp_path: Path) -> list[str]:
    return ["--data-dir", str(tmp_path / "run")]


def test_a_pause_is_told_to_members_until_the_run_goes_on(
    swarm: Run, where: list[str], coordinator: Coordinator
) -> None:
    with CoordinatorClient.connect(coordinator.invite) as client:
        member = client.join(ANNA, "anna").member_id
        assert "is paused" in swarm("run", "pause", "--why", "we look at the data", *where)[1]
        why = "the run is paused by its maintainer: we look at the data"
        assert client.take_lease(member, 4).why == why
        assert (client.status().paused, client.status().finished) == (why, False)
        assert why in swarm("status", str(coordinator.invite))[1]
        assert "goes on" in swarm("run", "resume", *where)[1]
        assert client.take_lease(member, 4).lease_id
        assert "paused" in "".join(client.status().decisions)


def test_a_finished_run_says_so_to_members_and_those_who_come(
    swarm: Run, where: list[str], coordinator: Coordinator
) -> None:
    with CoordinatorClient.connect(coordinator.invite) as client:
        assert "ends after round" in swarm("run", "finish", "--why", "good enough.", *where)[1]
        assert client.get_run().finished
        assert client.status().ended == "the run was finished by its maintainer: good enough"


def test_a_volunteer_steers_nothing(swarm: Run, where: list[str], coordinator: Coordinator) -> None:
    for words in (("run", "pause"), ("run", "finish"), ("checkpoints", "approve", "0")):
        code, _, err = swarm(*words, "--run", str(coordinator.invite))
        assert (code, "maintainer" in err) == (RefusedError.exit_code, True)


def test_an_approved_checkpoint_is_marked(swarm: Run, where: list[str], coordinator: Coordinator) -> None:
    with CoordinatorClient.connect(coordinator.invite) as client:
        round_ = client.checkpoints()[0].round
    assert "is kept" in swarm("checkpoints", "approve", str(round_), "--why", "it answers well", *where)[1]
    found = json.loads(swarm("checkpoints", "list", str(coordinator.invite), "--json")[1])
    assert [item["approved_why"] for item in found if item["round"] == round_] == ["it answers well"]
    assert "answers well" in swarm("checkpoints", "list", str(coordinator.invite))[1]
    assert "no more" in swarm("checkpoints", "approve", str(round_), "--revoke", *where)[1]
    assert swarm("checkpoints", "approve", "999", *where)[0] == NotFoundError.exit_code
