"""Which values of an update travel: the largest of each block, chosen by NumPy, or by torch where the model is.

One integer holds a value's magnitude, with 12 bits less, and its index in the block, so a single choice finds both.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import torch
from numpy.typing import NDArray

BLOCK = 4096  # an index has 12 bits
_INDEX = np.int32(BLOCK - 1)
_MAGNITUDE = np.int32(0x7FFFFFFF & ~(BLOCK - 1))  # exponent and 11 bits of the mantissa
_ROWS = 64  # blocks at a time: their keys stay in the cache
_DEVICE_ROWS = 2048  # 32 MB at a time: a volunteer's GPU memory is full of the model
_GROUP = 8  # values of which the largest stands for all in the first choice

Blocks = NDArray[np.float32]
Indices = NDArray[np.int32]
Largest = Callable[[Blocks, int], Indices]


def largest_on_host(blocks: Blocks, kept: int) -> Indices:
    """The indices [rows, kept] of the largest magnitudes in each row, in any order. NumPy partitions integers with
    vector instructions.
    """
    return np.concatenate([_partitioned(blocks[row : row + _ROWS], kept) for row in range(0, len(blocks), _ROWS)])


def largest_on(device: str) -> Largest:
    """The same on a GPU, in a stream of its own: the training that goes on there need not wait for it."""
    return lambda blocks, kept: np.concatenate(
        [_chosen_on(device, blocks[row : row + _DEVICE_ROWS], kept) for row in range(0, len(blocks), _DEVICE_ROWS)]
    )


def _chosen_on(device: str, blocks: Blocks, kept: int) -> Indices:
    stream = torch.Stream(device) if device.startswith("cuda") else nullcontext()
    with stream:
        keys = torch.from_numpy(blocks).to(device).view(torch.int32) & int(_MAGNITUDE)
        keys |= torch.arange(blocks.shape[1], dtype=torch.int32, device=device)
        indices: Indices = (keys.topk(kept, dim=1, sorted=False).values & int(_INDEX)).cpu().numpy()
        return indices


def _partitioned(blocks: Blocks, kept: int) -> Indices:
    keys = blocks.view(np.int32) & _MAGNITUDE
    keys |= np.arange(blocks.shape[1], dtype=np.int32)
    if blocks.shape[1] == BLOCK and 2 * kept * _GROUP <= BLOCK:
        keys = _candidates(keys, kept)
    if kept < keys.shape[1]:
        keys.partition(keys.shape[1] - kept, axis=1)
    return keys[:, -kept:] & _INDEX


def _candidates(keys: Indices, kept: int) -> Indices:
    """Fewer keys [rows, kept * _GROUP], the `kept` largest among them: those of the groups with the largest maxima.

    No other group can hold one of the largest: `kept` maxima are larger than all that is in it. Group g is made of the
    values whose index is g modulo the number of groups.
    """
    groups = BLOCK // _GROUP
    rows = keys.reshape(-1, _GROUP, groups)
    maxima = rows.max(axis=1)
    maxima.partition(groups - kept, axis=1)
    chosen = maxima[:, None, -kept:] & np.int32(groups - 1)
    return np.take_along_axis(rows, chosen, axis=2).reshape(len(keys), -1)
