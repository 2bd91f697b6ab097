"""Back to the agreed state: for a peer that fell behind, and for one that does not trust itself any more.

Who quarantines itself drops what it computed and pauses a little, longer each time. It goes on from its own θ when
only its computing went wrong and θ is still what it was; else from the other members' state; else it is started again,
from the coordinator's checkpoint.
"""

from __future__ import annotations

import time
from pathlib import Path

from peer import health
from peer.health import Finding
from peer.workbench import Peer, RoundDone, Work
from swarm.errors import UnreachableError, UnsoundError
from swarm.faults import DIVERGING, Fault
from swarm.moments import reach

_LOOK_SECONDS = 0.5
_PATIENCE_SECONDS = 15.0  # without anybody's state


def catch_up(peer: Peer, why: str) -> None:
    """Fetch the agreed state; what was accumulated at the old one is dropped and said so."""
    peer.tell("syncing", why, 0)
    reach("sync")
    path = _newer_state(peer)
    if path is None:
        peer.orders.stop.wait(1.0)
        return
    take_over(peer, path, why)


def take_over(peer: Peer, path: Path, why: str) -> None:
    """Go on from the state of a file, without what was accumulated."""
    missed = peer.learner.round
    peer.learner.load(path)
    _drop(peer, missed, why)
    if found := health.of_state(peer.learner.sound, peer.learner.round):
        quarantine(peer, found)


def look(peer: Peer) -> Finding | None:
    """What is wrong with the state that this peer holds: what the coordinator said of it, or what its memory says."""
    learner, doubt = peer.learner, peer.orders.doubt
    if doubt and doubt[0] == learner.digest:
        return Finding(Fault.OTHER_STATE, doubt[1])
    due = health.look_due(time.monotonic() - learner.digested_at, learner.digest_seconds)
    return health.of_memory(not learner.altered and (not due or learner.intact()), learner.round)


def quarantine(peer: Peer, found: Finding) -> None:
    """Trust nothing that was computed since θ_round, say why, and recover. Raises UnsoundError when that helped too
    often only for a short while.
    """
    learner = peer.learner
    if found.fault in DIVERGING:  # else that is what it is about
        found = health.of_memory(learner.intact(), learner.round) or found
    in_a_row = peer.health.quarantined()
    peer.finding, peer.quarantined_at = found, time.monotonic()
    peer.ready_at = peer.quarantined_at + health.pause_after(in_a_row)
    _drop(peer, learner.round, found.why)
    peer.exchange.progress(learner.round, 0, peer.rate)  # nobody waits for what is dropped
    peer.listener.quarantined(found, learner.round, in_a_row)
    if peer.checker:
        peer.checker.give_up("the checker found its own state or computing wrong")
    if in_a_row >= health.MOST:
        raise UnsoundError(
            f"What this machine computed was wrong {in_a_row} times with hardly a round between; the last time: "
            f"{found.why}. None of it is in the model.",
            "Test this machine's memory and GPU, and take back overclocking; try another --device. When others of the "
            "run see the same, tell its maintainer.",
        )


def recover(peer: Peer, found: Finding) -> None:
    """One step of a quarantine. Raises UnreachableError when nobody gives the state in time."""
    peer.tell("syncing", f"in quarantine: {found.why}", 0)
    _drop(peer, peer.learner.round, found.why)  # what came back from a round that failed
    if (left := peer.ready_at - time.monotonic()) > 0:
        peer.orders.stop.wait(min(left, _LOOK_SECONDS))
        return
    reach("sync")
    if not _recovered(peer, found):
        _wait_on(peer, found)


def _recovered(peer: Peer, found: Finding) -> bool:
    """Whether this peer holds a state again that it can trust."""
    learner = peer.learner
    if found.fault not in DIVERGING or not learner.sound:
        fetched = peer.exchange.fetch_state(learner.round, peer.state_folder)
        path = fetched.path if fetched else peer.latest_checkpoint()
        if path is None:
            return False
        learner.discard()
        learner.load(path)
    else:
        learner.discard()
    if not learner.sound:
        return False
    peer.finding, peer.orders.doubt = None, None
    return True


def _wait_on(peer: Peer, found: Finding) -> None:
    if time.monotonic() - peer.quarantined_at > _PATIENCE_SECONDS:
        raise UnreachableError(
            f"This peer is in quarantine ({found.why}), and no other member gave a state to go on from.",
            "It is started again, from the coordinator's checkpoint.",
        )
    peer.orders.stop.wait(_LOOK_SECONDS)


def _newer_state(peer: Peer) -> Path | None:
    fetched = peer.exchange.fetch_state(peer.learner.round, peer.state_folder)
    if fetched and (fetched.round > peer.learner.round or fetched.digest != peer.learner.digest):
        return fetched.path
    return peer.latest_checkpoint()


def _drop(peer: Peer, round_: int, why: str) -> None:
    """What was accumulated in `round_` is in no round, and said so, also where others gave no reason."""
    work, peer.work = peer.work, Work(time.monotonic())
    if not work.samples:
        return
    seconds = peer.work.started - work.started
    why = why or "the swarm went on without this peer"
    done = RoundDone(round_, "", 0, peer.learner.global_samples, 0, work, seconds, dropped_why=why)
    peer.listener.round_done(done)
