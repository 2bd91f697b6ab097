"""Work that is done in steps."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeVar

T = TypeVar("T")


def ended(steps: Generator[object, None, T], between: Callable[[], object] = lambda: None) -> T:
    """What comes of it, when `between` happens after each step."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        between()
