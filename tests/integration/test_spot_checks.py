"""A validator and two volunteers, one of which trains on other samples than it leased: who passes spot checks."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from swarm.invite import Invite
from swarm.maintaining import MaintainerClient
from tests.cheats import on_other_data
from tests.harness import Program, disputed
from tests.swarm_run import SwarmRun, digests, local, rounds, swarm_run, weighs

pytestmark = [pytest.mark.processes, pytest.mark.timeout(170), pytest.mark.long]

CHECKS = 4  # of each of the two
SECONDS = 130.0
UNMEASURED = "\n[evaluation]\nevery_rounds = 100_000\n"  # a checker that measures a model misses rounds for that
ENDED = re.compile(r"The spot check of (\w+) \(\w+\) in round (\d+) by (\w+) (passed|failed)")


def validator_invite(run: SwarmRun) -> str:
    """As `swarm invite make --role validator` prints it."""
    own = Invite.parse((run.folder / run.home / "maintainer-invite").read_text().strip())
    with MaintainerClient.connect(own) as maintainer:
        return str(replace(own, token=maintainer.make_invite("validator", 1.0, "checks").token))


def checks(run: SwarmRun) -> list[tuple[str, ...]]:
    """(who, round, by whom, how) of those that ended."""
    return ENDED.findall((run.folder / run.home / "coordinator.log").read_text())


def together(run: SwarmRun, folder: Path) -> tuple[Program, Program, Program]:
    """Launch the run; a validator, a volunteer, and one that cheats."""
    run.spec.write_text(run.spec.read_text() + UNMEASURED)
    run.launch()
    volunteers, run.invite = run.invite, validator_invite(run)
    vera = run.join("vera")
    run.invite = volunteers
    anna = run.join("anna")
    run.environment = on_other_data(folder)
    return vera, anna, run.join("carl")


def agree(peers: Sequence[Program]) -> None:
    """All that was held after a round is the same, and the checker takes part in each and loses nothing of its own."""
    for peer in peers:
        peer.drain()
    held = digests(list(peers))
    assert len(held) > 2 * CHECKS
    assert not disputed(held), "checking keeps the checker at the swarm's state"
    own = rounds(peers[0])
    assert [event["round"] for event in own] == list(range(own[0]["round"], own[-1]["round"] + 1)), "in each round"
    assert not [event for event in peers[0].every("round") if event["dropped_why"]], "and nothing of its own is lost"


@pytest.mark.parametrize("more", ["", "overlap = true\n"], ids=["waiting", "overlapped"])
def test_who_trains_on_other_samples_fails_and_who_does_not_passes(tmp_path: Path, more: str) -> None:
    with swarm_run(tmp_path, rounds=100_000, batch=180, every=50, letters=300_000) as run:
        local(run, f"outer_learning_rate = 0.7\n{more}")
        run.spec.write_text(run.spec.read_text().replace("steps = 4", "steps = 15"))
        peers = together(run, tmp_path)
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            said = Counter(who for who, *_ in checks(run))
            if min(said["anna"], said["carl"]) >= CHECKS:
                break
            time.sleep(0.5)
        found = checks(run)
        count = Counter((who, how) for who, _, _, how in found)
        print(count)
        assert {by for _, _, by, _ in found} == {"vera"}
        assert count["anna", "passed"] >= CHECKS
        assert count["anna", "passed"] > 4 * count["anna", "failed"]
        assert count["carl", "failed"] > count["carl", "passed"]
        agree(peers)


@pytest.mark.parametrize("aggregation", ["mean", "centered_clip"])
def test_gradients_of_other_samples_lead_to_probation_with_the_reason(tmp_path: Path, aggregation: str) -> None:
    with swarm_run(tmp_path, rounds=100_000, batch=60, every=50, letters=300_000) as run:
        run.spec.write_text(run.spec.read_text().replace("[exchange]", f'[exchange]\naggregation = "{aggregation}"'))
        peers = together(run, tmp_path)
        told = peers[2].wait_for(weighs("0%"), SECONDS)
        assert re.search(r"on probation again \(its gradient is -?0\.\d+ near that of its samples", told["text"])
        end = time.monotonic() + 60
        while ("anna", "passed") not in {(who, how) for who, _, _, how in checks(run)} and time.monotonic() < end:
            time.sleep(0.5)
        found = checks(run)
        count = Counter((who, how) for who, _, _, how in found)
        print(count, told["text"])
        assert {by for _, _, by, _ in found} == {"vera"}
        assert count["carl", "failed"] >= 3
        assert not count["carl", "passed"]
        assert count["anna", "passed"]
        assert not count["anna", "failed"]
        agree(peers)
