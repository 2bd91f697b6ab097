"""The model card of an exported model, made from what the run knows of itself. Pure.

The head is Hugging Face's model card metadata (https://huggingface.co/docs/hub/model-cards).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from swarm.markdown import in_line
from swarm.proto import coordinator_pb2 as pb
from swarm.runspec import RunSpec
from swarm.sections import is_folder
from swarm.version import __version__


@dataclass(frozen=True)
class Release:
    """What is exported: the run, its status, and the checkpoint in the form `merged` or not."""

    spec: RunSpec
    run: pb.Run
    status: pb.Status
    checkpoint: pb.Checkpoint
    merged: bool

    @property
    def is_adapter(self) -> bool:
        return self.spec.model.adapts and not self.merged


def card(release: Release) -> str:
    """The whole README.md."""
    parts = [
        _head(release),
        _introduction(release),
        _use(release),
        _section("Training", training(release)),
        _section("Data", data(release)),
        _section("Evaluation", _evaluations(release)),
        _section("Contributors", _contributors(release)),
        _section("Files and digests", _digests(release)),
    ]
    return "\n".join(parts)


def _head(release: Release) -> str:
    model = release.spec.model
    facts: dict[str, object] = {
        "library_name": "peft" if release.is_adapter else "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["garage-swarm", *([model.method] if model.adapts else [])],
    }
    if release.spec.run.license:
        facts["license"] = release.spec.run.license.lower()
    if model.adapts and not is_folder(model.source):
        facts["base_model"] = model.source
    if release.spec.data.source.startswith("hf:"):
        facts["datasets"] = [release.spec.data.source.removeprefix("hf:")]
    lines = [f"{key}: {json.dumps(value)}" for key, value in facts.items()]  # JSON is YAML as well
    return "\n".join(["---", *lines, "---", ""])


def _introduction(release: Release) -> str:
    run = release.spec.run
    text = f"# {run.title or run.name}\n\n"
    if run.description:
        text += f"{run.description}\n\n"
    live = len([member for member in release.status.members if member.counted_samples])
    return text + f"Trained by {live} volunteers' machines together, with garage-swarm {__version__}.\n"


def _use(release: Release) -> str:
    model = release.spec.model
    base = json.dumps(model.source)
    revision = f", revision={json.dumps(model.revision)}" if model.revision else ""
    if not release.is_adapter:
        code = 'from transformers import AutoModelForCausalLM\n\nmodel = AutoModelForCausalLM.from_pretrained(".")'
    elif model.method == "qlora":
        code = (
            "from peft import PeftModel\nfrom transformers import AutoModelForCausalLM, BitsAndBytesConfig\n\n"
            f"quantization = {_quantization(release.spec)}\n"
            f"base = AutoModelForCausalLM.from_pretrained({base}{revision}, quantization_config=quantization)\n"
            'model = PeftModel.from_pretrained(base, ".")'
        )
    else:
        code = (
            "from peft import PeftModel\nfrom transformers import AutoModelForCausalLM\n\n"
            f"base = AutoModelForCausalLM.from_pretrained({base}{revision})\n"
            'model = PeftModel.from_pretrained(base, ".")'
        )
    return f"## Use\n\n```python\n{code}\n```\n"


def _quantization(spec: RunSpec) -> str:
    if spec.model.quantization == "int8":
        return "BitsAndBytesConfig(load_in_8bit=True)"
    return 'BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)'


def training(release: Release) -> Iterable[tuple[str, str]]:
    """How the model came to be, by name."""
    spec, checkpoint = release.spec, release.checkpoint
    method = str(spec.model.method)
    if method == "qlora":
        method += f" on a base quantised to {spec.model.quantization}"
    yield "Method", method
    yield "Base" if spec.model.adapts else "Model", f"{spec.model.source} {spec.model.revision}".strip()
    if spec.model.adapts:
        lora = spec.lora
        yield "Adapters", f"rank {lora.rank}, alpha {lora.alpha:g}, dropout {lora.dropout:g}, on {lora.targets}"
    steps = "one optimizer step of the whole swarm each"
    if spec.training.mode == "local":
        steps = f"in each at most {spec.local.steps} optimizer steps of every peer"
    yield "Rounds", f"{checkpoint.round} of {spec.training.rounds}, {steps}"
    yield "Samples", f"{checkpoint.global_samples:,} of {spec.data.sequence_length} tokens"
    yield "Optimizer", f"AdamW, learning rate {spec.training.learning_rate:g} ({spec.training.schedule})"
    yield "Licence", spec.run.license or "not stated"


def data(release: Release) -> Iterable[tuple[str, str]]:
    """What it was trained on, by name."""
    spec, facts = release.spec.data, release.run.data
    yield "Source", spec.source
    yield "Licence", spec.license or "not stated"
    yield "Form", spec.format + (f" ({spec.pair})" if spec.pair else "")
    yield "Documents", f"{facts.documents:,} with {facts.tokens:,} tokens"
    yield "Samples", f"{facts.train_samples:,} to train on, {facts.heldout_samples:,} held out by hash"
    yield "Near-duplicates", f"{facts.near_duplicates:,}; {facts.leaked:,} of them between both sides"


def _evaluations(release: Release) -> Iterable[tuple[str, str]]:
    for found in release.status.evaluations:
        if found.round <= release.checkpoint.round:
            own = "".join(f", {in_line(name)} {value:.4g}" for name, value in sorted(found.metrics.items()))
            yield f"Round {found.round}", f"held-out loss {found.heldout_loss:.4f} nats per token{own}"


def credited(members: Iterable[pb.Member]) -> list[tuple[str, int]]:
    """The samples of those who agreed to be named, by their names, most samples first."""
    named: dict[str, int] = {}
    for member in members:
        if member.credit and member.counted_samples:
            named[member.credit] = named.get(member.credit, 0) + member.counted_samples
    return sorted(named.items(), key=lambda item: (-item[1], item[0]))


def unnamed(members: Iterable[pb.Member]) -> list[int]:
    """The samples of each of the others that were counted."""
    return [member.counted_samples for member in members if member.counted_samples and not member.credit]


def _contributors(release: Release) -> Iterable[tuple[str, str]]:
    """The others as one number."""
    for name, samples in credited(release.status.members):
        yield in_line(name), f"{samples:,} samples"
    if others := unnamed(release.status.members):
        yield f"{len(others)} more", f"{sum(others):,} samples"


def _digests(release: Release) -> Iterable[tuple[str, str]]:
    yield f"State of round {release.checkpoint.round}", f"`{release.checkpoint.digest}`"
    for blob in (*release.run.base, release.run.heldout):
        yield in_line(blob.name), f"SHA-256 `{blob.sha256}`"
    yield "Training samples", f"{len(release.run.shards)} shards; SHA-256 of each in `garage-swarm.json`"


def _section(title: str, rows: Iterable[tuple[str, str]]) -> str:
    lines = [f"- **{name}**: {value}" for name, value in rows]
    return "\n".join([f"## {title}", "", *(lines or ["None."]), ""])


def manifest(release: Release) -> dict[str, object]:
    """The same for programs: garage-swarm.json."""
    run = release.run
    return {
        "format": "garage-swarm-release-1",
        "run": run.name,
        "round": release.checkpoint.round,
        "digest": release.checkpoint.digest,
        "global_samples": release.checkpoint.global_samples,
        "merged": release.merged,
        "spec": release.spec.model_dump(),
        "base": {blob.name: blob.sha256 for blob in run.base},
        "shards": [blob.sha256 for blob in run.shards],
        "heldout": run.heldout.sha256,
        "evaluations": [
            {"round": found.round, "heldout_loss": found.heldout_loss, "metrics": dict(found.metrics)}
            for found in release.status.evaluations
        ],
    }
