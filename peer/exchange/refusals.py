"""Who is refused, and why: said to the caller each time, and in the log once."""

from __future__ import annotations

from peer.newest import Newest
from swarm import log

logger = log.get(__name__)

_REMEMBERED = 256


class RefusedCallError(Exception):
    """Somebody called who may not; the caller hears the reason."""


class Refusals:
    """Of one node."""

    def __init__(self) -> None:
        self._said = Newest[bytes, str](_REMEMBERED)

    def refuse(self, peer_id: bytes, what: str, why: str) -> RefusedCallError:
        """The error to raise; the log says it unless it was said of this node before."""
        if self._said.get(peer_id) != why:
            logger.warning("node %s is refused (%s): %s", peer_id.hex()[-12:] or "without a key", what, why)
        self._said[peer_id] = why
        return RefusedCallError(f"refused: {why}")
