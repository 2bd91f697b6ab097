"""Whatever befalls a swarm, it stays one and goes on: the real exchange, with virtual time, network and faults.

`python -m tests.simulator --swarms 1000` tries more of them.
"""

from __future__ import annotations

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.simulator.search import story
from tests.simulator.world import KINDS, Fault, World

SECONDS = 60.0
BROKE_IT_ONCE = (3, 14, 16, 24, 41, 46, 55, 87, 169, 173, 177, 180)  # seeds

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


@settings(max_examples=12, deadline=None, phases=[Phase.generate, Phase.shrink])
@given(st.integers(1, 7), st.integers(0, 2**16), st.lists(faults, max_size=6))
def test_whatever_befalls_it_the_swarm_stays_one_and_goes_on(peers: int, seed: int, happens: list[Fault]) -> None:
    World(peers, seed).run(happens, SECONDS)


@pytest.mark.parametrize("seed", range(12))
def test_stories_that_broke_it_once_and_others(seed: int) -> None:
    assert not story(BROKE_IT_ONCE[seed]).broken()


@pytest.mark.xfail(reason="docs/assumptions.md, Limits: a leader that is cut off", strict=True)
def test_a_leader_that_is_cut_off_at_the_wrong_moment_takes_no_round_alone() -> None:
    happens = [Fault(8, "cut", (1, 4), 15.0), Fault(1, "differ", (5,), 7.0), Fault(16, "leave", (5,), 0.0)]
    world = World(2, seed=8)
    world.run(happens, SECONDS)
    assert not world.overtaken


@pytest.mark.parametrize("away", [(0, 1), (2, 3, 4), (0,), (1, 2, 3, 4)])
def test_two_parts_of_a_swarm_never_both_make_rounds(away: tuple[int, ...]) -> None:
    World(5, seed=1).run([Fault(10.0, "split", away, 40.0)], SECONDS)
    World(5, seed=1).run([Fault(5.0, "away", (0,), 100.0), Fault(10.0, "split", away, 40.0)], SECONDS)
