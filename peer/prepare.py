"""Turn a run spec into what volunteers fetch: `python -m peer.prepare --spec RUN.toml --out DIR`.

Writes DIR/blobs/<sha256>, DIR/model/ (configuration and tokenizer under their own names) and, last,
DIR/artefacts.json; see "Artefacts" in docs/architecture.md. The same spec gives the same bytes; what is there already
is kept. Prints one JSON line per step, {"step", "detail"}; on an error the last line is {"error", "what", "remedy"}
and the exit status the error's own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.numpy import save
from torch import nn
from transformers.utils import logging as transformers_logging

from peer.base import base_blobs
from peer.checkpoint import state_digest, state_metadata, write_state
from peer.model import initial_model, trainable
from peer.optimizer import AdamW
from peer.packing import Corpus, Tokens, separable, shards, split, tokenise
from peer.sources import documents
from peer.tokenizer import make_tokenizer
from swarm import lifetime, runspec
from swarm.errors import SwarmError, from_os_error
from swarm.runspec import RunSpec
from swarm.tensorfile import atomic_write, publish, sha256_file

Say = Callable[[str, str], None]


@dataclass(frozen=True)
class Blob:
    """A file of the blob store."""

    name: str
    sha256: str
    size: int


class Workshop:
    """The folder that the artefacts are made in."""

    def __init__(self, out: Path) -> None:
        self.artefacts = out / "artefacts.json"
        self.model = out / "model"
        self.blobs = out / "blobs"

    def open(self) -> None:
        """Make the folders; an old model's files must not mix with the new one's."""
        self.blobs.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.model, ignore_errors=True)
        self.model.mkdir()

    def finished(self, key: str) -> bool:
        """Whether the artefacts for `key` are all there."""
        if not self.artefacts.exists():
            return False
        made: dict[str, Any] = json.loads(self.artefacts.read_text())
        blobs = [*made["model"], *made["shards"], made["heldout"], made["checkpoint"], *made["base"]]
        return made["spec_sha256"] == key and all(map(self._has, blobs))

    def put(self, name: str, content: bytes) -> Blob:
        """Keep `content` as a blob."""
        blob = Blob(name, hashlib.sha256(content).hexdigest(), len(content))
        if not self._has(asdict(blob)):
            with atomic_write(self.blobs / blob.sha256) as file:
                file.write(content)
        return blob

    def put_tokens(self, name: str, tokens: Tokens) -> Blob:
        """Keep samples as a blob."""
        return self.put(name, save({"tokens": tokens}))

    def put_state(self, model: nn.Module, spec: RunSpec) -> dict[str, Any]:
        """Keep the state before the first round as a blob; the artefacts' "checkpoint"."""
        parameters = trainable(model)
        moments = AdamW(parameters, spec.training).state()
        state = {f"model/{name}": parameter for name, parameter in parameters.items()} | moments
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

    def _has(self, blob: dict[str, Any]) -> bool:
        path = self.blobs / str(blob["sha256"])
        return path.exists() and path.stat().st_size == int(blob["size"])


def prepare(spec: RunSpec, base: Path, out: Path, say: Say) -> None:
    """Make the artefacts of `spec` in `out`, or keep those that are there; paths in the spec are relative to `base`.

    Raises DataError, ModelError, OSError (disk).
    """
    workshop = Workshop(out)
    key = spec_key(spec)
    if workshop.finished(key):
        say("done", "everything was prepared before")
        return
    workshop.open()
    tokenizer = _tokenizer(spec, base, workshop, say)
    data = _data(spec, base, tokenizer, workshop, say)
    model = _model(spec, base, workshop, say)
    workshop.finish({**data, **model, "spec_sha256": key})
    say("done", str(workshop.artefacts))


