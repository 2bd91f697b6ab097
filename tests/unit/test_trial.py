"""The micro-batch that a peer tries out: the smallest of the fastest that fit, within bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.trial import find_micro_batch


class Machine:
    """Needs `fixed` seconds for each computation and `each` for each sample; holds `room` samples."""

    def __init__(self, fixed: float, each: float, room: int) -> None:
        self.fixed = fixed
        self.each = each
        self.room = room
        self.now = 0.0
        self.largest = 0

    def rehearse(self, size: int) -> None:
        if size > self.room:
            raise MemoryError
        self.now += self.fixed + self.each * size
        self.largest = max(self.largest, size)

    def clock(self) -> float:
        return self.now


def test_a_machine_that_gains_by_it_computes_as_many_as_the_run_allows() -> None:
    machine = Machine(fixed=1.0, each=0.01, room=1000)
    trial = find_micro_batch(machine.rehearse, 6, machine.clock)
    assert trial.micro_batch == 6
    assert trial.rate == pytest.approx(6 / 1.06)
    assert "the run allows 6" in trial.why


def test_a_machine_that_does_not_gain_takes_one() -> None:
    machine = Machine(fixed=0.0, each=0.1, room=1000)
    assert find_micro_batch(machine.rehearse, 8, machine.clock).micro_batch == 1


def test_the_memory_bounds_it() -> None:
    machine = Machine(fixed=1.0, each=0.0, room=5)
    trial = find_micro_batch(machine.rehearse, 64, machine.clock)
    assert trial.micro_batch == 4
    assert "8 do not fit into memory" in trial.why


def test_a_machine_without_room_for_one_is_told() -> None:
    with pytest.raises(MemoryError):
        find_micro_batch(Machine(1.0, 0.0, 0).rehearse, 8)


@given(st.floats(0.001, 30), st.floats(0.001, 30), st.integers(1, 70), st.integers(1, 64))
def test_it_stays_within_memory_bound_and_time(fixed: float, each: float, room: int, most: int) -> None:
    machine = Machine(fixed, each, room)
    trial = find_micro_batch(machine.rehearse, most, machine.clock)
    assert 1 <= trial.micro_batch <= min(room, most)
    assert machine.now <= 2 * (20 + fixed + each * max(1, machine.largest))


def test_what_is_compiled_for_a_size_is_not_taken_for_its_speed() -> None:
    """torch.compile takes 40 seconds for the first size above one."""
    machine = Machine(fixed=0.05, each=0.001, room=1000)
    seen: set[bool] = set()

    def rehearse(size: int) -> None:
        if (size > 1) not in seen:
            seen.add(size > 1)
            machine.now += 40.0
        machine.rehearse(size)

    trial = find_micro_batch(rehearse, 16, machine.clock)
    assert trial.micro_batch == 16
    assert trial.rate == pytest.approx(16 / 0.066)
