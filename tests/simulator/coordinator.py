"""The coordinator's state machine, as virtual peers call it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from coordinator import decisions as d
from coordinator import events as e
from coordinator.ledger import Claim, Entry, Lease, Ledger
from coordinator.records import Checkpoint, Metrics, Pulse, RoundReport, Terms
from coordinator.rounds import ReportDeferred
from coordinator.state import State
from coordinator.tick import tick
from peer.exchange.belief import Told
from peer.exchange.rounds import Appeal
from swarm.ranges import Range
from tests.histories import assert_every_position_in_one_place

_START = Checkpoint(round=0, digest="start", sha256="0" * 64, size=1, global_samples=0)


class VirtualCoordinator:
    """One run; `now` is the simulation's clock. Raises AssertionError when the ledger does not add up."""

    def __init__(
        self, now: Callable[[], float], went_back: Callable[[int], None], granted: Callable[[int, set[str]], None]
    ) -> None:
        self._now = now
        self._went_back = went_back
        self._granted = granted
        self.entries: dict[Range, Entry] = {}  # what counts
        terms = Terms(run="run", total_rounds=1 << 20, target_batch_size=8, epoch_samples=1 << 40)
        self.state = State(terms=terms, ledger=Ledger(terms.epoch_samples), checkpoints={0: _START})

    def join(self, member: str, session: str, holds: int = 0, left_in: int = 0) -> None:
        """A process begins, or goes on after its membership ended, with a state of round `holds`. The one before said
        goodbye in round `left_in`, if it did.
        """
        before = self._before(member)
        self._tell(e.Join(member, b"k" * 32, member, "1", holds, session=session, replaces=before, left_in=left_in))

    def beat(self, member: str, session: str, pulse: Pulse) -> None:
        """A sign of life; whose membership ended joins again."""
        if _refused(self._tell(e.Heartbeat(member, pulse, session))):
            self.join(member, session, pulse.round)

    def leave(self, member: str, session: str) -> None:
        """It stops."""
        self._tell(e.Leave(member, "stopped", session))

    def lease(self, member: str, session: str, samples: int) -> Lease | None:
        """Samples to train on; None for a member that must join first."""
        made = self._tell(e.TakeLease(member, samples, session))
        return next((item.lease for item in made if isinstance(item, d.LeaseGranted)), None)

    def report(self, member: str, session: str, round_: int, digest: str, claims: Sequence[Claim]) -> bool:
        """The member finished the round before θ_round_, with samples of its leases in it. Whether that was taken: if
        not, it has to be said again later.
        """
        metrics = Metrics(digest, 8, 8 * round_, 1, 8, 1.0, 1, 1, 1, 1, self._now())
        key = f"{member}/{session}/{round_}/{digest}"
        made = self._tell(e.Report(member, (RoundReport(key, round_ - 1, metrics, tuple(claims)),), session=session))
        return not any(isinstance(item, ReportDeferred) for item in made)

    def grant(self, member: str, session: str, round_: int, appeal: Appeal) -> bool:
        """Whether these make the round."""
        made = self._tell(e.AskRound(member, round_, frozenset(appeal.members), session, appeal.blind))
        yes = any(isinstance(item, d.RoundGranted) for item in made)
        if yes and appeal.blind:
            self._granted(round_, {member.id for member in self.state.live})
        return yes

    def told(self) -> Told:
        """As a peer's supervisor reads the status."""
        polls = self.state.votes
        vouched = {number + 1: poll.agreed for number, poll in polls.items() if poll.agreed}
        latest = self.state.latest
        return Told(self.state.round, {**vouched, latest.round: latest.digest}, latest.round)

    def checkpoint(self, member: str, session: str, round_: int, digest: str) -> None:
        """Offer θ_round_ and bring it."""
        sha256 = hashlib.sha256(f"{round_}/{digest}".encode()).hexdigest()
        offered = Checkpoint(round_, digest, sha256, 1, 8 * round_, self._now(), member)
        self._tell(e.OfferCheckpoint(member, offered, session))
        self._tell(e.CheckpointUploaded(sha256, digest))

    def back(self) -> None:
        """It was away."""
        self._tell(e.Resumed())

    def _before(self, member: str) -> str:
        known = self.state.members.get(member)
        return known.session if known else ""

    def _tell(self, event: e.Event) -> list[d.Decision]:
        self.state, made = tick(self.state, [event], self._now(), 1)
        for item in made:
            if isinstance(item, d.WentBack):
                for entry in item.undone:
                    del self.entries[entry.range]
                self._went_back(item.back.round)
            if isinstance(item, d.ReportFiled):
                self.entries |= {entry.range: entry for entry in item.entries if entry.state == "counted"}
        assert_every_position_in_one_place(self.state.ledger, list(self.entries))
        return made


def _refused(made: list[d.Decision]) -> bool:
    return any(isinstance(item, d.Refused) for item in made)