def spec_key(spec: RunSpec) -> str:
    """SHA-256 of what the artefacts depend on: the sections model and data, the run's name and its seed."""
    parts = {
        "model": spec.model.model_dump(),
        "data": spec.data.model_dump(),
        "run": spec.run.name,
        "seed": spec.run.seed,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def main() -> None:
    """The command; see the module."""
    lifetime.follow_parent()
    parser = argparse.ArgumentParser(prog="python -m peer.prepare", description="Prepare a run.")
    parser.add_argument("--spec", type=Path, required=True, help="the run spec, a TOML file")
    parser.add_argument("--out", type=Path, required=True, help="the run's folder")
    options = parser.parse_args()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        prepare(runspec.load(options.spec), options.spec.parent, options.out, _say)
    except SwarmError as error:
        _fail(error)
    except OSError as error:
        _fail(from_os_error(error, "preparing the run"))
    except KeyboardInterrupt:
        sys.exit(130)


def _tokenizer(spec: RunSpec, base: Path, workshop: Workshop, say: Say) -> Any:
    say("tokenizer", spec.model.tokenizer)
    tokenizer = make_tokenizer(spec, documents(spec.data, base), base)
    tokenizer.save_pretrained(workshop.model)
    say("tokenizer", f"{len(tokenizer)} entries")
    return tokenizer


def _data(spec: RunSpec, base: Path, tokenizer: Any, workshop: Workshop, say: Say) -> dict[str, Any]:
    say("data", spec.data.source)
    texts = separable(documents(spec.data, base), spec.data.heldout_fraction)
    with tempfile.TemporaryFile(dir=workshop.model) as file:
        corpus = tokenise(texts, tokenizer, spec.run.seed, file)
        say("data", f"{len(corpus.split_keys)} documents, {len(corpus.tokens)} tokens")
        return _packed(corpus, spec, workshop, say)


def _packed(corpus: Corpus, spec: RunSpec, workshop: Workshop, say: Say) -> dict[str, Any]:
    parts, length = split(corpus, spec), spec.data.sequence_length
    heldout = next(shards(corpus, parts.heldout, length))
    blobs: list[dict[str, Any]] = []
    samples: list[int] = []
    for tokens in shards(corpus, parts.train, length):
        blobs.append(asdict(workshop.put_tokens(f"shard-{len(blobs):05}.safetensors", tokens)))
        samples.append(len(tokens))
    say("data", f"{sum(samples)} samples to train on in {len(blobs)} shards, {len(heldout)} held out")
    return {
        "shards": blobs,
        "heldout": asdict(workshop.put_tokens("heldout.safetensors", heldout)),
        "layout": {"shard_samples": samples, "sequence_length": length, "seed": spec.run.seed},
    }


def _model(spec: RunSpec, base: Path, workshop: Workshop, say: Say) -> dict[str, Any]:
    say("model", spec.model.source)
    model = initial_model(spec, workshop.model, base)
    for config in (model.config, model.generation_config):
        config.save_pretrained(workshop.model)  # type: ignore[operator, union-attr]
    say("model", f"{sum(p.numel() for p in trainable(model).values()):,} parameters")
    files = sorted(path for path in workshop.model.iterdir() if path.is_file())
    return {
        "model": [asdict(workshop.put(path.name, path.read_bytes())) for path in files],
        "checkpoint": workshop.put_state(model, spec),
        "base": _base(spec, base, workshop),
    }


def _base(spec: RunSpec, base: Path, workshop: Workshop) -> list[dict[str, Any]]:
    """The frozen base's weights; none when all weights are trained, since the checkpoint has them then."""
    if not spec.model.adapts or not runspec.is_folder(spec.model.source):
        return []
    return base_blobs(base / Path(spec.model.source).expanduser(), workshop.blobs)


def _say(step: str, detail: str) -> None:
    _line({"step": step, "detail": detail})


def _fail(error: SwarmError) -> None:
    _line({"error": error.code, "what": error.what, "remedy": error.remedy})
    sys.exit(error.exit_code)


def _line(content: dict[str, str]) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
