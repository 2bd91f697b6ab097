"""What volunteers fetch, made from a run spec.

DIR/blobs/<sha256>, DIR/model/ (configuration and tokenizer under their own names), DIR/near-duplicates.json and, last,
DIR/artefacts.json; see "Artefacts" in docs/architecture.md. The same spec gives the same bytes; what is there already
is kept. DIR/blocks/ holds what is half done.

Torch is loaded once the data are ready: what is wrong with them is said seconds sooner.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from safetensors.numpy import save

from peer import repeats, whole
from peer.base import base_blobs, link
from peer.blocks import Block, Encoder, blocks
from peer.encoding import Tokens, require_chat_template
from peer.formats import documents
from peer.packing import Corpus, Split, gather, separable, shards, split
from peer.sources import count
from peer.tokenizer import make_tokenizer
from swarm.runspec import RunSpec
from swarm.tensorfile import atomic_write, publish, sha256_file

if TYPE_CHECKING:
    from torch import Tensor


class Listener(Protocol):
    """Who wants to know how far it is."""

    def step(self, step: str, detail: str) -> None:
        """What is done now, and what came of it."""

    def documents(self, done: int, total: int | None) -> None:
        """How many documents are ready, of about how many; None is unknown."""


@dataclass(frozen=True)
class Blob:
    """A file of the blob store."""

    name: str
    sha256: str
    size: int


Shard = tuple[Tokens, whole.Marks | None]


@dataclass(frozen=True)
class Packing:
    """Shards to train on, the held-out samples, and how many documents were cut."""

    train: Iterator[Shard]
    heldout: Shard
    cut: int


class Workshop:
    """The folder that the artefacts are made in."""

    def __init__(self, out: Path) -> None:
        self.artefacts = out / "artefacts.json"
        self.model = out / "model"
        self.blocks = out / "blocks"
        self.repeats = out / "near-duplicates.json"
        self.blobs = out / "blobs"
        self.upload = out / "shards"

    def open(self) -> None:
        """Make the folders; an old model's files must not mix with the new one's."""
        self.blobs.mkdir(parents=True, exist_ok=True)
        self.blocks.mkdir(exist_ok=True)
        shutil.rmtree(self.model, ignore_errors=True)
        self.model.mkdir()

    def finished(self, key: str) -> bool:
        """Whether the artefacts for `key` are all there; a torn artefacts.json is as good as none: it is made anew."""
        try:
            made: dict[str, Any] = json.loads(self.artefacts.read_text())
            blobs = [*made["model"], *made["shards"], made["heldout"], made["checkpoint"], *made["base"]]
            return made["spec_sha256"] == key and all(map(self._has, blobs))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return False

    def put(self, name: str, content: bytes) -> Blob:
        """Keep `content` as a blob."""
        blob = Blob(name, hashlib.sha256(content).hexdigest(), len(content))
        path = self.blobs / blob.sha256
        if not (path.exists() and sha256_file(path) == blob.sha256):
            with atomic_write(path) as file:
                file.write(content)
        return blob

    def put_samples(self, name: str, tokens: Tokens, marks: whole.Marks | None = None) -> Blob:
        """Keep samples as a blob."""
        return self.put(name, save({"tokens": tokens} if marks is None else {"tokens": tokens, "marks": marks}))

    def put_state(self, values: dict[str, Tensor], spec: RunSpec) -> dict[str, Any]:
        """Keep the state before the first round, with what is trained at `values`; the artefacts' "checkpoint"."""
        from peer.checkpoint import state_digest, state_metadata, write_state
        from peer.modes import first_state

        state = first_state(spec, values)
        digest = state_digest(state)
        path = self.blobs / "checkpoint"
        write_state(path, state, state_metadata(spec.run.name, 0, 0, digest))
        sha256, size = sha256_file(path), path.stat().st_size
        publish(path, self.blobs / sha256)
        return {"round": 0, "digest": digest, "sha256": sha256, "size": size, "global_samples": 0}

    def finish(self, artefacts: dict[str, Any]) -> None:
        """Write artefacts.json: from now on the preparation counts as done."""
        with atomic_write(self.artefacts) as file:
            file.write(json.dumps(artefacts, indent=1, sort_keys=True).encode())

    def name_shards(self) -> None:
        """Give the shards their own names in a folder, as a hub keeps them."""
        shutil.rmtree(self.upload, ignore_errors=True)
        self.upload.mkdir()
        for shard in json.loads(self.artefacts.read_text())["shards"]:
            link(self.blobs / str(shard["sha256"]), self.upload / str(shard["name"]))

    def tidy(self) -> None:
        """Remove what a finished preparation does not need."""
        shutil.rmtree(self.blocks, ignore_errors=True)

    def _has(self, blob: dict[str, Any]) -> bool:
        path = self.blobs / str(blob["sha256"])
        return path.exists() and path.stat().st_size == int(blob["size"])


@dataclass(frozen=True)
class Job:
    """One preparation: paths in `spec` are relative to `base`, and `processes` tokenise."""

    spec: RunSpec
    base: Path
    workshop: Workshop
    listener: Listener
    processes: int


def prepare(job: Job) -> None:
    """Make the artefacts of a spec, or keep those that are there. Raises DataError, ModelError, OSError (disk)."""
    workshop, key = job.workshop, spec_key(job.spec)
    if not workshop.finished(key):
        workshop.open()
        tokenizer = _tokenizer(job)
        data = _data(job, tokenizer, _blocks(job, tokenizer))
        workshop.finish({**data, **_model(job), "spec_sha256": key})
        job.listener.step("done", str(workshop.artefacts))
    else:
        job.listener.step("done", "everything was prepared before")
    if job.spec.data.shards:
        workshop.name_shards()
    workshop.tidy()


