"""Memory that runs out, and memory that is kept though nobody needs it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

import torch

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")  # CUDA and MPS; CPU; Windows


def out_of_memory(error: Exception) -> bool:
    """Whether the error says that no memory was left; torch has no common class for it."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in _OUT_OF_MEMORY)
    )


def release(device: torch.device) -> None:
    """Give memory that torch keeps for later back to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
    trim()


def trim() -> None:
    """Give freed memory of this process back to the system.

    glibc keeps what lies between blocks in use. Loading, measuring, training and exchanging leave holes of different
    sizes, and together they took a fifth more than each of them alone (docs/results.md).
    """
    if trimmer := _trimmer():
        trimmer(0)


@cache
def _trimmer() -> Callable[[int], int] | None:
    """glibc's malloc_trim; other C libraries have none."""
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
    return found
