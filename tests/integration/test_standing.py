"""Probation in a whole swarm: a newcomer takes part and weighs nothing, sees why, and weighs once it is trusted."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarm.replay import replay
from tests.harness import Program, disputed
from tests.swarm_run import SwarmRun, digests, is_invite, local, rounds, swarm_run, together, weighs

pytestmark = [pytest.mark.processes, pytest.mark.timeout(150), pytest.mark.long]


def shares(run: SwarmRun) -> dict[str, float]:
    with run.client() as client:
        return {member.name: member.share for member in client.status().members}


def invited_as(run: SwarmRun, role: str) -> str:
    command = run.command("invite", "new", "--role", role, "--data-dir", str(run.folder / run.home))
    assert command.finish(20) == 0, command.stderr
    return str(next(event["text"] for event in command.events if is_invite(event)))


@pytest.mark.parametrize("mode", ["gradient", "local"])
def test_a_newcomer_takes_part_and_weighs_nothing_until_it_is_trusted(tmp_path: Path, mode: str) -> None:
    with swarm_run(tmp_path, rounds=60, letters=120_000) as run:
        if mode == "local":
            local(run)
        run.spec.write_text(f"{run.spec.read_text()}\n[trust]\nprobation_checks = 3\n")
        run.launch()
        public, run.invite = run.invite, invited_as(run, "validator")
        known = run.join("known")
        run.invite = public
        newcomer = run.join("newcomer")
        told = newcomer.wait_for(weighs("0%"), 60)
        assert "0 of 3 clean spot checks" in told["text"]
        newcomer.wait_for(together(2), 60)
        assert shares(run) == {"known": 1.0, "newcomer": 0.0}
        trust(run)
        newcomer.wait_for(weighs("100%"), 30)
        finished(run, [known, newcomer])


def trust(run: SwarmRun) -> None:
    command = run.command("trust", "newcomer", "--why", "a friend", "--data-dir", str(run.folder / run.home))
    assert command.finish(20) == 0, command.stderr


def finished(run: SwarmRun, peers: list[Program]) -> None:
    """All agree, and the ledger counts what was done on probation, too."""
    for peer in peers:
        assert peer.finish(90) == 0, peer.stderr
        assert peer.stderr == ""
    found = digests(peers)
    assert not disputed(found)
    with run.client() as client:
        counted = {member.name: member.counted_samples for member in client.status().members}
        replay(client.ledger(), run.layout(client.get_run())).check()
    assert counted["newcomer"] >= sum(event["samples"] for event in rounds(peers[1]))
