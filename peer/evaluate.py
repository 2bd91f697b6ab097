"""Held-out loss and a text sample of state files: `python -m peer.evaluate`. Prints one JSON line.

A process of its own, because the command line loads no torch.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

import torch

from peer.checkpoint import read_state
from peer.model import Drawing, continued, evaluate, load_model, load_tokenizer, trainable

_BATCH = 32
_DRAWING = Drawing(tokens=80)


def main() -> None:
    """{"losses": [nats per token of each state], "sample": text of the last one}"""
    options = _arguments()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    torch.set_num_threads(options.threads)
    model = load_model(options.model)
    losses = []
    for state in options.states:
        _take(model, state)
        losses.append(evaluate(model, options.heldout, _BATCH))
    text = continued(model, load_tokenizer(options.model), options.prompt, _DRAWING, seed=0)
    print(json.dumps({"losses": losses, "sample": options.prompt + text}))  # noqa: T201 - the output


@torch.no_grad()
def _take(model: torch.nn.Module, state: Path) -> None:
    tensors, _ = read_state(state)
    for name, parameter in trainable(model).items():
        parameter.copy_(tensors[f"model/{name}"])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m peer.evaluate")
    parser.add_argument("--model", type=Path, required=True, help="folder with configuration and tokenizer")
    parser.add_argument("--heldout", type=Path, required=True)
    parser.add_argument("--states", type=Path, nargs="+", required=True)
    parser.add_argument("--prompt", default="The ")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
