"""Whatever befalls a swarm, it stays one and goes on: the real exchange, with virtual time, network and faults.

`python -m tests.simulator --swarms 1000` tries more of them.
"""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from swarm.proto import exchange_pb2 as pb
from tests.simulator.liar import WithLiar
from tests.simulator.peers import Theta, VirtualPeer
from tests.simulator.search import story
from tests.simulator.world import KINDS, Fault, World

SECONDS = 60.0
BROKE_IT_ONCE = (3, 14, 16, 24, 46, 55, 68, 87, 102, 169, 173, 177, 180, 1048, 1083, 1090, 1569)  # seeds
BROKE_IT_ONCE += (10154, 20291, 50317, 50405, 50451, 50723, 50976, 60425, 60784, 61556, 62429, 62660)

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


# The same stories each time; `python -m tests.simulator` looks for others.
@settings(max_examples=12, deadline=None, derandomize=True, phases=[Phase.generate, Phase.shrink])
@given(st.integers(1, 7), st.integers(0, 2**16), st.lists(faults, max_size=6))
def test_whatever_befalls_it_the_swarm_stays_one_and_goes_on(peers: int, seed: int, happens: list[Fault]) -> None:
    World(peers, seed).run(happens, SECONDS)


def test_a_state_that_was_reported_and_ended_with_its_process_holds_nobody_up() -> None:
    """Both were killed when one had just reported the next state: the coordinator went on believing that it held it."""
    again = [Fault(0.0, "kill", (0,), 0.0), Fault(27.0, "cut", (0,), 2.0), Fault(30.0, "kill", (0, 1), 0.0)]
    World(2, seed=0).run(again, SECONDS)


@pytest.mark.parametrize("away", [2.0, 10.0])
def test_those_who_leave_and_come_back_follow_the_one_that_went_on(away: float) -> None:
    """Two of three leave while the coordinator is away, which does not hear of it; the third goes on alone. It waited
    for their word, and they for its.
    """
    left = Fault(46.0, "leave", (0, 1, 2), 7.0), Fault(22.0, "split", (0,), 40.0)
    World(4, seed=1090).run([*left, Fault(46.0, "away", (0,), away)], SECONDS)


@pytest.mark.parametrize("seed", BROKE_IT_ONCE)
def test_stories_that_broke_it_once(seed: int) -> None:
    assert not story(seed).broken()


class CutsTheLeaderOff(World):
    """Nobody hears the leader from the moment on in which it has taken round 5, for 20 s."""

    def applied(self, peer: VirtualPeer, theta: Theta, group: pb.Group) -> None:
        super().applied(peer, theta, group)
        if theta.round == 5 and group.leader == peer.id and not self.network.sides:
            self.network.sides = {peer.id: 1}
            asyncio.get_running_loop().call_later(20.0, self.network.sides.clear)


class EndsWhoMadeIt(World):
    """The leader of round 5 got another average than the two others, and these end as soon as they hold round 6."""

    def applied(self, peer: VirtualPeer, theta: Theta, group: pb.Group) -> None:
        super().applied(peer, theta, group)
        if theta.round == 5 and group.leader != peer.id:
            peer.flaw = "bit"
        if theta.round == 6 and peer.id.endswith((b".2", b".3")):
            peer.end()


def test_a_leader_does_not_wait_for_a_state_that_ended_with_all_who_made_it() -> None:
    """It got another average than they, told all others that the run is in that round, and nobody could follow it."""
    EndsWhoMadeIt(3, seed=1).run([], 20.0)


@pytest.mark.parametrize("peers", [2, 3, 5])
def test_what_a_leader_did_that_is_cut_off_at_the_wrong_moment_does_not_count(peers: int) -> None:
    world = CutsTheLeaderOff(peers, seed=1)
    world.run([], SECONDS)
    assert len(world.overtaken) == 1


@pytest.mark.parametrize("peers", [2, 3, 5])
def test_a_member_that_says_it_is_in_a_later_round_moves_nobody(peers: int) -> None:
    """One word made the leader let go of its round, and everybody took that member's state."""
    world = WithLiar(peers, seed=1)
    world.run([Fault(5.0, "lie", (0,)), Fault(20.0, "kill", (1,)), Fault(30.0, "cut", (0, 1), 7.0)], SECONDS)
    assert "lie" not in world.states.values()
    assert max(world.states) > 30


@pytest.mark.parametrize("away", [(0, 1), (2, 3, 4), (0,), (1, 2, 3, 4)])
def test_two_parts_of_a_swarm_never_both_make_rounds(away: tuple[int, ...]) -> None:
    World(5, seed=1).run([Fault(10.0, "split", away, 40.0)], SECONDS)
    World(5, seed=1).run([Fault(5.0, "away", (0,), 100.0), Fault(10.0, "split", away, 40.0)], SECONDS)
