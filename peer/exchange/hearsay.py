"""Later rounds that members speak of, as a peer hears of them, and what it believes of that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping

from peer.exchange.belief import Standpoint, Told, believed
from peer.exchange.rounds import Member, leader_of, voters_of

_ANY = 1 << 62  # later than every round
_PAUSE = 2.0  # seconds before the coordinator is asked again

# What the coordinator says of the run now; an empty word when it cannot be asked.
Ask = Callable[[], Awaitable[Told]]


async def nothing_known() -> Told:
    """Of a coordinator that cannot be asked."""
    return Told()


async def as_they_say() -> Told:
    """Of a swarm without a coordinator, whose arbiter says yes to everybody, too."""
    return Told(_ANY)


class Hearsay:
    """For one event loop. `members` are all live ones, the node `own` among them."""

    def __init__(self, own: bytes, members: Callable[[], Collection[Member]]) -> None:
        self.makers: Callable[[int], Collection[str]] = lambda _: ()  # who made θ of that round
        self.voted: Callable[[], int] = lambda: 0  # the latest round whose state this member may have made
        self.left: Callable[[], Mapping[str, int]] = dict  # members that said goodbye, and in which round
        # The round of the last state that this leader let be made, and the nodes that made it.
        self.decided: tuple[int, frozenset[bytes]] = 0, frozenset()
        self.ask: Ask = nothing_known
        self._own = own
        self._members = members
        self._words: dict[bytes, int] = {}  # later rounds than the own one, by node
        self._told = Told()
        self._asking: asyncio.Task[None] | None = None

    def note(self, peer: bytes, round_: int, own: int) -> None:
        """That node is in this round, while the own peer is in `own`."""
        self._words.pop(peer, None)
        if round_ > own:
            self._words[peer] = round_

    def believed(self, own: int) -> int:
        """The round in which the run is, for a peer that is in `own`; nobody else decides it by a word."""
        if self._told.checkpoint > own:
            return self._told.checkpoint
        if not self._words:
            return 0
        known = {member.peer_id: member.name for member in self._members()}
        self._words = {peer: round_ for peer, round_ in self._words.items() if peer in known and round_ > own}
        if not self._words:
            return 0
        words = {known[peer]: round_ for peer, round_ in self._words.items()}
        found = believed(self.standpoint(own), {**self.left(), **words}, self._told.round)
        if found <= own:
            self.inquire()
        return found

    def inquire(self) -> None:
        """Ask the coordinator how far the run is, unless that is on its way."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(self._inquire())

    async def _inquire(self) -> None:
        self._told = await self.ask()
        await asyncio.sleep(_PAUSE)

    def works_on(self, holds: int, led: int) -> int:
        """The round of a peer that holds θ_holds and has led the rounds before `led`: it may have to fetch what it let
        be made, but not a state that ended with the processes of all who made it.
        """
        decided, makers = self.decided
        lost = decided == led and makers.isdisjoint(member.peer_id for member in self._members())
        return holds if lost else max(holds, led)

    def standpoint(self, round_: int) -> Standpoint:
        """That of a peer in `round_`."""
        members = {member.peer_id: member for member in self._members()}
        own = members.get(self._own, Member(0.0, self._own, active=False))
        active = [member for member in members.values() if member.active]
        holding = frozenset(voters_of([one.name for one in active], {one.name for one in active if one.light}))
        makers, voted = frozenset(self.makers(round_)), self.voted()
        deciders = self._deciders(round_, members) if own.active and voted > round_ else frozenset()
        return Standpoint(own.name, round_, holding, makers, own.active and voted <= round_, deciders, voted)

    def _deciders(self, round_: int, members: Mapping[bytes, Member]) -> frozenset[str]:
        """Who knows what came of the round for which this member voted; it may have led it, and got another average. A
        process that was started anew is another node: it knows nothing of that state any more.
        """
        decided, makers = self.decided
        if decided == round_ + 1:
            return frozenset(members[node].name for node in makers if node in members)
        leader = leader_of(members.values())
        return frozenset({leader.name} if leader else ())
