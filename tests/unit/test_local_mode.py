"""Local mode against what it must be equal to, and what it must not lose."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from peer import local_mode
from peer.checkpoint import state_digest, write_state
from peer.exchange.average import measure
from peer.exchange.base import Applied, Result, Retry, Update
from peer.exchange.closing import closing_of
from peer.exchange.solo import SoloExchange
from peer.feed import Batch
from peer.leases import LeasedRange
from peer.modes import most_samples
from peer.training import train
from peer.workbench import Peer, RoundDone, Work
from swarm.errors import CorruptError
from swarm.ranges import Range
from swarm.runspec import loads
from tests.local_swarm import EXACT, SPEC, TOKENS, begun, exchange, learn, learner, load, model, spec, theta
from tests.reference import plain_loop


class Script:
    """The samples in their order, for ever."""

    why = ""

    def __init__(self) -> None:
        self.next = 0

    def take(self, count: int) -> Batch:
        start, self.next = self.next, self.next + count
        return Batch(LeasedRange("lease", Range(start, self.next)), load(Range(start, self.next)))


class Log:
    def __init__(self) -> None:
        self.rounds: list[RoundDone] = []

    def phase(self, phase: str, why: str, work: Work, members: int, rate: float) -> None:
        """Not looked at."""

    def round_done(self, done: RoundDone) -> None:
        self.rounds.append(done)


def test_one_peer_is_plain_adamw(tmp_path: Path) -> None:
    """The design's identity: one peer, outer rate 1, no momentum, no compression."""
    one, log = learner(tmp_path), Log()
    solo = SoloExchange(closing_of(spec()), spec().local)
    train(Peer(one, solo, Script(), log, tmp_path, lambda: None))
    plain = plain_loop(model(), iter(torch.split(TOKENS[:96], 8)), spec())
    losses = [done.work.mean_loss for done in log.rounds]
    assert losses == pytest.approx([sum(plain[i : i + 4]) / 4 for i in (0, 4, 8)], rel=1e-4)
    assert [done.work.samples for done in log.rounds] == [32, 32, 32]


def test_one_peer_is_the_adamw_of_gradient_mode_bit_by_bit(tmp_path: Path) -> None:
    one = learner(tmp_path)
    plain = begun(loads(SPEC.format(local="").replace('"local"', '"gradient"').replace("= 32", "= 8")), tmp_path)
    for start in range(0, 64, 32):
        learn(one, start, 32)
        exchange([one], [32])
        for begin in range(start, start + 32, 8):
            plain.learn(load(Range(begin, begin + 8)))
            average = measure(plain.update(8).tensors)
            plain.apply(Applied(average.mean, average.norm, 8, 1))
    assert plain.round == 8
    assert all(np.array_equal(values, theta(one)[name]) for name, values in theta(plain).items())


def test_the_exchange_of_one_peer_changes_no_bit(tmp_path: Path) -> None:
    one = learner(tmp_path)
    for start in (0, 32):
        learn(one, start, 32)
        before = theta(one)
        exchange([one], [32])
        assert all(np.array_equal(before[name], after) for name, after in theta(one).items())


def test_all_kept_unquantised_and_rate_one_is_federated_averaging(tmp_path: Path) -> None:
    one, two = learner(tmp_path), learner(tmp_path)
    learn(one, 0, 32)
    learn(two, 32, 16)
    alone = theta(one), theta(two)
    exchange([one, two], [32, 16])
    assert one.digest == two.digest
    for name, mean in theta(one).items():
        wanted = (alone[0][name].astype(np.float64) * 32 + alone[1][name].astype(np.float64) * 16) / 48
        assert np.array_equal(mean, theta(two)[name])
        np.testing.assert_array_max_ulp(mean, wanted.astype(np.float32), 1)


MOMENTUM = 'codec = "int8"\nouter_momentum = 0.9\nouter_learning_rate = 0.5'


