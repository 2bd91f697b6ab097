"""Bundles for tests: an exported model without a model (no torch), keys, and what is released of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from swarm.bundle import keys, lineage, making, record, release
from swarm.bundle.caps import Caps
from swarm.bundle.keys import Signer
from swarm.bundle.manifest import Finding
from swarm.bundle.verify import Examined
from swarm.modelcard import Release, card
from swarm.proto import coordinator_pb2 as pb
from swarm.runspec import RunSpec, example

RUN = "ab" * 16  # the fingerprint of its coordinator
STATE = "cc" * 32
LEDGER = [
    pb.LedgerEntry(range=pb.Range(start=10 * n, stop=10 * n + 10), state="counted", round=n // 2, member_id=f"m{n % 2}")
    for n in range(4)
]


def signer(folder: Path, name: str = "anna") -> Signer:
    """The key called so; made when it is not there."""
    path = folder / f"{name}.pem"
    return keys.load(path) if path.exists() else keys.new(path)


def spec(*signers: Signer, **rules: Any) -> RunSpec:
    """A spec by which these sign; `rules` are more of its section `[release]`."""
    made = example()
    named = {"signers": [item.public.fingerprint for item in signers], "findings": "any"}
    return made.model_copy(
        update={
            "run": made.run.model_copy(update={"license": "Apache-2.0"}),
            "data": made.data.model_copy(update={"license": "CC-BY-4.0"}),
            "release": made.release.model_copy(update=named | rules),
        }
    )


def export(folder: Path, of: RunSpec, loss: float = 2.0) -> Path:
    """What `swarm export` writes, with a few bytes instead of weights."""
    run = pb.Run(
        name=of.run.name,
        shards=[pb.Blob(name="s0", sha256="aa" * 32)],
        heldout=pb.Blob(name="heldout", sha256="bb" * 32),
        data=pb.DataFacts(heldout_samples=10),
    )
    kept = pb.Checkpoint(round=2, digest=STATE, created_at=1.7e9, heldout_loss=loss, has_heldout_loss=True)
    members = [pb.Member(member_id="m0", name="pc", credit="Ada"), pb.Member(member_id="m1", name="laptop")]
    exported = Release(of, run, pb.Status(members=members), kept, merged=False)
    folder.mkdir(parents=True)
    (folder / "run.toml").write_text(of.to_toml())
    (folder / "README.md").write_text(card(exported))
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 4)
    (folder / lineage.FILE).write_text(lineage.origin(exported, RUN, LEDGER, None).model_dump_json())
    return folder


def wanted(
    model: Path, output: Path, caps: Caps | None = None, findings: list[Finding] | None = None
) -> release.Wanted:
    """A release of an exported model as version 1.0."""
    choice = making.Policy("1.0", caps or Caps(), {}, (), ())
    return release.wanted(
        making.exported(model), record.Record([], findings or [], findings is not None), choice, output
    )


def released(folder: Path, *signers: Signer, **rules: Any) -> Examined:
    """A bundle in `folder`/bundle, signed by these, as many of whom must sign."""
    rules = {"signatures": len(signers)} | rules
    model = export(folder / "model", spec(*signers, **rules))
    return release.release(wanted(model, folder / "bundle"), signers)
