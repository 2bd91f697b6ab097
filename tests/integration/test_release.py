"""From a real run to a bundle that transformers loads, by commands alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer, LlamaForCausalLM

from swarm.bundle import lineage, manifest
from swarm.bundle.verify import verified
from tests import bundles
from tests.harness import Program
from tests.swarm_run import SwarmRun, swarm_run

RELEASE = """
[release]
findings = "any"
evaluations = ["heldout:loss <= 20"]
signers = ["{}"]
"""


def ended(program: Program, code: int = 0) -> Program:
    assert program.finish(90) == code, program.stderr
    return program


@pytest.mark.processes
@pytest.mark.long
@pytest.mark.timeout(240)
def test_a_run_becomes_a_bundle_that_anybody_can_verify(tmp_path: Path) -> None:
    anna = bundles.signer(tmp_path / "keys")
    with swarm_run(tmp_path, rounds=2, every=2) as run:
        text = run.spec.read_text().replace('name = "test"', 'name = "test"\nlicense = "Apache-2.0"')
        text = text.replace("sequence_length", 'license = "CC0-1.0"\nsequence_length')
        run.spec.write_text(text + RELEASE.format(anna.public.fingerprint) + "\n[evaluation]\nevery_rounds = 1\n")
        run.launch()
        ended(run.join("anna", "--credit", "Ada"))
        model, again, bundle = (tmp_path / name for name in ("model", "again", "bundle"))
        for folder in (model, again):
            ended(run.command("export", run.invite, "--output", str(folder)))
        assert contents(model) == contents(again)
        made = ["release", str(model), "--output", str(bundle), "--version", "1.0", "--record", str(tmp_path / "own")]
        ended(run.command(*made, "--key", str(anna.path)), 29)  # a member's word for its loss is none
        measured(model, tmp_path / "own")
        ended(run.command(*made), 29)
        ended(run.command(*made, "--key", str(anna.path)))
        root_is_the_ledgers(run, bundle)
    found = verified(bundle, [anna.public.fingerprint], home=tmp_path)
    assert (found.lineage.round, [item.name for item in found.contributors]) == (2, ["Ada"])
    assert found.evaluations[0].suite == "heldout"
    ids = AutoTokenizer.from_pretrained(bundle)("Law and", return_tensors="pt")
    assert LlamaForCausalLM.from_pretrained(bundle)(**ids).logits.isfinite().all()


def measured(model: Path, record: Path) -> None:
    """What a maintainer would write down after `swarm evaluate`: here what the member said, which is right."""
    found = lineage.Origin.model_validate_json((model / lineage.FILE).read_bytes()).evaluations
    record.mkdir()
    (record / "evaluations.jsonl").write_text("".join(f"{item.model_dump_json()}\n" for item in found))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def root_is_the_ledgers(run: SwarmRun, bundle: Path) -> None:
    """By the command, and by what the coordinator says."""
    said = manifest.read(bundle).lineage
    with run.client() as client:
        assert lineage.root(client.ledger(0, said.round)) == said.ledger
        assert said.samples == client.status().global_samples
    shown = run.command("ledger", "root", run.invite, "--round", str(said.round))
    ended(shown)
    assert said.ledger in shown.events[0]["text"]
