"""What happens while the coordinator is away must not last when it is back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import faults
from tests.accounts import leave
from tests.harness import disputed
from tests.swarm_run import digests, swarm_run, together

pytestmark = [pytest.mark.processes, pytest.mark.long, pytest.mark.timeout(240)]


def test_a_worker_that_starts_again_meanwhile_finds_the_others(tmp_path: Path) -> None:
    """It knows the coordinator's node alone, and that one, started anew, knows nobody until the others speak to it."""
    with swarm_run(tmp_path, rounds=100_000, letters=120_000) as run:
        coordinator = run.launch()
        peers = [run.join(f"peer-{number}") for number in range(3)]
        for peer in peers:
            peer.wait_for(together(3), 60)
        with faults.away(run, coordinator):
            faults.kill(faults.worker(peers[2]))
            peers[2].wait_for(lambda event: "could not be entered" in str(event.get("text", "")), 60)
        peers[2].drain()
        peers[2].wait_for(together(3), 90)
        leave(peers)
        assert not disputed(digests(peers))
