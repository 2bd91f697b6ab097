"""From tokens to pieces of text: whole characters only, up to the text that ends the answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tokenizers.decoders import DecodeStream


def pieces(tokenizer: Any, tokens: Iterable[int]) -> Iterator[str]:
    """The text of `tokens`, as soon as a character is whole; special tokens have none. A piece for each token, perhaps
    an empty one, so that who reads can stop after any of them.
    """
    stream = DecodeStream(skip_special_tokens=True)
    for token in tokens:
        yield stream.step(tokenizer.backend_tokenizer, token) or ""


class Stops:
    """Looks for the texts that end an answer, also when one comes in several pieces."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.found = False
        self._stops = [stop for stop in stops if stop]
        self._held = ""

    def take(self, piece: str) -> str:
        """What certainly belongs to the answer."""
        self._held += piece
        places = [at for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if places:
            self.found = True
            return self._let(min(places))
        return self._let(len(self._held) - begun(self._held, self._stops))

    def finish(self) -> str:
        """The rest, when the answer ended otherwise."""
        return "" if self.found else self._let(len(self._held))

    def _let(self, length: int) -> str:
        shown, self._held = self._held[:length], self._held[length:]
        return shown


def begun(text: str, words: Iterable[str]) -> int:
    """How many letters at the end of `text` may be the beginning of one of `words`."""
    return max((size for word in words for size in range(1, len(word)) if text.endswith(word[:size])), default=0)
