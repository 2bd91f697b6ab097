"""What of an answer is a call of a plugin: nobody is shown it, and the answer waits for its result."""

from __future__ import annotations

from peer.serving.plugins import CLOSE, OPEN
from peer.serving.speech import begun


class Calls:
    """Of one turn. With `on` False everything is text."""

    def __init__(self, on: bool) -> None:
        self.called: str | None = None  # what stands between the two signs, once it is whole
        self._on = on
        self._inside = False
        self._held = ""

    def take(self, piece: str) -> str:
        """What is text for certain."""
        if not self._on:
            return piece
        self._held += piece
        if not self._inside:
            return self._before()
        self._look()
        return ""

    def finish(self) -> str:
        """The rest of a turn that ended without a call: an unfinished one is shown as it is."""
        rest, self._held = (OPEN * self._inside) + self._held, ""
        return "" if self.called is not None else rest

    def _before(self) -> str:
        text, sign, inside = self._held.partition(OPEN)
        if sign:
            self._inside, self._held = True, inside
            self._look()
            return text
        keep = begun(self._held, (OPEN,))
        shown, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return shown

    def _look(self) -> None:
        text, sign, _ = self._held.partition(CLOSE)
        if sign:
            self.called = text
