"""What a test's plan does to tensors; see `swarm.moments`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

_BIT = 1 << 20  # of an fp32 number: in the middle of its fraction


@torch.no_grad()
def hurt(tensors: Mapping[str, Tensor], how: str) -> None:
    """Make one number of the first tensor NaN ("nan"), or flip one of its bits ("flip"), in place."""
    if not how:
        return
    first = tensors[min(tensors)].detach().view(-1)
    if how == "nan":
        first[0] = float("nan")
    elif how == "flip":
        first.view(torch.int32)[0] ^= _BIT
