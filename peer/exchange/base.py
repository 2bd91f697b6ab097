"""How updates become the next θ: the interface that the training loop sees.

Two implementations: `swarm.py` (real peers) and `solo.py` (one peer, no network).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from torch import Tensor

from peer.codecs import Floats
from peer.leases import MOST, Use
from peer.merge import Contribution
from swarm.ranges import Range


class Phase(Enum):
    """What a peer should do now, by the leader's word."""

    OPEN = "open"  # go on accumulating
    CLOSING = "closing"  # the swarm's target is reached: exchange
    BEHIND = "behind"  # the swarm is in a later round: fetch its state


@dataclass(frozen=True)
class View:
    """The swarm as this peer last heard of it; `why`, for the volunteer, is of the phase: what an open round lacks."""

    phase: Phase
    round: int
    samples: int
    members: int
    why: str


@dataclass(frozen=True)
class Update:
    """What a peer adds to a round, on the CPU: in gradient mode the mean gradient over `samples` samples at θ_round,
    fp32; in local mode how far its own steps went, θ_round − θ_local, and what earlier updates left behind.

    `digest` is θ_round's. A peer with no samples may still take part, to receive the result; its tensors are zeros.
    `device` is where the model is, as torch names it: a codec may compute there. `uses` are the leases that the samples
    are of; none where nobody asks for leases. `watched` is the member of whose gradient this peer wants to keep what it
    sees; nobody but itself hears of that.
    """

    round: int
    digest: str
    samples: int
    tensors: dict[str, Tensor]
    device: str = "cpu"
    uses: tuple[Use, ...] = ()
    watched: str = ""

    @property
    def full(self) -> bool:
        """Whether it shows as many leases as it may."""
        return len(self.uses) >= MOST


@dataclass(frozen=True)
class Seen:
    """What a peer saw of another member's gradient, as it travelled: its parts, by where they are among all values one
    behind the other (`peer.exchange.butterfly.flat`). First those that the peer averages, then with the clipped mean
    one that was drawn when nobody could change anything any more. `samples` is of how many the member said that it is.
    """

    samples: int
    looks: tuple[Mapping[Range, Floats], ...]


@dataclass(frozen=True)
class Applied:
    """The round's result, the same bytes for every member of the group: apply it.

    `mean` is the group's mean (local mode: the combined update, `peer.combine`), `norm` its global L2 norm as the
    leader measured it. In local mode `taken` is what of this peer's own update is in it, and `lost` is what averaging
    lost of adapters (`peer.factors.lost`), `sent` what each member sent that is in it. In gradient mode `seen` is what
    this peer saw of what the watched member sent, if it saw anything.
    """

    mean: dict[str, Tensor]
    norm: float
    samples: int
    members: int
    bytes_sent: int = 0
    bytes_received: int = 0
    taken: dict[str, Tensor] = field(default_factory=dict)
    lost: float = 0.0
    sent: dict[str, Contribution] = field(default_factory=dict)
    seen: dict[str, Seen] = field(default_factory=dict)


@dataclass(frozen=True)
class Retry:
    """Nobody applied anything: keep the update and go on accumulating. Unless the average was not `finite`: somebody's
    update spoils it, perhaps this peer's.
    """

    why: str
    finite: bool = True


@dataclass(frozen=True)
class Resync:
    """The swarm agreed without this update, or on another state: fetch the state; the update is lost. `differs` says
    that this peer's state, or its average, is not the majority's.
    """

    why: str
    differs: bool = False


Result = Applied | Retry | Resync


@dataclass(frozen=True)
class Fetched:
    """A state file from the swarm, checked against its SHA-256."""

    path: Path
    round: int
    digest: str
    made_by: tuple[str, ...] = ()  # the members whose group made it; empty when the donor does not know


# Writes this peer's state and says (file, round, digest); None when it holds none that can be trusted. Called from
# other threads.
StateSource = Callable[[int], tuple[Path, int, str] | None]  # the state of that round or a later one


class Exchange(Protocol):
    """One peer's side of the rounds. Called from the training thread only."""

    def serve_state(self, source: StateSource) -> None:
        """Let others fetch this peer's state, and count as a member that holds it."""

    def progress(self, round_: int, samples: int, samples_per_second: float, done: bool = False) -> View:
        """Say how far this peer is, and whether it has taken all its steps; returns at once with the newest view."""

    def exchange(self, update: Update) -> Result:
        """Take part in the end of the round. Waits for the others, at most the spec's timeouts."""

    def leads(self) -> bool:
        """Whether this peer is the one that hands checkpoints over."""

    def evaluates(self, round_: int) -> bool:
        """Whether this peer is the one that measures θ_round on the held-out samples."""

    def fetch_state(self, at_least: int, folder: Path) -> Fetched | None:
        """Download the state of the furthest member; None when nobody else has round `at_least` or later."""

    def close(self) -> None:
        """Say goodbye and stop talking; never raises, takes at most three seconds."""
