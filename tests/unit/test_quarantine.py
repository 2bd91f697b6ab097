"""The training loop in quarantine: what leaves the peer, what it goes on from, and when it gives up."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from peer import health, recovery
from peer.data import Samples
from peer.exchange.base import Resync, Retry, Update
from peer.health import Finding
from peer.training import train
from peer.workbench import Peer, RoundDone
from swarm.errors import UnreachableError, UnsoundError
from swarm.faults import Fault
from tests.unit.test_training import Log, Scripted, peer, stop_after


class Noted(Log):
    def __init__(self) -> None:
        super().__init__()
        self.quarantines: list[tuple[Fault, int, int]] = []

    def quarantined(self, finding: Finding, round_: int, in_a_row: int) -> None:
        self.quarantines.append((finding.fault, round_, in_a_row))


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "pause_after", lambda _: 0.0)
    monkeypatch.setattr(recovery, "_LOOK_SECONDS", 0.01)


def noted(tmp_path: Path, exchange: Scripted) -> tuple[Peer, Noted]:
    tmp_path.mkdir(exist_ok=True)
    one = peer(tmp_path, exchange)
    one.listener = log = Noted()
    give_digest(one, tmp_path)
    return one, log


def give_digest(one: Peer, folder: Path) -> Path:
    """As a peer that loaded its first state."""
    one.learner.digest = one.learner._digest()
    made = one.learner.snapshot(folder)
    assert made
    return made[0]


def hurt_once(one: Peer, round_: int, value: float) -> None:
    """In one batch of that round the loss is `value` times as high."""
    learn, left = one.learner.learn, [round_]

    def learned(samples: Samples) -> float:
        loss = learn(samples)
        if one.learner.round in left:
            left.clear()
            return loss * value
        return loss

    one.learner.learn = learned  # type: ignore[method-assign]


def finite(update: Update) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in update.tensors.values())


def dropped(log: Noted) -> list[RoundDone]:
    return [done for done in log.rounds if done.dropped_why]


def test_a_loss_that_is_no_number_drops_the_batches_and_goes_on_from_the_agreed_state(tmp_path: Path) -> None:
    exchange = Scripted()
    one, log = noted(tmp_path, exchange)
    hurt_once(one, 3, math.nan)
    stop_after(one, 6)
    train(one)
    assert log.quarantines == [(Fault.NOT_FINITE, 3, 1)]
    assert [(done.round, done.dropped_why) for done in dropped(log)] == [(3, "the loss is nan")]
    assert ("syncing", "in quarantine: the loss is nan") in log.phases
    assert one.learner.round == 6
    assert all(finite(update) for update in exchange.updates)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_gradient_that_is_no_number_never_leaves_the_peer(tmp_path: Path, value: float) -> None:
    exchange = Scripted()
    one, log = noted(tmp_path, exchange)
    update = one.learner.update
    left = [2]

    def spoiled(samples: int) -> Update:
        made = update(samples)
        if one.learner.round in left:
            left.clear()
            next(iter(made.tensors.values())).view(-1)[5] = value
        return made

    one.learner.update = spoiled  # type: ignore[method-assign]
    stop_after(one, 4)
    train(one)
    assert log.quarantines == [(Fault.NOT_FINITE, 2, 1)]
    assert all(finite(made) for made in exchange.updates)


def damaged(tmp_path: Path, state: Path | None) -> tuple[Peer, Noted, Scripted]:
    """A peer whose θ changes in its memory in the first round; others can give `state`."""
    exchange = Scripted(state=state)
    one, log = noted(tmp_path / "one", exchange)
    with torch.no_grad():
        next(iter(one.learner.parameters.values())).view(-1)[0] += 1e-3
    one.learner.digested_at = 0.0
    return one, log, exchange


def test_a_state_that_changed_in_memory_is_fetched_and_not_given_away(tmp_path: Path) -> None:
    other, _ = noted(tmp_path / "other", Scripted())
    one, log, exchange = damaged(tmp_path, give_digest(other, tmp_path / "other"))
    (tmp_path / "give").mkdir()
    assert one.learner.snapshot(tmp_path / "give") is None
    stop_after(one, 2)
    train(one)
    assert log.quarantines == [(Fault.DAMAGED_STATE, 0, 1)]
    before = other.learner.digest
    assert exchange.updates[0].digest == before
    stop_after(other, 2)
    train(other)
    assert one.learner.digest == other.learner.digest


def test_without_anybody_to_give_the_state_the_worker_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "_PATIENCE_SECONDS", 0.05)
    one, _, exchange = damaged(tmp_path, None)
    with pytest.raises(UnreachableError, match="no other member gave a state"):
        train(one)
    assert exchange.updates == []


def test_a_state_that_is_not_the_majoritys_is_taken_from_the_others(tmp_path: Path) -> None:
    other, _ = noted(tmp_path / "other", Scripted())
    why = "this peer's state differs from the majority's"
    exchange = Scripted(Resync(why, differs=True), state=give_digest(other, tmp_path / "other"))
    one, log = noted(tmp_path / "one", exchange)
    stop_after(one, 2)
    train(one)
    assert log.quarantines == [(Fault.OTHER_STATE, 0, 1)]
    assert [done.dropped_why for done in dropped(log)] == [why]


def test_an_average_that_is_no_number_drops_the_own_update(tmp_path: Path) -> None:
    one, log = noted(tmp_path, Scripted(Retry("the exchange broke: the average is not finite", finite=False)))
    stop_after(one, 2)
    train(one)
    assert log.quarantines == [(Fault.NOT_FINITE, 0, 1)]


def test_the_coordinators_word_on_another_state_holds_for_that_state_only(tmp_path: Path) -> None:
    other, _ = noted(tmp_path / "other", Scripted())
    exchange = Scripted(state=give_digest(other, tmp_path / "other"))
    one, log = noted(tmp_path / "one", exchange)
    one.orders.doubt = ("0" * 64, "that was long ago")
    stop_after(one, 2)
    train(one)
    assert log.quarantines == []
    one.orders.stop.clear()
    exchange.state = give_digest(one, tmp_path / "other")
    one.orders.doubt = (one.learner.digest, "most of those who made the state of round 2 hold another one")
    stop_after(one, 4)
    train(one)
    assert log.quarantines == [(Fault.OTHER_STATE, 2, 1)]
    assert one.learner.round == 4


def test_who_finds_it_again_and_again_ends_with_a_word(tmp_path: Path) -> None:
    one, log = noted(tmp_path, Scripted())
    one.learner.learn = lambda samples: math.nan  # type: ignore[method-assign]
    with pytest.raises(UnsoundError, match="wrong 5 times") as error:
        train(one)
    assert error.value.exit_code == 21
    assert [row for _, _, row in log.quarantines] == [1, 2, 3, 4, 5]


def test_an_agreed_state_that_is_not_finite_is_not_gone_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "_PATIENCE_SECONDS", 0.05)
    one, log = noted(tmp_path, Scripted())
    apply = one.learner._step

    def spoiled(result: object) -> None:
        apply(result)  # type: ignore[arg-type]
        if one.learner.round == 1:
            with torch.no_grad():
                next(iter(one.learner.parameters.values())).view(-1)[0] = math.nan

    one.learner._step = spoiled  # type: ignore[method-assign]
    with pytest.raises(UnreachableError):
        train(one)
    assert log.quarantines == [(Fault.NOT_FINITE, 2, 1)]
    assert not one.learner.sound
    assert one.learner.snapshot(tmp_path) is None
    assert not dropped(log)
