"""The training loop, one for every mode: accumulate an update, exchange it, apply the result."""

from __future__ import annotations

import time
from concurrent.futures import wait
from dataclasses import replace

from peer import health
from peer.damage import hurt
from peer.exchange.base import Applied, Phase, Result, Resync, Retry, Update, View
from peer.feed import Batch
from peer.finite import all_finite
from peer.leases import MOST
from peer.recovery import catch_up, look, quarantine, recover, take_over
from peer.workbench import Peer, RoundDone, Travel, Work
from swarm.faults import Fault
from swarm.moments import reach

_IDLE_SECONDS = 0.05  # between looks while there is nothing to train on
_RETRY_SECONDS = 0.1
_LOOK_SECONDS = 5.0  # without work, before the coordinator is asked how far the run is


def train(peer: Peer) -> None:
    """Train until the run's last round is done, or as the orders want it."""
    while (not peer.finished or peer.finding) and not peer.orders.stop.is_set() and not peer.drained:
        if peer.travel:
            _travel_on(peer, peer.travel)
        elif peer.finding:
            recover(peer, peer.finding)
        elif found := look(peer):
            quarantine(peer, found)
        else:
            _go_on(peer)


def _go_on(peer: Peer) -> None:
    """One step of a round: a batch, its end, or a look around."""
    room = 0 if peer.checks else peer.room
    view = peer.exchange.progress(peer.learner.round, peer.work.samples, peer.rate, done=not room)
    ends = view.phase is Phase.CLOSING
    if view.phase is Phase.BEHIND:
        catch_up(peer, view.why)
    elif peer.overlaps and (ends or not (room or peer.checks)):
        _depart(peer, view.members)
    elif ends:
        _end_round(peer, view)
    elif peer.checks:
        _check(peer, view.members)
    elif not room or _suffices(peer, view):
        _await_others(peer, view)
    elif batch := peer.source.take(_batch_size(peer, room)):
        _promise(peer, batch)
        _learn(peer, batch, view.members)
    else:
        _idle(peer, view.members)


def _depart(peer: Peer, members: int) -> None:
    """Let the update travel; what is done from now on is the next round's."""
    if not (update := _update(peer)):
        return
    now = time.monotonic()
    peer.travel = Travel(peer.work, now, members, peer.traveller.submit(peer.exchange.exchange, update))
    peer.work = Work(now)


def _travel_on(peer: Peer, travel: Travel) -> None:
    """One step of the next round while the last one's update travels."""
    if travel.result.done():
        _arrive(peer, travel)
    elif not (room := peer.room) or peer.last_round or peer.orders.drain.is_set() or peer.finding:
        peer.tell("exchanging", "the next round begins when the swarm's update has come", travel.members)
        wait([travel.result], _IDLE_SECONDS)
    elif peer.checks:
        _check(peer, travel.members)
    elif batch := peer.source.take(_batch_size(peer, room)):
        _learn(peer, batch, travel.members)
    else:
        peer.tell("waiting", peer.source.why, travel.members)
        wait([travel.result], _IDLE_SECONDS)


def _arrive(peer: Peer, travel: Travel) -> None:
    peer.travel, result = None, travel.result.result()
    if isinstance(result, Applied):
        _apply(peer, result, travel.work, travel.departed)
        return
    travel.work.add(peer.work)
    peer.work = travel.work
    peer.learner.recall()
    _not_applied(peer, result, travel.members)


def _idle(peer: Peer, members: int) -> None:
    """Nothing to train on. When that lasts, the run may have gone on, or to its end, while nobody could say so."""
    peer.tell("waiting", peer.source.why, members)
    time.sleep(_IDLE_SECONDS)
    if time.monotonic() - max(peer.busy, peer.work.started) < _LOOK_SECONDS:
        return
    peer.busy = time.monotonic()
    if path := peer.latest_checkpoint():
        take_over(peer, path, f"the run's checkpoint is of a later round: {peer.source.why or 'nothing to train on'}")


def _check(peer: Peer, members: int) -> None:
    """One step of another member's round."""
    peer.tell("checking", "this peer does another member's round again, and takes no samples meanwhile", members)
    if peer.checker:
        peer.checker.step()
    peer.busy = time.monotonic()


def _suffices(peer: Peer, view: View) -> bool:
    """Whether the open round lacks members, not samples: more of this peer's would be for nothing."""
    return bool(peer.work.samples) and peer.learner.suffices(view.samples)


