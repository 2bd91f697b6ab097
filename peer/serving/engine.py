"""What computes a model's next tokens: one interface, an implementation for each library that can."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

from peer.serving.opened import Opened


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn: at most `tokens`; `temperature` 0 takes the likeliest; `top_p` of the probability; the same
    `seed` draws the same on the same machine. `stop`: texts that end the answer, none of them in it.
    """

    tokens: int
    temperature: float = 0.7
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()


class Engine(Protocol):
    """A loaded model. One generation at a time."""

    @property
    def name(self) -> str:
        """Library and device, for people."""

    @property
    def context(self) -> int:
        """Tokens of prompt and answer together, at most."""

    def tokens(self, prompt: Sequence[int], sampling: Sampling, personality: str) -> Generator[int, None, None]:
        """Token after token behind `prompt`, which is not empty, until an end-of-text token, which is not given, or
        `sampling.tokens`. Closing it ends the work. `personality` is one of the bundle's, or "" for the base.
        """

    def close(self) -> None:
        """Give the memory back."""


def load(opened: Opened, device: str) -> Engine:
    """llama.cpp where the bundle has a GGUF file, no personalities, and the library is there, and where it has nothing
    else; transformers otherwise. Raises ModelError, UsageError.
    """
    chosen = device == "auto" and not opened.personalities and find_spec("llama_cpp")
    if opened.gguf and (chosen or not any(opened.weights.glob("*.safetensors"))):
        from peer.serving.llama import LlamaCpp

        caps = opened.bundle.caps
        return LlamaCpp.load(opened.gguf, opened.ends, caps.prompt_tokens + caps.answer_tokens)
    from peer.serving.transformers_engine import Transformers

    return Transformers.load(opened, device)
