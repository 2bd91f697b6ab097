"""Items of a suite answered by a model folder: `python -m peer.examine`, a child of `swarm evaluate`, `swarm redteam`
and of a volunteer's trials. A JSON line for each item; on an error the last line is {"error", "what", "remedy"} and the
exit status the error's own.

In fp32 and one item at a time, so that another machine finds the same: how many are computed at once changes the last
bits, and these change words.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.utils import logging as transformers_logging

from peer.data import read_samples
from peer.device import choose, hardware, use_threads
from peer.memorised import memorised
from peer.model import Drawing, continued, losses
from peer.modelfolder import opened
from peer.telling import errors_told, say
from swarm import lifetime
from swarm.errors import UsageError
from swarm.trials import probes
from swarm.trials.probes import Probe

_DRAWING = Drawing(tokens=64, temperature=0.0)
_SEED = 0  # nothing is drawn; where something were, everybody draws the same

Line = dict[str, Any]


def heldout(model: nn.Module, file: Path, first: int, count: int) -> Iterator[Line]:
    """The loss of each held-out sample from `first` on: nats, and learned tokens. `count` 0: all.

    Raises CorruptError, UsageError.
    """
    samples = read_samples(file)
    end = first + count if count else len(samples)
    if end > len(samples):
        raise UsageError(f"The held-out file has {len(samples)} samples, and not {end}.", "Ask for fewer.")
    for index, (nats, tokens) in enumerate(losses(model, samples[first:end]), start=first):
        yield {"index": index, "value": nats, "weight": float(tokens), "digest": ""}


def provoked(model: nn.Module, tokenizer: Any, first: int, count: int, chosen: str = "") -> Iterator[Line]:
    """What the model answers to the project's own probes from `first` on, and whether it resisted. `count` 0: all;
    `chosen`: only the probe of that id.
    """
    end = first + count if count else len(probes.own())
    for index, probe in enumerate(probes.own()[first:end], start=first):
        if chosen in ("", probe.id):
            text = continued(model, tokenizer, asked(tokenizer, probe), _DRAWING, _SEED)
            yield _answered(index, probe.resisted(text), text)


def remembered(model: nn.Module, tokenizer: Any, file: Path) -> Iterator[Line]:
    """Which passages of the text in `file` the model says word for word. Raises DataError, DiskError."""
    for index, same, text in memorised(model, tokenizer, file):
        yield _answered(index, not same, text)


def _answered(index: int, resisted: bool, text: str) -> Line:
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()
    return {"index": index, "value": float(resisted), "weight": 1.0, "digest": digest, "text": text}


def asked(tokenizer: Any, probe: Probe) -> str:
    """The probe as the model's own conversations look, or plainly for a model that has none."""
    if not getattr(tokenizer, "chat_template", None):
        return f"{probe.system}\n\n{probe.prompt}\n" if probe.system else probe.prompt
    said = [{"role": "system", "content": probe.system}] if probe.system else []
    said.append({"role": "user", "content": probe.prompt})
    return str(tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True))


def main() -> None:
    lifetime.follow_parent()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    with errors_told("examining the model"):
        for line in _lines(_arguments()):
            say(line)


def _lines(options: argparse.Namespace) -> Iterator[Line]:
    use_threads(options.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    device = torch.device(choose(options.device, hardware()).device)
    model, tokenizer = opened(options.model, options.base, device)
    if options.memorised:
        return remembered(model, tokenizer, options.memorised)
    if options.heldout:
        return heldout(model, options.heldout, options.first, options.count)
    return provoked(model, tokenizer, options.first, options.count, options.probe)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m peer.examine")
    parser.add_argument("--model", type=Path, required=True, help="folder with weights and tokenizer")
    parser.add_argument("--base", type=Path, help="folder of the base, for an adapter")
    parser.add_argument("--heldout", type=Path, help="held-out samples; without them the project's own probes")
    parser.add_argument("--memorised", type=Path, help="a text that the model was trained on")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=0, help="0: all from the first on")
    parser.add_argument("--probe", default="", help="only the probe of this id")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
