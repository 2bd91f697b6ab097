"""A real coordinator and three real volunteers that evaluate its checkpoint, of which one lies."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from peer.traffic import Traffic
from swarm.identity import Identity
from swarm.invite import Invite
from swarm.maintaining import MaintainerClient
from swarm.proto import coordinator_pb2 as pb
from swarm.trials import receipts
from swarm.trials.client import TrialClient
from swarm.trials.names import EVALUATE, HELDOUT, TOLERANCE
from swarm.trials.record import read, release_facts
from tests.cheats import other_answers
from tests.swarm_run import SwarmRun, swarm_run, swarm_words

pytestmark = [pytest.mark.processes, pytest.mark.timeout(280), pytest.mark.long]

UNITS = 3
SECONDS = 150.0


def started(run: SwarmRun, items: int) -> str:
    """A campaign of three units; another invite for the volunteers besides the run's first."""
    own = Invite.parse((run.folder / run.home / "maintainer-invite").read_text().strip())
    wish = pb.Campaign(
        kind=EVALUATE,
        suite=HELDOUT,
        unit_items=-(-items // UNITS),
        seconds=120.0,
        tolerance=TOLERANCE[EVALUATE],
    )
    with MaintainerClient.connect(own) as maintainer:
        assert maintainer.start_campaign(wish).id == "C1"
        return str(replace(own, token=maintainer.make_invite("volunteer", 1.0, "others").token))


def test_two_honest_ones_settle_each_unit_and_the_liar_is_told_apart(tmp_path: Path) -> None:
    with swarm_run(tmp_path, rounds=100, letters=60_000) as run:
        run.launch()
        with run.client() as client:
            found = client.get_run()
        others = started(run, found.data.heldout_samples)
        run.invite, first = others, run.invite
        run.environment, honest = other_answers(tmp_path), run.environment
        liar = run.join("carl", "--work", "trials")
        liar.wait_for(lambda event: "answered unit" in event.get("text", ""), 60.0)
        run.environment = honest
        peers = [run.join("ben", "--work", "trials")]
        run.invite = first
        peers.append(run.join("anna", "--work", "trials"))
        with TrialClient.connect(Invite.parse(first)) as client:
            end = time.monotonic() + SECONDS
            while not client.record() and time.monotonic() < end:
                time.sleep(1.0)
            entries = client.record()
            figures, findings = release_facts(read(entries), found.latest.digest)
        assert entries, [(one.drain(), one.events) for one in (*peers, liar)]
        [campaign] = read(entries).campaigns
        loss, perplexity = figures
        assert (campaign.why, loss.samples, loss.answers, findings) == ("", found.data.heldout_samples, 2, None)
        assert 4.0 < loss.value < 7.0, "an untrained model of 256 letters: about ln 256"
        assert perplexity.metric == "perplexity"
        files = [tmp_path / name / receipts.FILE for name in ("anna", "ben")]
        while not all(file.exists() for file in files) and time.monotonic() < end:
            time.sleep(0.5)  # they come with the next question for a unit
        for one in (*peers, liar):
            one.interrupt()
            assert one.finish(20) == 0, one.stderr
        assert Traffic(run.folder / "home" / "traffic.sqlite").month(datetime.now(UTC)) >= 3 * found.latest.size
        log = (run.folder / run.home / "coordinator.log").read_text()
        assert f"{Identity.load_or_create(tmp_path / 'carl').member_id} answered otherwise than the others" in log
        for file in files:
            kept = receipts.verified(file, Invite.parse(first).fingerprint)
            assert all(one.counted for one in kept)
            words = swarm_words("trials", "receipts", first, "--data-dir", str(file.parent))
            said = subprocess.run(words, capture_output=True, check=True, timeout=60, text=True).stdout
            assert f"{len(kept)} of {len(kept)} units counted" in said
        assert answered(run, "trials", "list", first)["ended"][0]["figures"][0]["value"] == loss.value
        own = answered(run, "evaluate", first, "--device", "cpu", "--threads", "1")
        assert own["state"] == found.latest.digest
        assert own["evaluations"][0]["value"] == pytest.approx(loss.value, rel=1e-5), "one machine finds the same"


def answered(run: SwarmRun, *arguments: str) -> Any:
    """What a command prints as JSON."""
    environment = {**os.environ, "SWARM_HOME": str(run.folder / "home")}
    words = swarm_words(*arguments, "--json")
    return json.loads(subprocess.run(words, capture_output=True, check=True, timeout=90, env=environment).stdout)
