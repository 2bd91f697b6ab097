"""What the model of a round writes: the run spec's prompts, each gone on from, for people to see it learn."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from peer.model import Drawing, continued
from swarm.runspec import RunSpec
from swarm.texts import TEXT_BYTES, cut


@dataclass(frozen=True)
class Writing:
    """Goes on from the `prompts` of a run. All texts together take `drawing.seconds` and a token, at most."""

    run: str
    prompts: tuple[str, ...]
    drawing: Drawing

    @classmethod
    def of(cls, spec: RunSpec) -> Writing:
        """As the run spec wants it."""
        wish = spec.evaluation
        drawing = Drawing(wish.sample_tokens, wish.sample_temperature, wish.sample_seconds)
        return cls(spec.run.name, tuple(wish.prompts), drawing)

    def texts(self, model: nn.Module, tokenizer: Any, round_: int) -> dict[str, str]:
        """By their prompts, what `model`, at θ_round, writes. Those for which no time is left are missing: few whole
        texts tell more than a word of each.
        """
        end, found = time.monotonic() + (self.drawing.seconds or 0.0), dict[str, str]()
        for prompt in self.prompts:
            if (left := end - time.monotonic()) <= 0:
                break
            drawing, seed = replace(self.drawing, seconds=left), seed_of(self.run, round_, prompt)
            text = continued(model, tokenizer, prompt, drawing, seed)
            found[prompt] = cut(text, TEXT_BYTES)
        return found


def seed_of(run: str, round_: int, prompt: str) -> int:
    """The same at every member: with the same arithmetic and enough time, another one writes the same text."""
    named = f"{run}\0{round_}\0{prompt}".encode()
    return int.from_bytes(hashlib.sha256(named).digest()[:4], "big")
