"""A checker does another member's round again: what it then says of honest members and of others."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from peer import checker as checking
from peer import recomputation
from peer.checker import Checker
from peer.codecs import codec_of, encode
from peer.data import Samples
from peer.exchange.average import merged
from peer.exchange.base import Applied, Phase, Result, Update, View
from peer.exchange.closing import closing_of
from peer.exchange.solo import SoloExchange
from peer.feed import Batch
from peer.health import Finding
from peer.leases import LeasedRange
from peer.local_mode import LocalLearner
from peer.merge import Contribution
from peer.recomputation import Kept, Subject, examined
from peer.recovery import quarantine
from peer.spotcheck import MARGIN, Gain, Likeness, Verdict, gain_of, judged, likeness
from peer.training import train
from peer.workbench import Peer, RoundDone
from swarm.errors import NotFoundError, UnreachableError
from swarm.faults import Fault
from swarm.ranges import Range, total
from tests.local_swarm import exchange, learn, learner, load, theta
from tests.steps import ended

SIZE = 32  # samples of a round
OWN, CONTROL = [Range(64, 96)], [Range(128, 160)]
SPARSE = "kept = 512"
OVERLAP = f"{SPARSE}\noverlap = true"


def sent_by(member: LocalLearner, samples: int = SIZE) -> Contribution:
    update = member.update(samples)
    codec = codec_of(member.spec.local)
    return Contribution(samples, encode(codec, {name: tensor.numpy() for name, tensor in update.tensors.items()}))


def checked(tmp_path: Path, member: LocalLearner, own: Sequence[Range] = OWN, samples: int = SIZE) -> Verdict:
    own_learner = learner(tmp_path, SPARSE)
    kept = Kept.of(own_learner, sent_by(member, samples))
    return ended(examined(own_learner, kept, Subject(own, CONTROL), load))


def test_who_trained_on_its_samples_passes_and_who_trained_on_others_does_not(tmp_path: Path) -> None:
    honest, other = learner(tmp_path, SPARSE), learner(tmp_path, SPARSE)
    learn(honest, OWN[0].start, SIZE)
    learn(other, 200, SIZE)
    assert checked(tmp_path, honest).passed
    found = checked(tmp_path, other)
    assert found.passed is False
    assert f"honest is {MARGIN:g} and more" in found.why


def test_an_update_of_more_samples_than_were_counted_fails_without_looking(tmp_path: Path) -> None:
    member = learner(tmp_path, SPARSE)
    learn(member, OWN[0].start, SIZE)
    found = checked(tmp_path, member, samples=1000)
    assert found == Verdict(False, "it said that it sent an update of 1000 samples, and 32 were counted")


def test_nothing_is_said_without_others_to_compare_with(tmp_path: Path) -> None:
    own = learner(tmp_path, SPARSE)
    kept = Kept.of(own, sent_by(learner(tmp_path, SPARSE)))
    assert ended(examined(own, kept, Subject(OWN, []), load)).passed is None


def test_the_first_round_of_a_member_is_done_again_to_the_last_bit(tmp_path: Path) -> None:
    member, own = learner(tmp_path, SPARSE), learner(tmp_path, SPARSE)
    learn(member, OWN[0].start, SIZE)
    start = own.start()
    steps = recomputation.moved(own, start, OWN, load)
    moved = ended(steps)  # type: ignore[arg-type]
    for name, tensor in member.update(SIZE).tensors.items():
        assert np.array_equal(moved[name], tensor.numpy()), name  # type: ignore[index]


def test_the_checkers_own_rounds_go_on_between_the_steps(tmp_path: Path) -> None:
    own, member = learner(tmp_path, SPARSE), learner(tmp_path, SPARSE)
    learn(member, OWN[0].start, SIZE)
    kept = Kept.of(own, sent_by(member))
    alone = ended(examined(learner(tmp_path, SPARSE), kept, Subject(OWN, CONTROL), load))
    member = learner(tmp_path, SPARSE)

    def go_on() -> None:
        held = theta(own)
        learn(member, 0, SIZE)
        exchange([own, member], [0, SIZE])
        assert own.digest == member.digest
        assert any(not np.array_equal(held[name], values) for name, values in theta(own).items())

    assert ended(examined(own, kept, Subject(OWN, CONTROL), load), go_on) == alone
    assert own.round == 4 * own.spec.local.steps, "between all steps"


def test_a_last_step_that_is_not_full_is_done_again_whatever_the_checker_does_between(tmp_path: Path) -> None:
    """Its own rounds forget gradients, and both compute with the same ones."""
    own, member, other = (learner(tmp_path, SPARSE) for _ in range(3))
    half = 3 * own.spec.local.batch_size // 2
    learn(member, OWN[0].start, half)
    start, positions = own.start(), [Range(OWN[0].start, OWN[0].start + half)]

    def go_on() -> None:
        learn(other, 0, SIZE)
        exchange([own, other], [0, SIZE])

    moved = ended(recomputation.moved(own, start, positions, load), go_on)  # type: ignore[arg-type]
    for name, tensor in member.update(half).tensors.items():
        assert np.array_equal(moved[name], tensor.numpy()), name  # type: ignore[index]


def test_no_more_is_done_again_than_a_round_has(tmp_path: Path) -> None:
    own = learner(tmp_path, SPARSE)
    kept = Kept.of(own, sent_by(learner(tmp_path, SPARSE)))
    steps: list[int] = []
    ended(examined(own, kept, Subject([Range(0, 240)], CONTROL), load), lambda: steps.append(1))
    assert len(steps) == 4 * own.spec.local.steps


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(1, 30)), min_size=1, max_size=8), st.integers(1, 16))
def test_positions_are_cut_into_steps_in_their_order(spans: list[tuple[int, int]], size: int) -> None:
    positions = [Range(start, start + count) for start, count in spans]
    found = list(recomputation.batches(positions, size))
    assert [p for batch in found for part in batch for p in range(*part)] == [p for r in positions for p in range(*r)]
    assert [total(batch) for batch in found[:-1]] == [size] * (len(found) - 1)
    assert 0 < total(found[-1]) <= size


def test_a_large_model_is_judged_by_losses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recomputation, "LARGEST", 1000)
    member, own = learner(tmp_path, SPARSE), learner(tmp_path, SPARSE)
    learn(member, OWN[0].start, SIZE)
    kept, before = Kept.of(own, sent_by(member)), theta(own)
    found = ended(examined(own, kept, Subject(OWN, CONTROL), load))
    assert found.passed
    assert "lowers the loss of its samples" in found.why
    assert "beyond" not in found.why
    assert all(np.array_equal(before[name], values) for name, values in theta(own).items())


# ── figures ──────────────────────────────────────────────────────────────────────────────────────


def drawn(*seeds: int) -> list[dict[str, np.ndarray]]:
    return [{"w": np.random.default_rng(seed).standard_normal((40, 50)).astype(np.float32)} for seed in seeds]


def test_what_both_have_in_common_says_nothing() -> None:
    shared, mine, other, noise = (item["w"] for item in drawn(1, 2, 3, 4))
    own, control = {"w": 3 * shared + mine}, {"w": 3 * shared + other}
    found = likeness({"w": 3 * shared + noise}, own, control)
    assert found.own > 0.85
    assert abs(found.beyond) < 0.05
    assert abs(likeness({"w": 3 * shared}, own, control).beyond) < 0.05
    assert likeness({"w": 3 * shared + mine}, own, control).beyond > 0.5


def test_only_what_travelled_is_compared() -> None:
    sent, own, control = drawn(1, 1, 2)
    sent["w"][20:] = 0
    own["w"][20:] = 1e6
    assert likeness(sent, own, control).own == pytest.approx(1.0)


@pytest.mark.parametrize("sent", [np.zeros((4, 4)), np.ones((4, 4))])
def test_an_update_without_anything_of_its_own_scores_nothing(sent: np.ndarray) -> None:
    same = {"w": np.ones((4, 4))}
    assert likeness({"w": sent}, same, same).beyond == pytest.approx(0.0)


def test_losses_are_compared_in_their_own_spread() -> None:
    found = gain_of([0.3, 0.31, 0.32], [0.1, 0.12, 0.11])
    assert found.errors > 10
    assert gain_of([0.1, 0.12, 0.11], [0.3, 0.31, 0.32]).errors < -10
    for nothing in (gain_of([0.1], [0.1]), gain_of([math.inf, 0.1], [0.1, 0.2]), gain_of([0.0, 0.0], [0.0, 0.0])):
        assert nothing.errors == 0.0


def test_both_measures_count_alike_and_one_alone_does_as_well() -> None:
    good, bad = Gain(0.5, 0.1, 0.1), Gain(0.1, 0.1, 0.1)
    like, unlike = Likeness(0.7, 0.6, 0.25), Likeness(0.6, 0.6, 0.0)
    assert judged(good, like, MARGIN).passed
    assert judged(good, None, MARGIN).passed
    assert not judged(bad, None, MARGIN).passed
    assert not judged(bad, unlike, MARGIN).passed
    assert judged(bad, like, MARGIN).passed
    assert not judged(Gain(0.1, 0.5, 0.1), like, MARGIN).passed


# ── the edge ─────────────────────────────────────────────────────────────────────────────────────


class Positions:
    """See `peer.feed.Shelf`."""

    def fetch(self, positions: Range) -> None:
        """All are here."""

    def load(self, positions: Range) -> Samples:
        return load(positions)


class Office:
    """The coordinator's side: what it answers, one after the other, and what it hears."""

    def __init__(self, *answers: Subject | Exception | None) -> None:
        self.answers = list(answers)
        self.heard: list[tuple[str, int, Verdict]] = []

    def ask(self, _check: str, _round: int) -> Subject | None:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def tell(self, *words: Any) -> None:
        self.heard.append(words)

    def checker(self) -> Checker:
        return Checker(self.ask, self.tell, Positions())


