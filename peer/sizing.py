"""How large a run's model, updates and data are, and how fast this machine trains it, before anything is prepared:
`python -m peer.sizing --spec RUN.toml --folder FOLDER [--measure]`.

Reads, and writes nothing outside of TMPDIR. Prints a line of JSON, {"sizes", "pace"}; on an error {"error", "what",
"remedy"}, and ends with the error's own exit status. What is not known without the hub is an error or 0.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

from peer.telling import errors_told, say
from swarm import lifetime
from swarm.errors import ModelError
from swarm.runspec import RunSpec

_LETTERS = {"bytes": 1.0, "small": 2.6, "large": 4.0}  # in a token of English
_SMALL_VOCABULARY = 8192  # entries
_OWN_SCALES = 1024 + 64  # bytes beside the values of a tensor in 8 bits: a codebook, and what names it
_KEYS = ("hidden_size", "num_hidden_layers", "vocab_size")  # of a configuration, that needs are estimated from


@dataclass(frozen=True)
class Sizes:
    """Of a run. `payload` is what one update takes on a line, `base` the frozen base's weights, both in bytes.

    `prepared`: the folder that was looked at holds this run's files.
    """

    prepared: bool
    trained: int  # values
    payload: int
    base: int
    samples: int  # to train on, about; 0 is not known
    config: dict[str, int]


@dataclass(frozen=True)
class Pace:
    """Of this machine: `rate` samples per second while it computes, seconds for what it does at a round's end
    (`settle`), and beside that for each member's update (`merge`).
    """

    rate: float
    micro_batch: int
    settle: float
    merge: float
    why: str


def main() -> None:
    """The command; see the module."""
    lifetime.follow_parent()
    options = _arguments()
    with errors_told("looking at the run"):
        found = _look(options)
    say(found)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m peer.sizing", description="Look at a run.")
    parser.add_argument("--spec", type=Path, required=True, help="the run spec, a TOML file")
    parser.add_argument("--folder", type=Path, required=True, help="the run's folder, if it was prepared")
    parser.add_argument("--measure", action="store_true", help="train for some seconds to see how fast this is")
    parser.add_argument("--threads", type=int, default=0, help="of the CPU; 0: as many as torch takes")
    return parser.parse_args()


def _look(options: argparse.Namespace) -> dict[str, Any]:
    from transformers.utils import logging

    from swarm import runspec

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    spec, base = runspec.load(options.spec), options.spec.parent
    model = _prepared(options.folder, spec)
    config = configuration(spec, base, model)
    sizes = sizes_of(spec, base, config, prepared=model is not None)
    if not options.measure:
        return {"sizes": asdict(sizes), "pace": None}
    from peer.device import use_threads
    from peer.pace import measure

    use_threads(options.threads)
    return {"sizes": asdict(sizes), "pace": asdict(measure(spec, sizes, lambda: model_of(spec, config)))}


def _prepared(folder: Path, spec: RunSpec) -> Path | None:
    """The model's folder, where this spec was prepared. What else is there belongs to another run."""
    from peer.artefacts import Workshop, spec_key

    workshop = Workshop(folder)
    return workshop.model if workshop.finished(spec_key(spec)) else None


def configuration(spec: RunSpec, base: Path, prepared: Path | None) -> Any:
    """The model's configuration, from a prepared run's model folder, the spec's preset or folder, or the hub's files on
    this machine. Raises ModelError.
    """
    from transformers import AutoConfig

    from peer.model import built, model_location, preset_config
    from swarm.sections import is_folder

    source = spec.model.source
    if prepared is None and source.startswith("preset:"):
        return preset_config(spec, _words(spec), 0)
    if prepared is None and not is_folder(source):
        return _of_hub(spec)
    folder = prepared or model_location(spec, base)[0]
    return built(folder, lambda: AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False))


def _words(spec: RunSpec) -> int:
    """Entries of a tokenizer that is made for the run: the end of text, 256 bytes, and merges."""
    _, _, size = spec.model.tokenizer.partition(":")
    return int(size) if size else 257


def _of_hub(spec: RunSpec) -> Any:
    """From what an earlier use left in the hub's own cache: a rehearsal asks nobody. Raises ModelError."""
    from transformers import AutoConfig

    source, revision = spec.model.source, spec.model.revision
    try:
        return AutoConfig.from_pretrained(source, revision=revision, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"The model {source} is not on this machine, and a rehearsal fetches nothing.",
            "`swarm data prepare` fetches it and makes the run ready; then rehearse again.",
        ) from error


def sizes_of(spec: RunSpec, base: Path, config: Any, prepared: bool) -> Sizes:
    """Without memory for the model's values. Raises ModelError, DataError."""
    import torch

    from peer.model import trainable

    with torch.device("meta"):
        model = model_of(spec, config)
    shapes = {name: tuple(parameter.shape) for name, parameter in trainable(model).items()}
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    frozen = sum(parameter.numel() for parameter in model.parameters()) - trained
    text = config.get_text_config()
    known = {key: int(getattr(text, key, 0) or 0) for key in _KEYS}
    samples = 0 if prepared else samples_in(spec, base)  # then the run's files say it
    return Sizes(prepared, trained, _payload(spec, shapes), 2 * frozen, samples, known)


def model_of(spec: RunSpec, config: Any) -> Any:
    """The model with values that mean nothing, where torch makes tensors now. Raises ModelError."""
    from transformers import AutoModelForCausalLM

    from peer.adapters import adapt
    from peer.model import built

    source = spec.model.source
    model = built(source, lambda: AutoModelForCausalLM.from_config(config, trust_remote_code=False))
    return adapt(model, spec) if spec.model.adapts else model.train()


def _payload(spec: RunSpec, shapes: dict[str, tuple[int, ...]]) -> int:
    from peer.codecs import codec_of, payload_size

    if spec.training.mode == "local":
        return payload_size(codec_of(spec.local), shapes)
    values = sum(map(prod, shapes.values()))
    if spec.exchange.compression == "8bit":
        return values + _OWN_SCALES * len(shapes)
    return values * (2 if spec.exchange.compression == "fp16" else 4)


def samples_in(spec: RunSpec, base: Path) -> int:
    """About how many samples the data will make; 0 where that is known on the hub only. Raises DataError."""
    from peer.sources import letters

    found, data = letters(spec.data, base), spec.data
    kind = spec.model.tokenizer
    if kind != "bytes":
        small = kind.startswith("bpe:") and _words(spec) < _SMALL_VOCABULARY
        kind = "small" if small else "large"
    tokens = (found or 0) / _LETTERS[kind]
    return int(tokens * (1 - data.heldout_fraction) / data.sequence_length)


if __name__ == "__main__":
    main()
