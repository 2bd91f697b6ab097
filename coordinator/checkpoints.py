"""Which checkpoints the run takes and keeps. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from coordinator import decisions as d
from coordinator import evaluations
from coordinator import events as e
from coordinator.records import Checkpoint
from coordinator.state import State, Step, advanced, doubt
from coordinator.steering import CheckpointApproved
from swarm.errors import NotFoundError

_GROWTH = 8  # the first state has no optimizer's part, and may be in a smaller format
_SLACK = 64 << 20  # bytes


def offer(state: State, event: e.OfferCheckpoint) -> Step:
    """Whether the offered file is wanted; of each member one at a time."""
    offered = event.checkpoint
    why = _objection(state, offered)
    if why:
        return state, [d.CheckpointOffered(offered, why)]
    others = {key: value for key, value in state.offers.items() if value.uploaded_by != event.member}
    kept = {offered.sha256, *others, *(it.sha256 for it in state.checkpoints.values())}
    given_up = [value for key, value in state.offers.items() if key not in kept]
    dropped = [d.CheckpointDropped(value, f"{event.member} offers another one") for value in given_up]
    return replace(state, offers={**others, offered.sha256: offered}), [*dropped, d.CheckpointOffered(offered, "")]


def _objection(state: State, offered: Checkpoint) -> str:
    """Why a checkpoint is not wanted; empty when it is."""
    if offered.round in state.checkpoints:
        return "it is already here"
    if offered.round < state.latest.round:
        return f"a newer one, of round {state.latest.round}, is here"
    if offered.size > _GROWTH * state.latest.size + _SLACK:
        return "no state of this run is as large"
    return doubt(state, offered.round, offered.digest)


def uploaded(state: State, event: e.CheckpointUploaded) -> Step:
    """Take an offered checkpoint whose bytes are here."""
    offered = state.offers.get(event.sha256)
    if offered is None:  # another member's upload of the same file was faster
        return state, []
    offers = {key: value for key, value in state.offers.items() if key != event.sha256}
    state = replace(state, offers=offers)
    if event.digest != offered.digest:
        what = f"The checkpoint of round {offered.round} does not hold the state that it was offered as."
        return state, [d.Refused(what, "It is not used.")]
    if why := _objection(state, offered):  # the answer may be another than when it was offered
        return state, [d.CheckpointOffered(offered, why)]
    pinned = {campaign.round for campaign in state.trials.open}
    found = {**state.checkpoints, offered.round: offered}
    kept, dropped = _retained(found, state.terms.keep_checkpoints, pinned)
    ledger = state.ledger.forget_before(newest(kept, state.terms.keep_checkpoints)[0])
    after = replace(state, checkpoints=kept, ledger=ledger)
    made = [d.CheckpointAccepted(offered), *dropped, *advanced(state, after)]
    after, contradicted = evaluations.checked(after, offered.round)
    return after, [*made, *contradicted]


def _retained(
    found: dict[int, Checkpoint], keep: int, pinned: Collection[int]
) -> tuple[dict[int, Checkpoint], list[d.Decision]]:
    """The newest `keep`, to which the run may go back, the first one, those approved and those that open campaigns need
    (`pinned`); the others are dropped.
    """
    recent = newest(found, keep)
    wanted = {*recent, 0, *pinned, *(key for key, value in found.items() if value.approved_by)}
    kept = {key: value for key, value in found.items() if key in wanted}
    return kept, [
        d.CheckpointDropped(found[key], f"only the newest {keep} are kept") for key in found if key not in kept
    ]


def approve(state: State, event: e.ApproveCheckpoint) -> Step:
    """A maintainer's word for a checkpoint; with it the file is kept. The same word again changes nothing."""
    found = state.checkpoints.get(event.round)
    if found is None:
        kept = ", ".join(map(str, sorted(state.checkpoints)))
        what = f"The run keeps no checkpoint of round {event.round}."
        return state, [d.Refused(what, f"It keeps those of the rounds {kept}.", NotFoundError.code)]
    approved = replace(found, approved_by=event.by, approved_why=event.why if event.by else "")
    if approved == found:
        return state, []
    return replace(state, checkpoints={**state.checkpoints, event.round: approved}), [CheckpointApproved(approved)]


def newest(rounds: Iterable[int], keep: int) -> list[int]:
    """The rounds of the checkpoints to which the run may go back, the oldest first."""
    return sorted(rounds)[-keep:]


def without_later(state: State, round_: int, why: str) -> Step:
    """The checkpoints of later rounds are no part of the run any more: nobody is offered them."""
    kept = {key: item for key, item in state.checkpoints.items() if key <= round_}
    dropped = [d.CheckpointDropped(item, why) for key, item in sorted(state.checkpoints.items()) if key > round_]
    return replace(state, checkpoints=kept), [*dropped]
