"""`swarm export`: a run's model as a folder that transformers and peft load, with its model card."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swarm.cli.options import InviteText
from swarm.errors import UsageError

if TYPE_CHECKING:
    from swarm.bundle.lineage import Origin
    from swarm.client import CoordinatorClient
    from swarm.modelcard import Release
    from swarm.proto import coordinator_pb2 as pb


class Gguf(StrEnum):
    """The numbers of a GGUF file."""

    F32 = "f32"
    F16 = "f16"
    Q8_0 = "q8_0"


def export(
    invite: InviteText,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write; new or empty.")],
    round_: Annotated[
        int | None, typer.Option("--round", min=0, help="Of which round; by default the latest.", show_default=False)
    ] = None,
    merged: Annotated[
        bool, typer.Option("--merged", help="Add the adapter to the base's weights: a model that needs no peft.")
    ] = False,
    gguf: Annotated[
        Gguf | None,
        typer.Option(
            "--gguf", help="Write a GGUF file for llama.cpp and Ollama, too: which numbers.", show_default=False
        ),
    ] = None,
) -> None:
    """Write the model of a run with tokenizer, model card and digests."""
    from peer.fetch import Files
    from swarm import paths, placing, runspec
    from swarm.bundle.lineage import FILE
    from swarm.cli import known
    from swarm.cli.checkpoints import chosen
    from swarm.cli.children import run_child
    from swarm.cli.output import say
    from swarm.cli.trialing import scratch
    from swarm.client import CoordinatorClient
    from swarm.modelcard import Release

    output = output.resolve()
    _require_empty(output)
    parsed = known.invite(invite)
    with known.connect(CoordinatorClient, parsed) as client:
        run, kept = client.get_run(), client.checkpoints()
        checkpoint = chosen(kept, round_)
        spec = runspec.loads(run.spec_toml, "the coordinator's run spec")
        _require_adapter(merged, spec.model.adapts)
        _require_whole(gguf, merged, spec.model.adapts)
        files = Files(client, paths.peer_dir(parsed.run) / "blobs", say)
        folder = files.model_folder([*run.model, *run.base])
        state = files.checkpoint(checkpoint)
        release = Release(spec, run, client.status(), checkpoint, merged)
        origin = _origin(client, release, kept)
    with placing.staging(output, 0o755) as stage, scratch("export") as report:
        (stage / "run.toml").write_text(spec.to_toml(), encoding="utf-8")
        where = ["--spec", stage / "run.toml", "--model", folder, "--state", state, "--out", stage]
        more = [*(["--merged"] if merged else []), *(["--gguf", gguf] if gguf else [])]
        run_child("peer.export", [*map(str, where), *more], report, lambda _: None)
        _describe(release, stage)
        (stage / FILE).write_text(origin.model_dump_json(indent=1), encoding="utf-8")
        placing.sync_all(stage)
        placing.place(stage, output)
    say(f"{output}: {run.name} at round {checkpoint.round}; README.md is its model card.")


def _origin(client: CoordinatorClient, release: Release, kept: list[pb.Checkpoint]) -> Origin:
    """The model's lineage, by the ledger of the rounds that it holds."""
    from swarm.bundle.lineage import origin

    entries = client.ledger(0, release.checkpoint.round) if release.checkpoint.round else []
    first = next((item for item in kept if item.round == 0), None)
    return origin(release, client.invite.fingerprint, entries, first)


def _require_empty(output: Path) -> None:
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"{output} is there already and not empty.", "Name a new folder with --output.")


def _require_adapter(merged: bool, adapts: bool) -> None:
    if merged and not adapts:
        raise UsageError("--merged is for adapters; this run trains all weights.", "Leave it out.")


def _require_whole(gguf: Gguf | None, merged: bool, adapts: bool) -> None:
    if gguf and adapts and not merged:
        raise UsageError(
            "An adapter alone is not written as GGUF.", "Add --merged: the file has the base's weights then."
        )


def _describe(release: Release, output: Path) -> None:
    from swarm.modelcard import card, manifest

    (output / "README.md").write_text(card(release), encoding="utf-8")
    (output / "garage-swarm.json").write_text(json.dumps(manifest(release), indent=1))
