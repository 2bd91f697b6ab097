"""A validator and two volunteers, one of which trains on other samples than it leased: who passes spot checks."""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from swarm.invite import Invite
from swarm.maintaining import MaintainerClient
from tests.cheats import on_other_data
from tests.swarm_run import SwarmRun, digests, local, rounds, swarm_run

pytestmark = [pytest.mark.processes, pytest.mark.timeout(170), pytest.mark.long]

CHECKS = 4  # of each of the two
SECONDS = 130.0
ENDED = re.compile(r"The spot check of (\w+) \(\w+\) in round (\d+) by (\w+) (passed|failed)")


def validator_invite(run: SwarmRun) -> str:
    """As `swarm invite make --role validator` prints it."""
    own = Invite.parse((run.folder / run.home / "maintainer-invite").read_text().strip())
    with MaintainerClient.connect(own) as maintainer:
        return str(replace(own, token=maintainer.make_invite("validator", 1.0, "checks").token))


def checks(run: SwarmRun) -> list[tuple[str, ...]]:
    """(who, round, by whom, how) of those that ended."""
    return ENDED.findall((run.folder / run.home / "coordinator.log").read_text())


def test_who_trains_on_other_samples_fails_and_who_does_not_passes(tmp_path: Path) -> None:
    with swarm_run(tmp_path, rounds=100_000, batch=180, every=50, letters=300_000) as run:
        local(run, "outer_learning_rate = 0.7\n")
        run.spec.write_text(run.spec.read_text().replace("steps = 4", "steps = 15"))
        run.launch()
        volunteers, run.invite = run.invite, validator_invite(run)
        vera = run.join("vera")
        run.invite = volunteers
        peers = [vera, run.join("anna")]
        run.environment = on_other_data(tmp_path)
        peers.append(run.join("carl"))
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
        for peer in peers:
            peer.drain()
        held = digests(peers)
        assert len(held) > 2 * CHECKS
        assert all(len(kinds) == 1 for kinds in held.values()), "checking keeps the checker at the swarm's state"
        own = rounds(vera)
        assert [event["round"] for event in own] == list(range(own[0]["round"], own[-1]["round"] + 1)), "in each round"
        assert not [event for event in vera.every("round") if event["dropped_why"]], "and nothing of its own is lost"