def spec_key(spec: RunSpec) -> str:
    """SHA-256 of what the artefacts depend on: the sections model and data (but for where the shards are kept), the
    run's name and its seed, and which optimizer's state is agreed.
    """
    parts: dict[str, Any] = {
        "model": spec.model.model_dump(),
        "data": spec.data.model_dump(exclude={"shards"}),
        "run": spec.run.name,
        "seed": spec.run.seed,
    }
    if spec.training.mode == "local":  # another optimizer: the first state is another
        parts["outer"] = bool(spec.local.outer_momentum)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _tokenizer(job: Job) -> Any:
    spec, say = job.spec, job.listener.step
    say("tokenizer", spec.model.tokenizer)
    texts = ("".join(piece.text for piece in document.pieces) for document in documents(spec.data, job.base))
    tokenizer = make_tokenizer(spec, texts, job.base)
    if spec.data.format == "chat":
        require_chat_template(tokenizer)
    tokenizer.save_pretrained(job.workshop.model)
    say("tokenizer", f"{len(tokenizer)} entries")
    return tokenizer


def _blocks(job: Job, tokenizer: Any) -> list[Block]:
    data, say = job.spec.data, job.listener.step
    say("data", data.source)
    found = documents(data, job.base)
    if data.format == "text":
        found = separable(found, data.heldout_fraction)
    encoder = Encoder(tokenizer, _files_key(job.workshop.model), data.whole, job.spec.run.seed)
    computed = blocks(found, encoder, job.workshop.blocks, job.processes)
    ready = list(_told(computed, count(data, job.base), job.listener))
    made = sum(block.made for block in ready)
    say("data", f"{made} of {len(ready)} blocks of documents computed, {len(ready) - made} kept from before")
    return ready


def _told(found: Iterable[Block], total: int | None, listener: Listener) -> Iterator[Block]:
    done = 0
    for block in found:
        done += block.documents
        listener.documents(done, None if total is None else max(done, total))
        yield block
    listener.documents(done, done)


def _files_key(folder: Path) -> str:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return hashlib.sha256("".join(f"{path.name}\0{sha256_file(path)}\0" for path in files).encode()).hexdigest()


def _data(job: Job, tokenizer: Any, ready: list[Block]) -> dict[str, Any]:
    with tempfile.TemporaryFile(dir=job.workshop.blocks) as file:
        corpus = gather(ready, file)
        found = {"documents": len(corpus.split_keys), "tokens": len(corpus.tokens)}
        job.listener.step("data", f"{found['documents']} documents, {found['tokens']} tokens")
        parts = split(corpus, job.spec)
        made = _samples(job, _packed(corpus, parts, job.spec, tokenizer.eos_token_id))
    made["facts"] |= {**found, **repeats.report(ready, parts, job.workshop.repeats)}
    shards, train, heldout = len(made["shards"]), made["facts"]["train_samples"], made["facts"]["heldout_samples"]
    job.listener.step("data", f"{train} samples to train on in {shards} shards, {heldout} held out")
    return made


def _packed(corpus: Corpus, parts: Split, spec: RunSpec, padding: int) -> Packing:
    length = spec.data.sequence_length
    if not spec.data.whole:
        train, heldout = (shards(corpus, side, length) for side in (parts.train, parts.heldout))
        return Packing(((tokens, None) for tokens in train), (next(heldout), None), 0)
    packed, held = (whole.pack(corpus, side.tolist(), spec) for side in (parts.train, parts.heldout))
    whole.require_enough(packed, held, spec)
    kept = next(whole.whole_shards(corpus, held, length, padding))
    return Packing(whole.whole_shards(corpus, packed, length, padding), kept, packed.cut + held.cut)


def _samples(job: Job, packing: Packing) -> dict[str, Any]:
    data, targets = job.spec.data, 0
    blobs: list[dict[str, Any]] = []
    samples: list[int] = []
    for tokens, marks in packing.train:
        blobs.append(asdict(job.workshop.put_samples(f"shard-{len(blobs):05}.safetensors", tokens, marks)))
        samples.append(len(tokens))
        targets += tokens[:, 1:].size if marks is None else whole.learned(marks)
    layout = {"shard_samples": samples, "sequence_length": data.sequence_length, "seed": job.spec.run.seed}
    facts = {"train_samples": sum(samples), "heldout_samples": len(packing.heldout[0]), "cut_documents": packing.cut}
    return {
        "shards": blobs,
        "heldout": asdict(job.workshop.put_samples("heldout.safetensors", *packing.heldout)),
        "layout": {**layout, "targets_per_sample": targets / sum(samples)},
        "facts": facts,
    }


def _model(job: Job) -> dict[str, Any]:
    from peer.isolation import require_isolation
    from peer.model import base_folder
    from peer.trained import untrained

    spec, workshop, say = job.spec, job.workshop, job.listener.step
    say("model", spec.model.source)
    model, values = untrained(spec, workshop.model, job.base)
    if spec.data.whole:
        require_isolation(model.config)
    for config in (model.config, model.generation_config):
        config.save_pretrained(workshop.model)  # type: ignore[operator, union-attr]
    say("model", f"{sum(value.numel() for value in values.values()):,} parameters to train")
    files = sorted(path for path in workshop.model.iterdir() if path.is_file())
    return {
        "model": [asdict(workshop.put(path.name, path.read_bytes())) for path in files],
        "checkpoint": workshop.put_state(values, spec),
        "base": base_blobs(base_folder(spec, job.base), workshop.blobs) if spec.model.adapts else [],
    }
