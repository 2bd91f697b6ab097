"""A node's papers: its own pass, and what it last heard of everybody's, in a file that all its processes read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from swarm import log, notes
from swarm.passes import LIFETIME

logger = log.get(__name__)

_GAP = 60.0  # seconds of silence after which the coordinator was away
_NEWS = 15.0  # seconds; the coordinator is heard more often, and nobody needs to know that more exactly
_SETTLE = 60.0  # seconds that members have to hear it again, and to renew their passes


@dataclass(frozen=True)
class Papers:
    """`own` is a SignedPass; the coordinator was heard at `heard_at`, Unix seconds; the passes of these members count
    no more although they have not expired.
    """

    own: bytes = b""
    heard_at: float = 0.0
    barred: frozenset[str] = frozenset()

    def is_news(self, known: Papers) -> bool:
        """Whether those who hold `known` should hear of it, passes aside."""
        return self.barred != known.barred or abs(self.heard_at - known.heard_at) > _NEWS

    def keep(self, path: Path) -> None:
        """Raises OSError."""
        said = {"own": self.own.hex(), "heard_at": self.heard_at, "barred": sorted(self.barred)}
        notes.keep(path, json.dumps(said))

    @classmethod
    def kept(cls, path: Path) -> Papers:
        """Those in the file; empty ones, with which nobody is let in, when it holds none."""
        try:
            said = json.loads(notes.kept(path) or "{}")
            barred = frozenset(map(str, said.get("barred", ())))
            return cls(bytes.fromhex(said.get("own", "")), float(said.get("heard_at", 0.0)), barred)
        except (ValueError, TypeError, AttributeError):
            logger.warning("%s holds no papers; nobody is let in", path)
            return cls()


class Hearing:
    """What the coordinator last said of passes, and when. One that was away for long is heard by all members again
    within a minute, not at once: until then the passes count that counted while it was away. Unix seconds.

    `before` is when an earlier process heard it last; 0 when that is not known: then those passes count that ended no
    longer ago than one lives.
    """

    def __init__(self, before: float = 0.0) -> None:
        self.heard_at = 0.0  # as far as passes are concerned; 0 before it was heard: then none counts
        self.barred: tuple[str, ...] = ()
        self.on_heard: Callable[[], None] = lambda: None
        self._last = self._before = before
        self._since = 0.0

    def note(self, now: float, barred: Iterable[str] | None = None) -> None:
        """It was heard now; what it said of who is barred, if it said that."""
        if not 0 <= now - self._last <= _GAP:
            self._before, self._since = self._last or now - LIFETIME, now
        self._last = now
        settled = now - self._since >= _SETTLE
        self.heard_at = now if settled else self._before
        if barred is not None:  # of whom passes of before would count, it may say no more that they are barred
            self.barred = tuple(barred) if settled else tuple(sorted({*self.barred, *barred}))
        self.on_heard()