@pytest.mark.parametrize("local", ["", MOMENTUM, 'codec = "fp16"'])
def test_all_peers_hold_the_same_state_after_every_round(tmp_path: Path, local: str) -> None:
    peers = [learner(tmp_path, local) for _ in range(3)]
    for round_ in range(3):
        counts = [32, 24, 5]  # the last one is cut off in the middle of an inner step
        for index, (one, count) in enumerate(zip(peers, counts, strict=True)):
            learn(one, (round_ * 80 + index * 32) % 200, count)
        exchange(peers, counts)
        assert len({one.digest for one in peers}) == 1
        assert peers[0].global_samples == 61 * (round_ + 1)


def test_what_does_not_travel_waits_and_nothing_is_lost(tmp_path: Path) -> None:
    one = learner(tmp_path, "kept = 16")
    learn(one, 0, 32)
    wanted = {name: tensor.numpy().copy() for name, tensor in one.update(32).tensors.items()}
    before = {name: values.copy() for name, values in one._theta.items()}
    exchange([one], [32])
    for name, want in wanted.items():
        moved = before[name].astype(np.float64) - one._theta[name]
        assert np.allclose(moved + one._waiting[name], want, atol=1e-7)
    assert any(np.abs(waiting).max() > 0 for waiting in one._waiting.values())
    learn(one, 32, 32)
    again = one.update(32).tensors
    for name, waiting in one._waiting.items():
        delta = one._theta[name].astype(np.float64) - one.parameters[name].detach().numpy()
        assert np.allclose(again[name].numpy(), delta + 0.95 * waiting, atol=1e-7)


def test_an_update_that_was_too_late_goes_into_the_next_round(tmp_path: Path) -> None:
    one, two = learner(tmp_path, ""), learner(tmp_path, "")
    learn(one, 0, 32)
    learn(two, 32, 32)
    late = {name: tensor.numpy().copy() for name, tensor in two.update(32).tensors.items()}
    exchange([one], [32])
    path, round_, _ = one.snapshot(tmp_path)
    two.load(path)
    assert (two.round, two.digest) == (round_, one.digest)
    assert all(np.array_equal(two._waiting[name], late[name]) for name in late)
    assert two.room() == 4


OVERLAP = f"{EXACT}\noverlap = true"


class Slow(SoloExchange):
    """An update travels until its peer has taken so many more steps, if it may; or fails then, as often as told."""

    def __init__(self, steps: Callable[[], int], failures: int = 0, wanted: int = 1) -> None:
        super().__init__(closing_of(spec(OVERLAP)), spec(OVERLAP).local)
        self.steps = steps
        self.failures = failures
        self.wanted = wanted
        self.meanwhile: list[int] = []
        self.samples: list[int] = []

    def exchange(self, update: Update) -> Result:
        self.samples.append(update.samples)
        departed, end = self.steps(), time.monotonic() + (20 if update.round < 2 else 0)
        while self.steps() - departed < self.wanted and time.monotonic() < end:
            time.sleep(0.01)
        self.meanwhile.append(self.steps() - departed)
        if len(self.meanwhile) <= self.failures:
            return Retry("nobody there")
        return super().exchange(update)


def test_overlapped_training_goes_on_while_the_update_travels(tmp_path: Path) -> None:
    """Alone, what comes back is what departed: nothing may change but the time."""
    one, log = learner(tmp_path, OVERLAP), Log()
    slow = Slow(lambda: one._inner_steps)
    train(Peer(one, slow, Script(), log, tmp_path, lambda: None))
    plain = plain_loop(model(), iter(torch.split(TOKENS[:96], 8)), spec())
    losses = [done.work.mean_loss for done in log.rounds]
    assert losses == pytest.approx([sum(plain[i : i + 4]) / 4 for i in (0, 4, 8)], rel=1e-4)
    assert [done.work.samples for done in log.rounds] == [32, 32, 32]
    assert slow.meanwhile[0] > 0 < slow.meanwhile[1]


def test_an_overlapped_update_that_failed_is_one_with_the_next(tmp_path: Path) -> None:
    one, log = learner(tmp_path, OVERLAP), Log()
    train(Peer(one, Slow(lambda: one._inner_steps, failures=1), Script(), log, tmp_path, lambda: None))
    assert [done.round for done in log.rounds] == [0, 1, 2]
    assert log.rounds[0].work.samples > 32
    used = [item.range for done in log.rounds for item in done.work.used]
    assert used == [Range(start, start + 4) for start in range(0, 4 * len(used), 4)]