def applied(member: LocalLearner, name: str = "anna") -> Applied:
    return Applied({}, 0.0, SIZE, 2, sent={name: sent_by(member)})


def at_work(own: LocalLearner, one: Checker) -> None:
    if one._watch:
        one._watch.subject.result(10)
    while one.busy:
        one.step()


def test_one_round_is_kept_and_the_answer_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "_ASK_AGAIN_SECONDS", 0.01)
    own, member = learner(tmp_path, SPARSE), learner(tmp_path, SPARSE)
    learn(member, OWN[0].start, SIZE)
    office = Office(None, UnreachableError("away"), Subject(OWN, CONTROL))
    one = office.checker()
    one.keep(own, applied(member))
    assert not one.busy, "nobody was to be watched"
    one.told("c1", "anna", 0)
    one.keep(own, applied(member, "ben"))
    one.keep(own, applied(member))
    one.told("c1", "anna", 0)  # with the next heartbeat
    at_work(own, one)
    one.keep(own, applied(member))
    at_work(own, one)
    [(check, round_, found)] = office.heard
    assert (check, round_, found.passed) == ("c1", 0, True)


def test_a_round_from_before_the_order_is_not_kept(tmp_path: Path) -> None:
    own = learner(tmp_path, SPARSE)
    office = Office(Subject(OWN, CONTROL))
    one = office.checker()
    one.told("c1", "anna", 1)
    assert [one.awaits(round_) for round_ in (0, 1, 2)] == ["", "anna", "anna"]
    one.keep(own, applied(learner(tmp_path, SPARSE)))
    assert len(office.answers) == 1


