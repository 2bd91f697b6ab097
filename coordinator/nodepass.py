"""The papers of the run's DHT node: it is let in by the coordinator as members are, and hears who is barred."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from swarm import log, passes
from swarm.identity import ServerCertificate
from swarm.papers import Hearing, Papers
from swarm.proto import coordinator_pb2 as pb

logger = log.get(__name__)


class NodePapers:
    """Kept in `file`, which the node's processes read. `barred` names the members whose passes count no more."""

    def __init__(
        self,
        run: str,
        certificate: ServerCertificate,
        barred: Callable[[], Iterable[str]],
        file: Path,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.file = file
        self._run = run
        self._certificate = certificate
        self._barred = barred
        self._clock = clock
        self._hearing = Hearing()
        self._node = b""
        self._issued_at = 0.0
        self._papers = Papers()

    def begin(self, node: bytes) -> None:
        """Let the node with that libp2p id in."""
        self._node, self._issued_at = node, 0.0
        self._hearing = Hearing(Papers.kept(self.file).heard_at)
        self.keep()

    def keep(self) -> None:
        """Call it often: who is barred is written down at once, a new pass in time. A full disk is said only."""
        now = self._clock()
        self._hearing.note(now, self._barred())
        due = not 0 <= now - self._issued_at < passes.RENEWAL
        own = self._signed(now) if due and self._node else self._papers.own
        papers = Papers(own, self._hearing.heard_at, frozenset(self._hearing.barred))
        if not due and not papers.is_news(self._papers):
            return
        try:
            papers.keep(self.file)
        except OSError as error:
            logger.warning("the papers of the run's node could not be written: %s", error)
            return
        self._papers, self._issued_at = papers, now if due else self._issued_at

    def _signed(self, now: float) -> bytes:
        expires_at = now + passes.LIFETIME
        found = pb.Pass(run=self._run, peer_id=self._node, role=passes.NODE, issued_at=now, expires_at=expires_at)
        return passes.signed(found, self._certificate)
