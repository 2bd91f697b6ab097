"""The engine of transformers: safetensors on the CPU or a GPU, a cache of keys and values, adapters to switch."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from peer import device as devices
from peer.model import built, load_weights
from peer.serving.engine import Sampling
from peer.serving.opened import Opened
from swarm.errors import ModelError

_COLD = 1e-3  # below it the likeliest token is the only one, and logits over it might overflow
_ROOT = "bundle"  # peft's name for the adapter that a bundle is


class Transformers:
    """A causal language model, and its adapters if it has any."""

    def __init__(self, model: Any, where: str, ends: frozenset[int], context: int, root: bool) -> None:
        self.name = f"transformers on {where}"
        self.context = context
        self._model = model
        self._where = where
        self._ends = ends
        self._own = _ROOT if root else ""  # the adapter without which the bundle is another model

    @classmethod
    def load(cls, opened: Opened, device: str) -> Transformers:
        """From safetensors, without code of the model. Raises ModelError, UsageError."""
        where = devices.choose(device, devices.hardware()).device
        base = load_weights(opened.weights, torch.float32 if where == "cpu" else "auto")
        model = _adapted(base, opened).to(where).eval()
        return cls(model, where, opened.ends, _context(base, opened.weights), opened.root is not None)

    @torch.inference_mode()
    def tokens(self, prompt: Sequence[int], sampling: Sampling, personality: str) -> Generator[int, None, None]:
        """See `Engine`."""
        generator = torch.Generator().manual_seed(sampling.seed) if sampling.seed is not None else None
        ids, past = torch.tensor([list(prompt)], device=self._where), None
        with self._as(personality):
            for _ in range(sampling.tokens):
                out = self._model(input_ids=ids, past_key_values=past, use_cache=True, logits_to_keep=1)
                token, past = drawn(out.logits[0, -1].float().cpu(), sampling, generator), out.past_key_values
                if token in self._ends:
                    return
                yield token
                ids = torch.tensor([[token]], device=self._where)

    def _as(self, personality: str) -> AbstractContextManager[Any]:
        if name := personality or self._own:
            self._model.set_adapter(name)
            return nullcontext()
        return self._model.disable_adapter() if hasattr(self._model, "disable_adapter") else nullcontext()

    def close(self) -> None:
        """See `Engine`."""
        del self._model


def drawn(logits: Tensor, sampling: Sampling, generator: torch.Generator | None) -> int:
    """The next token. `logits` [vocabulary], fp32. Nucleus sampling: Holtzman et al. 2019 (arXiv 1904.09751)."""
    if sampling.temperature < _COLD:
        return int(logits.argmax())
    odds, order = torch.softmax(logits / sampling.temperature, 0).sort(descending=True, stable=True)
    odds[odds.cumsum(0) - odds > sampling.top_p] = 0.0  # the first one always stays
    return int(order[torch.multinomial(odds, 1, generator=generator)])


def _adapted(base: Any, opened: Opened) -> Any:
    folders = {**({_ROOT: opened.root} if opened.root else {}), **opened.personalities}
    model = base
    for name, folder in folders.items():
        model = built(folder, partial(_with, model, name, folder))
    return model


def _with(model: Any, name: str, folder: Path) -> Any:
    from peft import PeftModel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of transformers, about its own attribute
        if not isinstance(model, PeftModel):
            return PeftModel.from_pretrained(model, folder, adapter_name=name, is_trainable=False)
        model.load_adapter(folder, adapter_name=name, is_trainable=False)
    return model


def _context(model: Any, folder: Path) -> int:
    found = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if not isinstance(found, int) or found < 2:
        raise ModelError(f"{folder} does not say how many tokens the model takes.", "Its config.json must say so.")
    return found
