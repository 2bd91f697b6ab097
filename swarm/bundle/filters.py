"""A bundle's filters: what is refused of what is asked and of what is answered, also while an answer is being written.

Patterns are a stranger's. RE2 (https://github.com/google/re2, Cox 2007, "Regular Expression Matching Can Be Simple And
Fast") takes time in proportion to the text and memory of a fixed size, whatever the pattern; back-references and
looking around, which would need more, it does not have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from re import _parser  # type: ignore[attr-defined]  # the only one that says how long a match can be
from typing import Any, Literal

import re2

from swarm.bundle.folding import fold, fold_letter

Where = Literal["asked", "answered"]
_MEMORY = 4 << 20  # bytes of one compiled pattern
_LONGEST = 2000  # letters of a match that an answer is held back for; for longer ones all of it is


@dataclass(frozen=True)
class Pattern:
    """`longest`: letters of a match at most, folded; None when there is no bound, or none that is worth waiting for."""

    found_in: Any  # re2's own
    longest: int | None

    def search(self, text: str, begin: int = 0) -> tuple[int, int] | None:
        """Where it is in a folded text, from `begin` on; what stands before that is seen by ^ and \\b."""
        found = self.found_in.search(text, begin)
        return found.span() if found else None


@lru_cache(1024)
def compiled(pattern: str) -> Pattern:
    """For folded texts. Raises ValueError, with the reason, for what is no regular expression of RE2."""
    folded = "".join(_folded(letter) for letter in pattern)
    options = re2.Options()
    options.case_sensitive, options.log_errors, options.max_mem = False, False, _MEMORY
    options.dot_nl = True
    try:
        found_in = re2.compile(folded, options)
    except re2.error as error:
        raise ValueError(f"not a regular expression of RE2: {_words(error)}") from None
    if found_in.search(""):
        raise ValueError("it is found in every text")
    return Pattern(found_in, _longest(folded))


def _folded(letter: str) -> str:
    """Signs and ASCII stay as they are: they may be part of the pattern's own language."""
    if letter.isascii() or not letter.isalnum():
        return letter
    return "".join(re2.escape(part) for part in fold_letter(letter))


def _longest(pattern: str) -> int | None:
    """As Python's own parser has it. What the two read differently, or only RE2 understands, counts as unbounded."""
    if "{," in pattern:  # RE2 takes it for letters
        return None
    try:
        most = int(_parser.parse(pattern).getwidth()[1])
    except (re.error, RecursionError, OverflowError):
        return None
    return most if most <= _LONGEST else None


def _words(error: Exception) -> str:
    said = error.args[0] if error.args else ""
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)


@dataclass(frozen=True)
class Ban:
    """A pattern, and the topic that a refusal names."""

    topic: str
    pattern: Pattern


def topic_in(text: str, bans: Sequence[Ban]) -> str:
    """The topic of the first ban that `text` meets; empty when it meets none."""
    folded = fold(text)
    return next((ban.topic for ban in bans if ban.pattern.search(folded)), "")


class Sieve:
    """An answer on its way: lets through what no ban can concern any more, and holds back the rest.

    A match that has not ended yet begins among the last letters, as many as the longest match has. `before` is what the
    reader has already and the answer goes on from: a word that begins there and ends in the answer is met, too, or
    answers of one token each would pass.
    """

    def __init__(self, bans: Sequence[Ban], before: str = "") -> None:
        self.topic = ""  # of the ban that the answer met; nothing comes through after that
        self._bans = bans
        self._held = ""  # as it was written
        self._folded = fold(before[-_LONGEST:])  # of that and all of the answer
        self._begins = len(self._folded)  # the answer
        self._let = self._begins  # folded letters that the reader has
        self._due = 0  # letters of the next look for patterns without a bound: each look is at all of the text

    def take(self, piece: str) -> str:
        """What may be shown after this piece."""
        self._held += piece
        self._folded += fold(piece)
        self._look()
        return "" if self.topic else self._release(self._keeps())

    def finish(self) -> str:
        """What may be shown at the end."""
        self.topic = self.topic or next((ban.topic for ban in self._bans if self._found(ban.pattern)), "")
        return "" if self.topic else self._release(0)

    def _look(self) -> None:
        due = len(self._folded) >= self._due
        for ban in () if self.topic else self._bans:
            end = self._found(ban.pattern) if due or ban.pattern.longest else 0
            # One that touches the end may become another one with the next letter: "asset" holds no \bass\b.
            if 0 < end < len(self._folded):
                self.topic = ban.topic
                return
        self._due = max(self._due, len(self._folded) * 5 // 4) if due else self._due

    def _found(self, pattern: Pattern) -> int:
        """Where a match ends that reaches into the answer; 0 without one."""
        begin = 0 if pattern.longest is None else max(0, self._let - pattern.longest)
        while found := pattern.search(self._folded, begin):
            if found[1] > self._begins:
                return found[1]
            begin = found[0] + 1
        return 0

    def _keeps(self) -> int:
        """Folded letters."""
        longest = [ban.pattern.longest for ban in self._bans]
        return len(self._folded) if None in longest else max((most for most in longest if most is not None), default=0)

    def _release(self, keep: int) -> str:
        shown = "".join(self._passing(len(self._folded) - keep))
        self._held = self._held[len(shown) :]
        return shown

    def _passing(self, until: int) -> Iterator[str]:
        for letter in self._held:
            after = self._let + len(fold_letter(letter))
            if after > until:
                return
            self._let = after
            yield letter
