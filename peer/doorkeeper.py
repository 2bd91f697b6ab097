"""Who may speak with this node: those whom the run's coordinator let in, as their passes say.

`admits` decides; a `Doorkeeper` knows the coordinator and reads the node's papers, which are renewed in their file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

from swarm import lent, passes
from swarm.papers import Papers
from swarm.passes import NODE, Authority, Role
from swarm.proto import coordinator_pb2 as pb

T = TypeVar("T")
MEMBERS = frozenset(Role)
ANYBODY = MEMBERS | {NODE}
_REMEMBERED = 4096  # passes, and words on leases, whose signature was verified


def admits(
    pass_: pb.Pass | None,
    peer_id: bytes,
    now: float,
    heard_at: float,
    barred: Collection[str],
    roles: Collection[str] = MEMBERS,
) -> str:
    """Why the node `peer_id`, which shows this pass of the run's coordinator, is refused; empty when it is let in.

    The coordinator was heard at `heard_at`; at 0 it was not heard yet, and nobody is let in. Unix seconds.
    """
    if heard_at <= 0:
        return "this node has not heard the run's coordinator yet"
    if pass_ is None:
        return "it has no pass of this run's coordinator"
    if pass_.peer_id != peer_id:
        return "its pass is of another node"
    if pass_.member in barred:
        return "it was banned, or its invite was revoked"
    if pass_.role not in roles:
        return f"a {pass_.role or 'nameless role'} may not do this"
    return "its pass has expired" if passes.expired(pass_, now, heard_at) else ""


def remembered(largest: int, open_: Callable[[bytes], T | None]) -> Callable[[bytes], T | None]:
    """`open_`, which verifies each word once; None for one of more bytes, which strangers send and nobody keeps."""
    kept = lru_cache(_REMEMBERED)(open_)
    return lambda data: kept(data) if len(data) <= largest else None


class Doorkeeper:
    """`file` holds the node's papers, now or soon. For use in several processes and threads."""

    def __init__(self, authority: Authority, file: Path, clock: Callable[[], float] = time.time) -> None:
        self.opened = remembered(passes.LARGEST, partial(passes.opened, authority=authority))
        self.lent = remembered(lent.LARGEST, partial(lent.opened, authority=authority))
        self._file = file
        self._clock = clock
        self._seen: tuple[int, int] | None = None  # the file as it was read last
        self._papers = Papers()

    @property
    def papers(self) -> Papers:
        """As they are now."""
        try:
            found = self._file.stat()
        except FileNotFoundError:
            return self._papers
        seen = found.st_ino, found.st_mtime_ns
        if seen != self._seen:
            self._seen, self._papers = seen, Papers.kept(self._file)
        return self._papers

    def objection(self, peer_id: bytes, pass_: bytes, roles: Collection[str] = MEMBERS) -> str:
        """See `admits`; `pass_` is a SignedPass, or nothing."""
        papers = self.papers
        return admits(self.opened(pass_), peer_id, self._clock(), papers.heard_at, papers.barred, roles)