def _await_others(peer: Peer, view: View) -> None:
    """All that this peer may do in this round is done."""
    if _suffices(peer, view):
        why = "the round has enough samples; it closes when they are of enough members"
    else:
        done = f"samples are of {MOST} leases, as many as may go into a round" if peer.full else "steps are done"
        why = f"this peer's {done}; the round closes when the others' are"
    peer.tell("waiting", f"{why} ({view.why})" if view.why else why, view.members)
    peer.orders.stop.wait(_IDLE_SECONDS)
    peer.busy = time.monotonic()


def _batch_size(peer: Peer, room: int) -> int:
    """As many samples as fit, and no more than are done in half of the grace time: a round that closes waits for the
    batch that everybody has begun, and a slow peer's must not be missed.
    """
    in_time = int(peer.rate * peer.learner.spec.exchange.grace_seconds / 2)
    return min(room, max(1, in_time)) if peer.rate else room


def _promise(peer: Peer, batch: Batch) -> None:
    """Say what is about to be computed, so that the round closes when the swarm's last batches are begun.

    Closing only when they are done would let everybody begin one more.
    """
    peer.exchange.progress(peer.learner.round, peer.work.samples + len(batch.samples), peer.rate)


def _learn(peer: Peer, batch: Batch, members: int) -> None:
    hurt(peer.learner.parameters, reach("train", peer.learner.round))
    started = time.perf_counter()
    loss = peer.learner.learn(batch.samples)
    seconds = time.perf_counter() - started
    peer.work.loss += loss
    peer.work.samples += len(batch.samples)
    peer.work.compute += seconds
    peer.work.used.append(batch.source)
    peer.busy = peer.work.trained = time.monotonic()
    peer.rate = _smooth(peer.rate, peer.orders.duty * len(batch.samples) / seconds)
    if found := peer.health.of_batch(loss / len(batch.samples)):
        quarantine(peer, found)
        return
    peer.tell("training", "", members)
    peer.orders.rest(seconds, lambda: peer.tell("training", "", members))


def _end_round(peer: Peer, view: View) -> None:
    peer.tell("exchanging", view.why, view.members)
    if not (update := _update(peer)):
        return
    result = peer.exchange.exchange(update)
    if isinstance(result, Applied):
        _apply(peer, result, peer.work, 0.0)
    else:
        _not_applied(peer, result, view.members)


def _update(peer: Peer) -> Update | None:
    """What this peer adds to the round; None when it is not fit to leave this machine."""
    update = replace(peer.learner.update(peer.work.samples), uses=peer.work.uses, watched=peer.watched)
    if found := look(peer) or health.of_update(all_finite(update.tensors.values())):
        quarantine(peer, found)
        return None
    return update


def _apply(peer: Peer, result: Applied, work: Work, departed: float) -> None:
    """Take the round's step with `work` in it; `departed` is when its update did, if training went on since."""
    learner = peer.learner
    hurt(result.mean, reach("apply", learner.round))
    if peer.checker:
        peer.checker.keep(learner, result)
    began = time.monotonic()
    learner.apply(result)
    now = time.monotonic()
    peer.work = peer.work if departed else Work(now)
    peer.health.round_done()
    _say_done(peer, result, work, departed or now, now - began)
    if found := health.of_state(learner.sound, learner.round):
        quarantine(peer, found)


def _not_applied(peer: Peer, result: Result, members: int) -> None:
    if isinstance(result, Resync):
        if result.differs:
            quarantine(peer, health.Finding(Fault.OTHER_STATE, result.why))
        else:
            catch_up(peer, result.why)
    elif isinstance(result, Retry) and not result.finite:
        quarantine(peer, health.Finding(Fault.NOT_FINITE, result.why))
    elif isinstance(result, Retry):
        peer.tell("waiting", result.why, members)
        peer.orders.stop.wait(_RETRY_SECONDS)
        peer.busy = time.monotonic()


def _say_done(peer: Peer, result: Applied, work: Work, ended: float, applying: float) -> None:
    """A round ended with `work` in it; `ended` is when its last batch was done and all was exchanged, or departed."""
    learner = peer.learner
    peer.listener.round_done(
        RoundDone(
            round=learner.round - 1,
            digest=learner.digest,
            swarm_samples=result.samples,
            global_samples=learner.global_samples,
            members=result.members,
            work=work,
            seconds=ended - work.started,
            bytes_sent=result.bytes_sent,
            bytes_received=result.bytes_received,
            apply_seconds=applying,
        )
    )


def _smooth(old: float, new: float) -> float:
    return 0.8 * old + 0.2 * new if old else new
