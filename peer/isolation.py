"""Whether a model keeps documents that are packed into one sample apart; not every architecture does."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from peer.data import Samples
from peer.model import built, loss_sum
from swarm.errors import ModelError

_LAYERS = 2
_VOCABULARY = 300
_LENGTH = 6  # tokens of each of two documents
_MARKS = torch.tensor([[-1] * _LENGTH + [-2] + [2] * (_LENGTH - 1)], dtype=torch.int16)


@torch.no_grad()
def require_isolation(config: Any) -> None:
    """Raises ModelError when in a model of this configuration a document's loss depends on the one before it.

    Tried on a model of few layers and tokens. Exactly equal, not nearly: what is masked counts as 0.0, and with
    fresh weights what is not masked counts little.
    """
    before, other, document = torch.randint(0, _VOCABULARY, (3, 1, _LENGTH), generator=torch.Generator().manual_seed(0))
    model = _small(config)
    losses = [_loss(model, first, document) for first in (before, other)]
    if losses[0] != losses[1]:
        raise ModelError(
            f"A model of this kind ({type(model).__name__}) lets the documents in a sample see each other.",
            'Choose another model, or data.format = "text" with data.packing = "stream".',
        )


def _small(config: Any) -> nn.Module:
    """The same architecture with few layers."""
    small = copy.deepcopy(config)
    text = small.get_text_config()
    text.num_hidden_layers, text.vocab_size, text.pad_token_id = _LAYERS, _VOCABULARY, None
    if text.__dict__.get("layer_types"):
        text.layer_types = text.layer_types[:_LAYERS]
    with torch.random.fork_rng(devices=[]):
        load = AutoModelForCausalLM.from_config
        model: nn.Module = built(config.model_type, lambda: load(small, trust_remote_code=False))
    return model.eval()


def _loss(model: nn.Module, first: Tensor, second: Tensor) -> float:
    return float(loss_sum(model, Samples(torch.cat([first, second], dim=1), _MARKS), 1.0))
