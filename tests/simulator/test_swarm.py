"""Whatever befalls a swarm, it stays one and goes on: the real exchange, with virtual time, network and faults.

`python -m tests.simulator --swarms 1000` tries more of them.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulator.world import KINDS, Fault, World

SECONDS = 60.0

faults = st.builds(
    Fault,
    at=st.integers(0, int(SECONDS)).map(float),
    kind=st.sampled_from(KINDS),
    who=st.lists(st.integers(0, 6), min_size=1, max_size=4, unique=True).map(tuple),
    seconds=st.sampled_from([0.0, 0.5, 2.0, 7.0, 15.0, 40.0]),
)


def test_nothing_befalls_it() -> None:
    world = World(5, seed=1)
    world.run([], SECONDS)
    assert max(world.states) > 100


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 7), st.integers(0, 2**16), st.lists(faults, max_size=6))
def test_whatever_befalls_it_the_swarm_stays_one_and_goes_on(peers: int, seed: int, happens: list[Fault]) -> None:
    World(peers, seed).run(happens, SECONDS)


@pytest.mark.parametrize("away", [(0, 1), (2, 3, 4), (0,), (1, 2, 3, 4)])
def test_two_parts_of_a_swarm_never_both_make_rounds(away: tuple[int, ...]) -> None:
    World(5, seed=1).run([Fault(10.0, "split", away, 40.0)], SECONDS)
    World(5, seed=1).run([Fault(5.0, "away", (0,), 100.0), Fault(10.0, "split", away, 40.0)], SECONDS)
