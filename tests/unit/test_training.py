"""The training loop against a plain PyTorch loop: the same batches give the same losses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from peer.checkpoint import read_state
from peer.data import Samples
from peer.device import Hardware, place
from peer.exchange.base import Applied, Fetched, Phase, Result, Resync, Retry, Update, View
from peer.exchange.closing import SampleTarget
from peer.exchange.solo import SoloExchange
from peer.feed import Batch
from peer.gradients import Gradients
from peer.health import Finding
from peer.learner import GradientLearner, Learner
from peer.leases import MOST, LeasedRange
from peer.model import trainable
from peer.training import train
from peer.workbench import Peer, RoundDone, Work
from swarm.errors import CorruptError
from swarm.ranges import Range
from swarm.runspec import RunSpec, loads
from tests.reference import plain_loop

SPEC = """
[run]
name = "test"
[model]
source = "preset:tiny-llama"
tokenizer = "bytes"
[data]
source = "builtin:pydoc-topics"
sequence_length = 16
[training]
rounds = 12
target_batch_size = 8
micro_batch_size = 4
warmup_samples = 16
"""


def spec() -> RunSpec:
    return loads(SPEC)


def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=257, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2
    )
    return LlamaForCausalLM(config)


def learner() -> Learner:
    return learner_of(model())


def learner_of(network: nn.Module) -> Learner:
    parameters = trainable(network)
    placement = place(spec(), "cpu", Hardware())
    return GradientLearner(spec(), parameters, Gradients(network, parameters, placement, 16.0, 4, print))


class Script:
    """Samples 0, 1, 2, … of a fixed random text."""

    why = "the script is at its end"

    def __init__(self, count: int) -> None:
        self.tokens = torch.randint(0, 257, (count, 17), generator=torch.Generator().manual_seed(1))
        self.next = 0

    def take(self, count: int) -> Batch | None:
        start, self.next = self.next, min(self.next + count, len(self.tokens))
        if start == self.next:
            return None
        return Batch(LeasedRange("lease", Range(start, self.next)), Samples(self.tokens[start : self.next]))


class Log:
    def __init__(self) -> None:
        self.rounds: list[RoundDone] = []
        self.phases: list[tuple[str, str]] = []

    def phase(self, phase: str, why: str, work: Work, members: int, rate: float) -> None:
        self.phases.append((phase, why))

    def round_done(self, done: RoundDone) -> None:
        self.rounds.append(done)

    def quarantined(self, finding: Finding, round_: int, in_a_row: int) -> None:
        raise AssertionError(finding)


def peer(tmp_path: Path, exchange: object = None, samples: int = 96) -> Peer:
    solo = exchange or SoloExchange(SampleTarget(8))
    return Peer(learner(), solo, Script(samples), Log(), tmp_path, lambda: None)  # type: ignore[arg-type]


def batches(size: int = 8) -> Iterator[Tensor]:
    return iter(torch.split(Script(96).tokens, size))


def test_one_peer_equals_a_plain_loop(tmp_path: Path) -> None:
    alone = peer(tmp_path)
    train(alone)
    losses = [done.work.mean_loss for done in alone.listener.rounds]  # type: ignore[attr-defined]
    assert len(losses) == 12
    assert losses == pytest.approx(plain_loop(model(), batches(), spec()), rel=1e-4)
    assert losses[-1] < losses[0]


def test_every_range_is_reported_in_the_round_that_it_went_into(tmp_path: Path) -> None:
    alone = peer(tmp_path)
    train(alone)
    for done in alone.listener.rounds:  # type: ignore[attr-defined]
        used = [item.range for item in done.work.used]
        assert used == [Range(done.round * 8, done.round * 8 + 4), Range(done.round * 8 + 4, done.round * 8 + 8)]
        assert done.global_samples == 8 * (done.round + 1)


class Scraps(Script):
    """Each sample is of a lease of its own, as the coordinator lends what many left behind."""

    def take(self, count: int) -> Batch | None:
        batch = super().take(1)
        if batch is None:
            return None
        lease = str(batch.source.range.start)
        return replace(batch, source=LeasedRange(lease, batch.source.range, lease.encode()))


class Frozen(SoloExchange):
    """Its leader does not say for a while that the samples are complete."""

    def __init__(self, looks: int) -> None:
        super().__init__(SampleTarget(8))
        self.looks = looks
        self.updates: list[Update] = []

    def progress(self, round_: int, samples: int, samples_per_second: float, done: bool = False) -> View:
        self.looks -= 1
        view = super().progress(round_, samples, samples_per_second, done)
        return view if self.looks < 0 else replace(view, phase=Phase.OPEN, why="7 of 8 samples", samples=7)

    def exchange(self, update: Update) -> Result:
        self.updates.append(update)
        return super().exchange(update)


def test_a_peer_takes_no_samples_of_more_leases_than_its_update_shows(tmp_path: Path) -> None:
    exchange = Frozen(3 * MOST)
    alone = peer(tmp_path, exchange)
    alone.source = Scraps(96)
    stop_after(alone, 1)
    train(alone)
    assert exchange.updates[0].samples == sum(use.samples for use in exchange.updates[0].uses) == MOST
    assert alone.listener.rounds[0].work.samples == MOST  # type: ignore[attr-defined]
    why = {why for phase, why in alone.listener.phases if phase == "waiting"}  # type: ignore[attr-defined]
    assert why == {
        "this peer's samples are of 32 leases, as many as may go into a round; the round closes when the others' are "
        "(7 of 8 samples)"
    }


def test_a_peer_takes_no_more_samples_than_the_round_needs_while_it_lacks_members(tmp_path: Path) -> None:
    alone = peer(tmp_path, SoloExchange(SampleTarget(8, contributors=2)))
    alone.orders.stop.wait = lambda _seconds: alone.orders.stop.set()  # type: ignore[assignment]
    train(alone)
    assert alone.work.samples == 8
    assert alone.listener.phases[-1] == (  # type: ignore[attr-defined]
        "waiting",
        "the round has enough samples; it closes when they are of enough members (1 of 2 contributors)",
    )


def test_a_round_ends_where_all_leases_that_may_be_shown_are_short_of_its_samples(tmp_path: Path) -> None:
    alone = peer(tmp_path, SoloExchange(SampleTarget(2 * MOST)))
    spec = alone.learner.spec
    more = spec.training.model_copy(update={"target_batch_size": 2 * MOST})
    alone.learner.spec = spec.model_copy(update={"training": more})
    alone.source = Scraps(96)
    stop_after(alone, 1)
    train(alone)
    assert alone.listener.rounds[0].work.samples == MOST  # type: ignore[attr-defined]


class Scripted(SoloExchange):
    """Answers with the given results first."""

    def __init__(self, *results: Result, state: Path | None = None) -> None:
        super().__init__(SampleTarget(8))
        self.results = list(results)
        self.updates: list[Update] = []
        self.state = state

    def exchange(self, update: Update) -> Result:
        self.updates.append(update)
        return self.results.pop(0) if self.results else super().exchange(update)

    def fetch_state(self, at_least: int, folder: Path) -> Fetched | None:
        if self.state is None:
            return None
        metadata = read_state(self.state)[1]
        return Fetched(self.state, int(metadata["round"]), metadata["digest"])


def test_a_failed_round_keeps_the_update_and_is_never_a_local_step(tmp_path: Path) -> None:
    exchange = Scripted(Retry("nobody there"), Retry("still nobody"))
    alone = peer(tmp_path, exchange)
    before = alone.learner.digest
    train(alone)
    first, second, third = exchange.updates[:3]
    assert (first.round, second.round, third.round) == (0, 0, 0)
    assert first.digest == second.digest == third.digest == before
    assert all(torch.equal(first.tensors[name], third.tensors[name]) for name in first.tensors)
    losses = [done.work.mean_loss for done in alone.listener.rounds]  # type: ignore[attr-defined]
    assert losses == pytest.approx(plain_loop(model(), batches(), spec()), rel=1e-4)


def test_a_peer_that_fell_behind_takes_the_agreed_state_and_says_what_was_lost(tmp_path: Path) -> None:
    other = peer(tmp_path / "other")
    (tmp_path / "other").mkdir()
    for _ in range(3):
        _one_round(other)
    path, round_, digest = other.learner.snapshot(tmp_path / "other")
    assert round_ == 3
    late = peer(tmp_path, Scripted(Resync("late: round 0 ended without this peer"), state=path))
    train(late)
    first = late.listener.rounds[0]  # type: ignore[attr-defined]
    assert first.dropped_why == "late: round 0 ended without this peer"
    assert first.work.samples == 8
    assert late.listener.rounds[1].round == 3  # type: ignore[attr-defined]
    assert ("syncing", "late: round 0 ended without this peer") in late.listener.phases  # type: ignore[attr-defined]
    assert digest == read_state(path)[1]["digest"]


def test_what_was_in_no_round_is_dropped_also_when_nobody_says_why(tmp_path: Path) -> None:
    other = peer(tmp_path / "other")
    (tmp_path / "other").mkdir()
    _one_round(other)
    path, _, _ = other.learner.snapshot(tmp_path / "other")
    late = peer(tmp_path, Scripted(Resync(""), state=path))
    train(late)
    first = late.listener.rounds[0]  # type: ignore[attr-defined]
    assert (first.work.samples, first.digest) == (8, "")
    assert first.dropped_why, "else it would be reported as counted"


def test_who_has_nothing_to_train_on_takes_the_runs_checkpoint_and_says_what_was_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = peer(tmp_path / "other")
    (tmp_path / "other").mkdir()
    _one_round(other)
    path, _, _ = other.learner.snapshot(tmp_path / "other")
    monkeypatch.setattr("peer.training._LOOK_SECONDS", 0.0)
    idle = peer(tmp_path, samples=4)
    idle.source.why = ""
    found = iter([path])
    idle.latest_checkpoint = lambda: next(found, idle.orders.stop.set())
    train(idle)
    lost = idle.listener.rounds[0]  # type: ignore[attr-defined]
    assert (lost.work.samples, lost.digest) == (4, "")
    assert lost.dropped_why == "the run's checkpoint is of a later round: nothing to train on"


def _one_round(peer: Peer) -> None:
    gradient = {name: torch.ones_like(p) for name, p in peer.learner.parameters.items()}
    peer.learner.apply(Applied(gradient, 1.0, 8, 1))


def test_peers_with_the_same_averages_hold_the_same_digest_and_the_same_file(tmp_path: Path) -> None:
    ours, theirs = peer(tmp_path), peer(tmp_path)
    for one in (ours, theirs):
        for _ in range(3):
            _one_round(one)
    assert ours.learner.digest == theirs.learner.digest != ""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = ours.learner.snapshot(tmp_path / "a")[0], theirs.learner.snapshot(tmp_path / "b")[0]
    assert first.read_bytes() == second.read_bytes()


def test_resume_goes_on_exactly(tmp_path: Path) -> None:
    whole = peer(tmp_path)
    train(whole)
    begun = peer(tmp_path)
    begun.learner.spec = loads(SPEC.replace("rounds = 12", "rounds = 12"))
    stop_after(begun, 5)
    train(begun)
    resumed = peer(tmp_path)
    resumed.learner.load(begun.learner.snapshot(tmp_path)[0])
    resumed.source.next = begun.source.next  # type: ignore[attr-defined]
    train(resumed)
    assert resumed.learner.round == 12
    assert resumed.learner.digest == whole.learner.digest


def stop_after(peer: Peer, rounds: int) -> None:
    told = peer.listener.round_done

    def round_done(done: RoundDone) -> None:
        told(done)
        if done.round + 1 == rounds:
            peer.orders.stop.set()

    peer.listener.round_done = round_done  # type: ignore[method-assign]


def test_a_state_of_another_model_is_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    small = LlamaForCausalLM(
        LlamaConfig(vocab_size=257, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
    )
    other = learner_of(small)
    _one_round_of(other)
    path = other.snapshot(tmp_path)[0]
    with pytest.raises(CorruptError, match="does not fit"):
        learner().load(path)


def _one_round_of(learner: Learner) -> None:
    gradient = {name: torch.ones_like(p) for name, p in learner.parameters.items()}
    learner.apply(Applied(gradient, 1.0, 8, 1))


def test_waiting_says_why(tmp_path: Path) -> None:
    alone = peer(tmp_path, samples=4)
    told = alone.listener.phase

    def phase(phase: str, why: str, work: Work, members: int, rate: float) -> None:
        told(phase, why, work, members, rate)
        if phase == "waiting":
            alone.orders.stop.set()

    alone.listener.phase = phase  # type: ignore[method-assign]
    train(alone)
    assert ("waiting", "the script is at its end") in alone.listener.phases  # type: ignore[attr-defined]


def test_who_shall_pause_ends_when_nothing_it_computed_waits_for_a_round(tmp_path: Path) -> None:
    alone = peer(tmp_path)
    learn = alone.learner.learn

    def second_batch_of_round_two(samples: Samples) -> float:
        if alone.learner.round == 2:
            alone.orders.drain.set()
        return learn(samples)

    alone.learner.learn = second_batch_of_round_two  # type: ignore[method-assign]
    train(alone)
    assert alone.learner.round == 3
    assert alone.listener.rounds[-1].work.samples == 8  # type: ignore[attr-defined]
    assert alone.work.samples == 0


def test_half_a_duty_takes_twice_as_long(tmp_path: Path) -> None:
    alone = peer(tmp_path)
    alone.orders.duty = 0.5
    train(alone)
    for done in alone.listener.rounds:  # type: ignore[attr-defined]
        assert done.seconds > 2 * done.work.compute


def test_views() -> None:
    solo = SoloExchange(SampleTarget(8))
    assert solo.progress(0, 7, 1.0) == View(Phase.OPEN, 0, 7, 1, "7 of 8 samples")
    assert solo.progress(0, 8, 1.0).phase is Phase.CLOSING