def test_an_honest_member_is_under_the_bound_however_often_its_update_failed(tmp_path: Path) -> None:
    """What failed piles up; one whose count is refused could never bring it to a round again."""
    one, run = learner(tmp_path, OVERLAP), spec(OVERLAP)
    slow = Slow(lambda: one._inner_steps, failures=3, wanted=run.local.steps)
    train(Peer(one, slow, Script(), Log(), tmp_path, lambda: None))
    assert slow.samples[3] == 4 * run.local.steps * run.local.batch_size
    assert max(slow.samples) <= most_samples(run)


def test_steps_taken_meanwhile_stay_and_are_the_next_rounds(tmp_path: Path) -> None:
    local = "overlap = true"
    peers = [learner(tmp_path, local) for _ in range(3)]
    for index, one in enumerate(peers):
        learn(one, 32 * index, 32)
    departed: list[dict[str, np.ndarray]] = []

    def meanwhile() -> None:
        departed.extend(theta(one) for one in peers)
        for index, one in enumerate(peers[:2]):
            learn(one, 96 + 32 * index, 8 + 8 * index)
        departed.extend(theta(one) for one in peers)

    exchange(peers, [32, 32, 32], meanwhile)
    assert len({one.digest for one in peers}) == 1
    assert [one.room() and one._steps for one in peers] == [1, 2, 0]
    for index, one in enumerate(peers):
        for name, now in theta(one).items():
            steps = departed[3 + index][name].astype(np.float64) - departed[index][name]
            assert np.allclose(now - one._theta[name], steps, atol=1e-6)
    own = theta(peers[1])
    with peers[0].agreed(), peers[1].agreed():
        assert all(np.array_equal(theta(peers[0])[name], values) for name, values in theta(peers[1]).items())
    assert all(np.array_equal(theta(peers[1])[name], values) for name, values in own.items())
    for index, one in enumerate(peers):
        learn(one, 160 + 32 * index, 32)
    exchange(peers, [32, 32, 32])
    assert len({one.digest for one in peers}) == 1


def test_dense_updates_leave_nothing_behind(tmp_path: Path) -> None:
    one = learner(tmp_path, 'codec = "int8"')
    learn(one, 0, 32)
    exchange([one], [32])
    assert one._waiting == {}


def test_a_peer_takes_no_more_than_its_steps(tmp_path: Path) -> None:
    one = learner(tmp_path)
    learn(one, 0, 1000)
    assert one.room() == 0
    assert one._inner_steps == 4


def test_momentum_is_part_of_the_state(tmp_path: Path) -> None:
    one, two = learner(tmp_path, MOMENTUM), learner(tmp_path, MOMENTUM)
    learn(one, 0, 32)
    exchange([one], [32])
    path, _, _ = one.snapshot(tmp_path)
    two.load(path)
    for peer in (one, two):
        peer._inner_steps = 0
        for moments in (peer._inner._exp_avg, peer._inner._exp_avg_sq):
            for moment in moments.values():
                moment.zero_()
        learn(peer, 32, 32)
        exchange([peer], [32])
    assert one.digest == two.digest
    assert any(name.startswith("outer/momentum/") for name in one.state())


def test_a_state_of_another_model_is_refused(tmp_path: Path) -> None:
    one = learner(tmp_path)
    other = {"model/x": torch.zeros(3)}
    path = tmp_path / "other.safetensors"
    write_state(path, other, {"round": "1", "global_samples": "1", "digest": state_digest(other)})
    with pytest.raises(CorruptError):
        one.load(path)


def test_gradients_are_measured_on_devices_without_fp64_too() -> None:
    tensors = [torch.full((3,), 2.0), torch.full((2, 2), -1.0)]
    assert local_mode._norm(tensors) == 4.0
    assert local_mode._widest(torch.device("mps")) is torch.float32
    assert local_mode._widest(torch.device("cuda")) is torch.float64
