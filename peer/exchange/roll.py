"""Which nodes have shown a pass, as the run's records say. For one event loop.

A member is one node: that of its newest pass. A process that was started anew has another node than the one before,
whose record lives on for seconds; and who has many nodes is one member all the same.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from math import inf

from peer.doorkeeper import Doorkeeper
from peer.newest import Newest
from peer.seals import Claim
from swarm.proto import coordinator_pb2 as pb

_REMEMBERED = 4096  # members
_PAUSE = 1.0  # seconds between two looks for the sake of unknown callers
_LOOKS = 2  # the one that goes on may have begun before the caller wrote its record
_GONE = 60.0  # seconds after which a node whose record is not seen any more is gone: records live shorter
_WAITING = 256  # calls of unknown callers that wait for a look
_WAITING_OF_ONE = 8


@dataclass(frozen=True)
class _Seen:
    """A member's node, when its newest pass was issued (the coordinator's clock), and when its record was seen last."""

    node: bytes
    issued_at: float
    at: float


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
        self._passes = Newest[bytes, bytes](_REMEMBERED)  # by node, one for each member
        self._nodes = Newest[str, _Seen](_REMEMBERED)  # by member
        self._replaced = Newest[bytes, None](_REMEMBERED)  # nodes whose member has another one by now
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
        """A node's pass, where they are looked at; of its member's the newest counts."""
        found = self._doorkeeper.opened(pass_) if self._doorkeeper else None
        if found is None or found.peer_id != peer_id:
            return
        member = found.member or peer_id.hex()  # the coordinator's nodes are nobody's
        now = self._clock()
        before = self._nodes.get(member, _Seen(peer_id, -inf, now))
        if before.node != peer_id and before.at < now - _GONE:  # the coordinator's clock may have been set back
            before = replace(before, issued_at=-inf)
        if (found.issued_at, peer_id == before.node) < (before.issued_at, True):
            self._replace(peer_id, before.node)
        else:
            self._replace(before.node, peer_id)
            self._passes[peer_id] = pass_
            before = _Seen(peer_id, found.issued_at, now)
        self._nodes[member] = replace(before, at=now if before.node == peer_id else before.at)

    def _replace(self, before: bytes, after: bytes) -> None:
        self._replaced.pop(after, None)
        if before != after:
            self._passes.pop(before, None)
            self._replaced[before] = None

    def objection(self, peer_id: bytes) -> str:
        """Why the node does not count now, by what is known of it; empty when it does."""
        if self._doorkeeper is None:
            return ""
        if peer_id in self._replaced:
            return "its member has a newer pass, for another node"
        return self._doorkeeper.objection(peer_id, self._passes.get(peer_id, b""))

    def names(self, peer_id: bytes, member: str) -> bool:
        """Whether the node may speak of itself as that member."""
        pass_ = self.shown(peer_id)
        return not self.checks or (pass_ is not None and pass_.member == member)

    async def admit(self, peer_id: bytes) -> str:
        """Why a caller is refused; who is not known is looked for first."""
        if not self.objection(peer_id) or self._is_barred(peer_id) or peer_id in self._replaced:
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
        """What the node's newest pass says, whether it counts or not; None where nobody asks for passes, or it has
        none.
        """
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
