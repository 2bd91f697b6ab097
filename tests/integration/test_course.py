"""A maintainer lets a run of real processes pause, go on, and end before its last round."""

from __future__ import annotations

import pytest

from tests.accounts import go_on, said
from tests.harness import Event
from tests.swarm_run import SwarmRun, rounds

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240), pytest.mark.long]

_PAUSED = "the run is paused by its maintainer: a look at the data"


def waits_for_the_pause(event: Event) -> bool:
    return event.get("phase") == "waiting" and event["why"] == _PAUSED


def test_members_wait_through_a_pause_and_leave_a_run_that_is_ended(run: SwarmRun) -> None:
    run.write_spec(rounds=100_000)
    run.launch()
    peer = run.join("anna")
    go_on(peer, 2)
    where = ("--data-dir", str(run.folder / run.home))
    said(run, "run", "pause", "--why", "a look at the data", *where)
    peer.wait_for(waits_for_the_pause, 60)
    said(run, "run", "resume", *where)
    go_on(peer, 2)
    said(run, "run", "finish", "--why", "good enough", *where)
    assert peer.finish(60) == 0, peer.stderr
    assert peer.events[-1]["event"] == "end"
    assert peer.events[-1]["finished"]
    with run.client() as client:
        assert max(one.round for one in client.checkpoints()) == rounds(peer)[-1]["round"] + 1
        assert client.status().ended == "the run was finished by its maintainer: good enough"
