"""Whether a model keeps documents that are packed into one sample apart; not every architecture does."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from peer.data import Samples
from peer.model import loss_sum
from swarm.errors import ModelError

_LENGTH = 6  # tokens of each of two documents
_MARKS = torch.tensor([[-1] * _LENGTH + [-2] + [2] * (_LENGTH - 1)], dtype=torch.int16)


@torch.no_grad()
def require_isolation(model: nn.Module, vocabulary: int) -> None:
    """Raises ModelError when a document's loss depends on the one before it, however little.

    Exactly equal, not nearly: what is masked counts as 0.0, and with fresh weights what is not masked counts little.
    """
    before, other, document = torch.randint(0, vocabulary, (3, 1, _LENGTH), generator=torch.Generator().manual_seed(0))
    was_training = model.training
    model.eval()
    losses = [_loss(model, first, document) for first in (before, other)]
    model.train(was_training)
    if losses[0] != losses[1]:
        raise ModelError(
            f"A model of this kind ({type(model).__name__}) lets the documents in a sample see each other.",
            'Choose another model, or data.format = "text" with data.packing = "stream".',
        )


def _loss(model: nn.Module, first: Tensor, second: Tensor) -> float:
    return float(loss_sum(model, Samples(torch.cat([first, second], dim=1), _MARKS), 1.0))