@pytest.mark.parametrize(("patience", "heard"), [(0.0, 1), (600.0, 0)])
def test_one_of_whom_nothing_is_in_any_round_keeps_the_checker_from_others_for_minutes_only(
    patience: float, heard: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "_SECONDS", patience)
    own, other, office = learner(tmp_path, SPARSE), learner(tmp_path, SPARSE), Office()
    one = office.checker()
    one.told("c1", "anna", 0)
    for rounds in range(20):
        assert bool(office.heard) == (rounds >= 8 and heard)
        one.keep(own, applied(other, "ben"))
    given_up = ("c1", 0, Verdict(None, "nothing of the member's was in 8 rounds"))
    assert office.heard == [given_up] * heard


def test_one_that_is_over_is_given_up(tmp_path: Path) -> None:
    own = learner(tmp_path, SPARSE)
    office = Office(NotFoundError("over"))
    one = office.checker()
    one.told("c1", "anna", 0)
    one.keep(own, applied(learner(tmp_path, SPARSE)))
    at_work(own, one)
    assert [found.passed for _, _, found in office.heard] == [None]


def test_who_does_not_trust_itself_says_nothing_of_others(tmp_path: Path) -> None:
    own, member = learner(tmp_path, SPARSE), learner(tmp_path, SPARSE)
    learn(member, OWN[0].start, SIZE)
    office = Office(Subject(OWN, CONTROL))
    one, log = office.checker(), Log()
    peer = Peer(own, Pair(own, member), Script(), log, tmp_path, lambda: None, checker=one)
    one.told("c1", "anna", 0)
    one.keep(own, applied(member))
    quarantine(peer, Finding(Fault.DAMAGED_STATE, "a bit flipped"))
    assert [found.passed for _, _, found in office.heard] == [None]
    quarantine(peer, Finding(Fault.DAMAGED_STATE, "a bit flipped"))
    assert len(office.heard) == 1
    assert not one.busy


