"""Which nodes have shown a pass, as the run's records say. For one event loop."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from peer.doorkeeper import Doorkeeper
from peer.newest import Newest
from peer.seals import Claim
from swarm.proto import coordinator_pb2 as pb

_REMEMBERED = 4096  # passes
_PAUSE = 1.0  # seconds between two looks for the sake of unknown callers
_LOOKS = 2  # the one that goes on may have begun before the caller wrote its record
_WAITING = 256  # calls of unknown callers that wait for a look
_WAITING_OF_ONE = 8


async def _nowhere() -> None:
    """The look of who knows no records."""


class Roll:
    """Without a doorkeeper everybody is let in: an exchange by itself, as in tests.

    `look` reads the records anew and `note`s the passes in them; it may raise OSError, EOFError.
    """

    def __init__(self, doorkeeper: Doorkeeper | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.look: Callable[[], Awaitable[object]] = _nowhere
        self._doorkeeper = doorkeeper
        self._clock = clock
        self._passes = Newest[bytes, bytes](_REMEMBERED)
        self._waiting: Counter[bytes] = Counter()
        self._looking: asyncio.Task[None] | None = None
        self._looked_at = -_PAUSE

    @property
    def checks(self) -> bool:
        """Whether records and callers are looked at."""
        return self._doorkeeper is not None

    def note_own(self, peer_id: bytes) -> None:
        """This node's newest pass."""
        if self._doorkeeper:
            self.note(peer_id, self._doorkeeper.papers.own)

    def note(self, peer_id: bytes, pass_: bytes) -> None:
        """A node's newest pass, where they are looked at."""
        if self._doorkeeper:
            self._passes[peer_id] = pass_

    def objection(self, peer_id: bytes) -> str:
        """Why the node does not count now, by what is known of it; empty when it does."""
        if self._doorkeeper is None:
            return ""
        return self._doorkeeper.objection(peer_id, self._passes.get(peer_id, b""))

    def names(self, peer_id: bytes, member: str) -> bool:
        """Whether the node may speak of itself as that member."""
        pass_ = self.shown(peer_id)
        return not self.checks or (pass_ is not None and pass_.member == member)

    async def admit(self, peer_id: bytes) -> str:
        """Why a caller is refused; who is not known is looked for first."""
        if not self.objection(peer_id) or self._is_barred(peer_id):
            return self.objection(peer_id)
        if self._waiting[peer_id] >= _WAITING_OF_ONE or self._waiting.total() >= _WAITING:
            return "too many calls of nodes without a pass wait already"
        self._waiting[peer_id] += 1
        try:
            return await self._search(peer_id)
        finally:
            self._waiting -= Counter([peer_id])

    async def know(self, peers: Iterable[bytes]) -> None:
        """Look for those of them whose pass is not known."""
        for peer in peers:
            await self.admit(peer)

    async def _search(self, peer_id: bytes) -> str:
        why = ""
        for _ in range(_LOOKS):
            if self._looking is None or self._looking.done():
                self._looking = asyncio.ensure_future(self._look())
            await asyncio.shield(self._looking)
            if not (why := self.objection(peer_id)):
                break
        return why

    async def _look(self) -> None:
        await asyncio.sleep(self._looked_at + _PAUSE - self._clock())
        self._looked_at = self._clock()
        with suppress(OSError, EOFError):
            await self.look()

    def shown(self, peer_id: bytes) -> pb.Pass | None:
        """What the node's newest pass says, whether it counts or not."""
        return self._doorkeeper.opened(self._passes.get(peer_id, b"")) if self._doorkeeper else None

    def lent(self, word: bytes) -> pb.Lent | None:
        """What the coordinator's word on a lease says; None when it is none, or nobody looks."""
        return self._doorkeeper.lent(word) if self._doorkeeper else None

    def _is_barred(self, peer_id: bytes) -> bool:
        pass_ = self.shown(peer_id)
        return pass_ is not None and self._doorkeeper is not None and pass_.member in self._doorkeeper.papers.barred


class Passes:
    """See `peer.seals.Keyring`: a member's key is the one in its node's pass, which must count now."""

    lends = True

    def __init__(self, roll: Roll) -> None:
        self._roll = roll

    def objection(self, claim: Claim, public_key: bytes) -> str:
        if why := self._roll.objection(claim.peer_id):
            return why
        pass_ = self._roll.shown(claim.peer_id)
        own = pass_ is not None and (pass_.member, pass_.public_key) == (claim.member, public_key)
        return "" if own else f"its pass is not that of {claim.member}"

    def lent(self, word: bytes) -> pb.Lent | None:
        return self._roll.lent(word)
