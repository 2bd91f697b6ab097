"""How fast others send, as seen here. Pure: the time comes in."""

from __future__ import annotations

from dataclasses import dataclass

_ENOUGH = 32 * 1024  # bytes; less says more about the delay than about the rate


@dataclass
class _Seen:
    first: float
    last: float
    size: int = 0  # without the first part, which came before anything could be timed


class Meter:
    """Adds up the parts that each sender sends, over all its streams."""

    def __init__(self) -> None:
        self._seen: dict[bytes, _Seen] = {}

    def note(self, sender: bytes, size: int, now: float) -> None:
        """A part of `size` bytes came at `now`, seconds."""
        seen = self._seen.get(sender)
        if seen is None:
            self._seen[sender] = _Seen(now, now)
        else:
            seen.last, seen.size = now, seen.size + size

    def rates(self) -> dict[bytes, float]:
        """Bytes per second of each sender that sent enough."""
        return {
            sender: seen.size / (seen.last - seen.first)
            for sender, seen in self._seen.items()
            if seen.size >= _ENOUGH and seen.last > seen.first
        }