class Pair(SoloExchange):
    """The other member trains, too; a round closes at the twelfth look of who has nothing more to do in it."""

    def __init__(self, own: LocalLearner, other: LocalLearner) -> None:
        super().__init__(closing_of(own.spec), own.spec.local)
        self.own, self.other, self.looks = own, other, 0
        self.samples: list[int] = []
        self.watched: list[str] = []

    def progress(self, round_: int, samples: int, samples_per_second: float, done: bool = False) -> View:
        self.looks += done
        time.sleep(0.02)  # so that a checker knows what to do when the next round begins
        return View(Phase.CLOSING if done and self.looks % 12 == 0 else Phase.OPEN, round_, samples, 2, "")

    def exchange(self, update: Update) -> Result:
        self.samples.append(update.samples)
        self.watched.append(update.watched)
        learn(self.other, OWN[0].start if not update.round else 160, SIZE)
        found = sent_by(self.other)
        shapes = {name: tuple(tensor.shape) for name, tensor in update.tensors.items()}
        average = merged(codec_of(self.own.spec.local), [found], shapes, 1.0, found.payload)
        result = Applied(average.mean, average.norm, SIZE, 2, taken=average.taken, sent={"anna": found})
        self.other.apply(result)
        return result


class Script:
    """The same samples for ever."""

    why = ""

    def take(self, count: int) -> Batch:
        return Batch(LeasedRange("lease", Range(0, count)), load(Range(0, count)))


class Log:
    """See `peer.workbench.Listener`."""

    def __init__(self) -> None:
        self.phases: list[str] = []

    def phase(self, phase: str, *_: Any) -> None:
        self.phases.append(phase)

    def round_done(self, _: RoundDone) -> None:
        """Not looked at."""

    def quarantined(self, *_: Any) -> None:
        self.phases.append("quarantined")


class AtOnce(ThreadPoolExecutor):
    """An update arrives before it departs."""

    def submit(self, work: Any, /, *args: Any, **named: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(work(*args, **named))
        return done


@pytest.mark.parametrize("local", [SPARSE, OVERLAP], ids=["waiting", "overlapped"])
def test_a_checker_takes_part_in_its_rounds_without_samples_until_it_is_done(tmp_path: Path, local: str) -> None:
    own, other = learner(tmp_path, local), learner(tmp_path, local)
    office = Office(Subject(OWN, CONTROL))
    one, pair, log = office.checker(), Pair(own, other), Log()
    one.told("c1", "anna", 0)
    train(Peer(own, pair, Script(), log, tmp_path, lambda: None, checker=one, traveller=AtOnce()))
    assert [found.passed for _, _, found in office.heard] == [True]
    assert pair.samples == [SIZE, 0, SIZE]
    assert pair.watched == ["anna", "", ""], "what is seen of a member is kept only while a check waits for that"
    assert log.phases.count("checking") == 4 * own.spec.local.steps + 1
    assert own.digest == other.digest


class Slow(Pair):
    """Updates travel until the checker is at work, and then until it is done."""

    def __init__(self, own: LocalLearner, other: LocalLearner, log: Log) -> None:
        super().__init__(own, other)
        self.log = log

    def exchange(self, update: Update) -> Result:
        result, end = super().exchange(update), time.monotonic() + 10
        while update.round == 1 and self.log.phases.count("checking") <= 4 * self.own.spec.local.steps:
            assert time.monotonic() < end, self.log.phases
            time.sleep(0.01)
        time.sleep(0.2)  # so that all steps of the next round are done
        return result


def test_a_checker_does_a_round_again_while_its_own_update_travels(tmp_path: Path) -> None:
    own, other, log = learner(tmp_path, OVERLAP), learner(tmp_path, OVERLAP), Log()
    office = Office(Subject(OWN, CONTROL))
    one, pair = office.checker(), Slow(own, other, log)
    one.told("c1", "anna", 0)
    train(Peer(own, pair, Script(), log, tmp_path, lambda: None, checker=one))
    assert [found.passed for _, _, found in office.heard] == [True]
    assert pair.samples == [SIZE] * 3, "it lost no sample of its own"
    assert own.digest == other.digest


def test_a_micro_batch_smaller_than_a_step_changes_nothing_but_bits(tmp_path: Path) -> None:
    own = learner(tmp_path, SPARSE)
    start, small = own.start(), learner(tmp_path, SPARSE)
    small.gradients.micro_batch = 1
    one, other = (ended(recomputation.moved(who, start, OWN, load)) for who in (own, small))  # type: ignore[arg-type]
    for name in own.parameters:
        assert torch.allclose(torch.from_numpy(one[name]), torch.from_numpy(other[name]), atol=1e-4)  # type: ignore[index]
