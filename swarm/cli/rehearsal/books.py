"""The coordinator of a rehearsal: its real state machine, told what virtual peers would tell it."""

from __future__ import annotations

import hashlib
import random
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from coordinator import decisions as d
from coordinator import events as e
from coordinator.ledger import Claim, Ledger
from coordinator.records import Checkpoint, Metrics, Pulse, RoundReport, Terms
from coordinator.rounds import ReportDeferred
from coordinator.state import State
from coordinator.tick import tick
from swarm.cli.rehearsal.peers import VirtualPeer
from swarm.cli.rehearsal.plan import Plan
from swarm.ranges import Range

_FIRST = Checkpoint(0, "round 0", "0" * 64, 1, 0)
_UNKNOWN_EPOCH = 1 << 40  # samples
_AHEAD_ROUNDS, _AHEAD_SECONDS = 25, 60.0  # of work that a peer has leased (`peer.worker`)


@dataclass
class Stock:
    """What a peer has leased and not used yet, and what it does in a round (falls slowly)."""

    session: str = ""
    leases: deque[tuple[str, Range]] = field(default_factory=deque)
    per_round: float = 0.0

    @property
    def left(self) -> int:
        return sum(len(lent) for _, lent in self.leases)

    def take(self, count: int) -> list[Claim]:
        """At most so many samples, the oldest lease first."""
        claims = []
        while count and self.leases:
            lease, lent = self.leases.popleft()
            used = Range(lent.start, min(lent.stop, lent.start + count))
            if used.stop < lent.stop:
                self.leases.appendleft((lease, Range(used.stop, lent.stop)))
            claims.append(Claim(lease, used))
            count -= len(used)
        return claims


class Books:
    """Members, leases and rounds. `lent` are the sizes of the newest leases."""

    def __init__(self, plan: Plan, rng: random.Random) -> None:
        spec = plan.spec
        self.epoch = plan.epoch or _UNKNOWN_EPOCH
        terms = Terms(
            spec.run.name,
            1 << 40,
            spec.training.target_batch_size,
            self.epoch,
            spec.checkpoint.keep,
        )
        self.state = State(terms=terms, ledger=Ledger(terms.epoch_samples), checkpoints={0: _FIRST})
        self.lent = deque[int](maxlen=256)
        self._rng = rng
        self._stocks: dict[int, Stock] = {}

    def present(self, peers: Iterable[VirtualPeer], round_: int, now: float) -> None:
        """These are here at that time: a sign of life of each, which may stand for many."""
        events: list[e.Event] = []
        for peer in peers:
            session = f"{peer.name}.{peer.session}"
            stock = self._stocks.get(peer.number)
            if stock is None or stock.session != session:
                self._stocks[peer.number] = Stock(session)
                events.append(e.Join(peer.name, b"k" * 32, peer.name, "1", round_, session=session))
            events.append(e.Heartbeat(peer.name, Pulse(round=round_, samples_per_second=peer.rate), session))
        self._tell(events, now)

    def lease(self, peer: VirtualPeer, samples: int, now: float) -> list[Claim]:
        """What it trains on; less than `samples` where the coordinator lends no more."""
        stock = self._stocks[peer.number]
        stock.per_round = max(samples, 0.9 * stock.per_round)
        wish = max(_AHEAD_ROUNDS * int(stock.per_round), min(int(_AHEAD_SECONDS * peer.rate), self.epoch // 2))
        while stock.left < samples and self._lend(peer, stock, max(wish, samples), now):
            pass
        return stock.take(samples)

    def _lend(self, peer: VirtualPeer, stock: Stock, wish: int, now: float) -> bool:
        made = self._tell([e.TakeLease(peer.name, wish, stock.session)], now)
        for item in made:
            if isinstance(item, d.LeaseGranted):
                stock.leases.append((item.lease.id, item.lease.range))
                self.lent.append(len(item.lease.range))
                return True
        return False

    def report(self, round_: int, group: Sequence[VirtualPeer], claims: Sequence[list[Claim]], now: float) -> int:
        """The group made the round before θ_round_, with these samples in it; how many of them counted."""
        total = sum(len(claim.range) for own in claims for claim in own)
        events: list[e.Report] = []
        for peer, own in zip(group, claims, strict=True):
            count = sum(len(claim.range) for claim in own)
            metrics = Metrics(_digest(round_), total, 0, len(group), count, 1.0, 1.0, 1.0, 0, 0, now)
            session = self._stocks[peer.number].session
            told = RoundReport(f"{session}/{round_}", round_ - 1, metrics, tuple(own))
            events.append(e.Report(peer.name, (told,), session=session))
        made = self._tell(events, now)
        later = {item.member for item in made if isinstance(item, ReportDeferred)}
        made += self._tell([event for event in events if event.member in later], now)
        filed = [item for item in made if isinstance(item, d.ReportFiled)]
        return sum(len(entry.range) for item in filed for entry in item.entries if entry.state == "counted")

    def grant(self, peer: VirtualPeer, round_: int, members: Sequence[str], blind: bool, now: float) -> bool:
        """Whether these may make the round."""
        asked = e.AskRound(peer.name, round_, frozenset(members), self._stocks[peer.number].session, blind)
        return any(isinstance(item, d.RoundGranted) for item in self._tell([asked], now))

    def offer(self, peer: VirtualPeer, round_: int, now: float) -> str:
        """The peer brings θ_round_; what names it once it is here."""
        sha256 = hashlib.sha256(_digest(round_).encode()).hexdigest()
        offered = Checkpoint(round_, _digest(round_), sha256, 1, 0, now, peer.name)
        self._tell([e.OfferCheckpoint(peer.name, offered, self._stocks[peer.number].session)], now)
        return sha256

    def uploaded(self, sha256: str, round_: int, now: float) -> None:
        """All of it is here."""
        self._tell([e.CheckpointUploaded(sha256, _digest(round_))], now)

    def _tell(self, events: Sequence[e.Event], now: float) -> list[d.Decision]:
        self.state, made = tick(self.state, events, now, self._rng.getrandbits(32))
        return made


def _digest(round_: int) -> str:
    return f"round {round_}"
