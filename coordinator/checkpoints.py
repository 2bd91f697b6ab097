"""Which checkpoints the run takes and keeps. Pure.

A checkpoint is the run's once the members agree on the round that made its state (`coordinator.quorum`). Who makes one
is often the first to speak of that round, so its file may come before and wait aside; nothing makes room for it yet.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from coordinator import decisions as d
from coordinator import evaluations
from coordinator import events as e
from coordinator.records import Checkpoint
from coordinator.state import State, Step, doubt
from coordinator.steering import CheckpointApproved
from coordinator.uploads import CheckpointBrought
from swarm.errors import NotFoundError

_GROWTH = 8  # the first state has no optimizer's part, and may be in a smaller format
_SLACK = 64 << 20  # bytes
_LEFT_BEHIND = 8  # files that wait for words of others although who brought them is gone
_UNHEARD = "the members do not agree on that round"


def offer(state: State, event: e.OfferCheckpoint) -> Step:
    """Whether the offered file is wanted; of each member one at a time."""
    offered = event.checkpoint
    why = _objection(state, offered)
    if why:
        return state, [d.CheckpointOffered(offered, why)]
    before = state
    offers = {key: value for key, value in state.offers.items() if value.uploaded_by != event.member}
    brought = {key: value for key, value in state.brought.items() if value.uploaded_by != event.member}
    state = replace(state, offers={**offers, offered.sha256: offered}, brought=brought)
    dropped = _given_up(before, state, f"{event.member} offers another one")
    return state, [*dropped, d.CheckpointOffered(offered, "")]


def _objection(state: State, offered: Checkpoint) -> str:
    """Why a checkpoint is not wanted; empty when it is."""
    if offered.round in state.checkpoints:
        return "it is already here"
    if offered.round < state.latest.round:
        return f"a newer one, of round {state.latest.round}, is here"
    if offered.size > _GROWTH * state.latest.size + _SLACK:
        return "no state of this run is as large"
    here = (*state.checkpoints.values(), *state.brought.values())
    if any(it.sha256 == offered.sha256 or (it.round, it.digest) == (offered.round, offered.digest) for it in here):
        return "it is already here"
    return doubt(state, offered.round, offered.digest) or _skipped(state, offered)


def _skipped(state: State, offered: Checkpoint) -> str:
    """Of a round that is over no more words come that could be waited for."""
    return _UNHEARD if offered.round <= state.round and not _is_agreed(state, offered) else ""


def _is_agreed(state: State, offered: Checkpoint) -> bool:
    return state.agreed_on(offered.round - 1) == offered.digest


def uploaded(state: State, event: e.CheckpointUploaded) -> Step:
    """Take an offered checkpoint whose bytes are here."""
    offered = state.offers.get(event.sha256)
    if offered is None:  # another member's upload of the same file was faster
        return state, []
    offers = {key: value for key, value in state.offers.items() if key != event.sha256}
    before, state = state, replace(state, offers=offers)
    if event.digest != offered.digest:
        what = f"The checkpoint of round {offered.round} does not hold the state that it was offered as."
        return state, [*_given_up(before, state, "it does not hold its state"), d.Refused(what, "It is not used.")]
    if why := _objection(state, offered):  # the answer may be another than when it was offered
        return state, [*_given_up(before, state, why), d.CheckpointOffered(offered, why)]
    if not _is_agreed(state, offered):
        return _aside(state, offered)
    return _accept(state, offered)


def _aside(state: State, offered: Checkpoint) -> Step:
    """Keep it until the others say of that round what they know."""
    here = {member.id for member in state.live}
    left = [key for key, it in state.brought.items() if it.uploaded_by not in here]
    too_many = left[: max(0, len(left) - _LEFT_BEHIND)]
    kept = {key: value for key, value in state.brought.items() if key not in too_many}
    after = replace(state, brought={**kept, offered.sha256: offered})
    dropped = _given_up(state, after, "others are newer, and who brought it is gone")
    return after, [*dropped, CheckpointBrought(offered)]


def settled(state: State) -> Step:
    """After the members agreed on a round: what waited for that is the run's, or goes."""
    made: list[d.Decision] = []
    for offered in [it for it in state.brought.values() if it.round == state.round and _is_agreed(state, it)]:
        brought = {key: it for key, it in state.brought.items() if key != offered.sha256}
        state, more = _accept(replace(state, brought=brought), offered)
        made += more
    before = state
    state = replace(state, brought={key: it for key, it in state.brought.items() if it.round > state.round})
    return state, [*made, *_given_up(before, state, _UNHEARD)]


def _given_up(before: State, after: State, why: str) -> list[d.Decision]:
    """The files that somebody brought, or began to, and nothing names any more."""
    named = {*after.offers, *after.brought, *(it.sha256 for it in after.checkpoints.values())}
    had = {**before.offers, **before.brought}
    return [d.CheckpointDropped(value, why) for key, value in had.items() if key not in named]


def _accept(state: State, offered: Checkpoint) -> Step:
    pinned = {campaign.round for campaign in state.trials.open}
    found = {**state.checkpoints, offered.round: offered}
    kept, dropped = _retained(found, state.terms.keep_checkpoints, pinned)
    ledger = state.ledger.forget_before(newest(kept, state.terms.keep_checkpoints)[0])
    after = replace(state, checkpoints=kept, ledger=ledger)
    after, contradicted = evaluations.checked(after, offered.round)
    return after, [d.CheckpointAccepted(offered), *dropped, *contradicted]


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
