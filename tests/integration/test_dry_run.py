"""`swarm launch --dry-run`: it starts and writes nothing, and foretells what a small real run does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from swarm.cli.planning import Place, plan_of
from swarm.cli.rehearsal.rehearse import rehearse
from swarm.errors import ModelError, UsageError
from tests.harness import Program
from tests.rehearsed import LOOPBACK, Case, real
from tests.swarm_run import SwarmRun, swarm_run, text

pytestmark = pytest.mark.processes

QUICKLY = ("--speed", "50", "--peers", "4", "--churn", "0.3", "--attackers", "1")


def dry_run(run: SwarmRun, *options: str) -> Program:
    return run.command("launch", str(run.spec), "--data-dir", str(run.folder / run.home), "--dry-run", *options)


def answer(program: Program) -> dict[str, Any]:
    assert program.finish(120) == 0, program.stderr
    lines = [event["text"] for event in program.events if event.get("event") == "line"]
    return dict(json.loads("\n".join(lines)))


def test_it_says_how_a_run_would_go_and_leaves_nothing(tmp_path: Path) -> None:
    with swarm_run(tmp_path) as run:
        before = sorted(tmp_path.rglob("*"))
        found = answer(dry_run(run, *QUICKLY, "--json"))
        assert sorted(tmp_path.rglob("*")) == before
        assert found["assumed"]["swarm"]["churn"] == 0.3
        assert found["assumed"]["speed"]["why"] == "as given with --speed"
        assert not found["assumed"]["prepared"]
        assert found["figures"]["rounds_per_hour"]["value"] > 0
        assert {check["name"]: check["level"] for check in found["findings"]}["attackers"] == "failed"
        run.command("data", "prepare", str(run.spec), "--data-dir", str(run.folder / run.home)).finish(120)
        artefacts = json.loads((run.folder / run.home / "artefacts.json").read_text())
        prepared = plan_of(Place(run.spec, run.folder / run.home), LOOPBACK, 1.0)
        assert prepared.prepared
        assert prepared.epoch == sum(artefacts["layout"]["shard_samples"])
        assert prepared.state == artefacts["checkpoint"]["size"]


def test_what_it_cannot_say_it_says(tmp_path: Path) -> None:
    with swarm_run(tmp_path) as run:
        asked = dry_run(run, "--peers", "2", "--attackers", "3", "--speed", "1")
        assert asked.finish(60) == UsageError.exit_code
        assert "3 attackers are more than the 2 peers" in asked.stderr
        launched = run.command("launch", str(run.spec), "--peers", "3", "--json")
        assert launched.finish(60) == UsageError.exit_code
        assert "--peers, --json: only a rehearsal has these options" in launched.stderr
        spec = run.spec.read_text().replace("preset:tiny-llama", "example-org/example")
        run.spec.write_text(spec.replace('tokenizer = "bytes"', f'tokenizer = "bytes"\nrevision = "{"0" * 40}"'))
        unknown = dry_run(run, *QUICKLY)
        assert unknown.finish(60) == ModelError.exit_code
        assert "fetches nothing" in unknown.stderr


@pytest.mark.long
def test_it_measures_how_fast_this_machine_is(tmp_path: Path) -> None:
    with swarm_run(tmp_path) as run:
        found = answer(dry_run(run, "--peers", "2", "--json"))
        speed = found["assumed"]["speed"]
        assert "measured on this machine (CPU)" in speed["why"]
        assert 0 < speed["settle"] < 10
        assert speed["rate"] > 1


@pytest.mark.long
@pytest.mark.parametrize("case", [Case(2, 14), Case(2, 7, steps=8)])
def test_a_small_real_run_does_what_was_foretold(tmp_path: Path, case: Case) -> None:
    """With the peers' own speed, because this machine does other things beside; bytes do not depend on it."""
    run = SwarmRun(tmp_path)
    (tmp_path / "corpus.txt").write_text(text(460_000))
    run.spec.write_text(case.spec())
    measured = real(run, case)
    plan = plan_of(Place(run.spec, run.folder / run.home), replace(LOOPBACK, peers=case.peers), measured.rate)
    figures = rehearse(plan).figures
    assert figures["sent_per_round"].value == pytest.approx(measured.sent, rel=0.15)
    assert figures["received_per_round"].value == pytest.approx(measured.received, rel=0.15)
    assert figures["rounds_per_hour"].value == pytest.approx(measured.rounds_per_hour, rel=0.3)
    assert figures["utilisation"].value == pytest.approx(measured.utilisation, rel=0.3)
