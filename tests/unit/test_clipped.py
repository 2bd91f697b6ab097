"""Gradient mode among strangers: honest groups agree on the clipped mean, liars are found and named."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import numpy as np
import pytest
import torch

from peer.exchange.clipped import checked_by, reducers_of
from peer.exchange.court import objection
from peer.exchange.parts import VALUES, shares
from peer.exchange.reducer import Work
from peer.gradient_check import travelled
from swarm.proto import exchange_pb2 as pb
from swarm.ranges import Range
from tests.liars import LIES
from tests.strangers import DIGEST, Stranger, Table, Wire


def table(count: int, codec: str = "none", size: int = 4 * VALUES) -> Table:
    wire = Wire()
    strangers = [Stranger(f"peer-{number}", wire, codec) for number in range(count)]
    signal = torch.randn(size, generator=torch.Generator().manual_seed(99))
    for seed, one in enumerate(strangers):
        noise = torch.randn(size, generator=torch.Generator().manual_seed(seed))
        one.tensors = {"a": (signal + noise)[: size // 2], "b": (signal + noise)[size // 2 :].reshape(2, -1)}
    return Table(strangers)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 60))


@pytest.mark.parametrize("codec", ["none", "fp16", "8bit"])
def test_everybody_gets_the_same_bytes_close_to_the_mean(codec: str) -> None:
    async def story() -> None:
        four = table(4, codec)
        found = await four.averages(four.group())
        assert [average.broken for average in found] == [""] * 4
        assert len({average.digest for average in found}) == 1
        mean = torch.stack([one.tensors["a"] for one in four.strangers]).mean(dim=0)
        assert float((found[0].mean["a"] - mean).norm() / mean.norm()) < 0.05

    run(story())


def test_a_peer_without_samples_gets_the_mean_of_the_others() -> None:
    async def story() -> None:
        four = table(4)
        four.strangers[2].samples = 0
        found = await four.averages(four.group())
        assert [average.broken for average in found] == [""] * 4
        assert len({average.digest for average in found}) == 1

    run(story())


@pytest.mark.parametrize("codec", ["none", "8bit"])
def test_everybody_sees_parts_of_what_the_one_sent_that_it_watches(codec: str) -> None:
    """Also the leader, which reduces nothing: of the part by which it checks a reducer."""

    async def story() -> None:
        four = table(4, codec, size=7 * VALUES + 1000)
        four.strangers[2].samples = 0
        sender = four.strangers[1]
        for one in four.strangers:
            one.watched = sender.identity.member_id
        averages = await four.averages(four.group())
        found = [average.seen[sender.identity.member_id] for average in averages]
        looks = [[len(look) for look in seen.looks] for seen in found]
        assert looks[0] == [1]
        assert sorted(looks[1:]) == [[2, 1], [3, 1], [3, 1]], "its share, and one of another's"
        for seen in found:
            assert seen.samples == 8
            for look in seen.looks:
                expected = travelled(sender.tensors, look.keys(), codec)
                assert all(np.array_equal(values, expected[place]) for place, values in look.items())

    run(story())


@pytest.mark.parametrize("watched", ["", "nobody", "who has no samples"])
def test_nothing_is_kept_of_those_whom_nobody_watches(watched: str) -> None:
    async def story() -> None:
        four = table(4)
        idle = four.strangers[2]
        idle.samples = 0
        for one in four.strangers:
            one.watched = idle.identity.member_id if "samples" in watched else watched
        assert not [average for average in await four.averages(four.group()) if average.seen]

    run(story())


def test_a_part_that_cannot_be_read_is_seen_as_zeros() -> None:
    work = Work((), (), [1000, 7], "none")
    [(place, values)] = work.look({1: b"no part"}).items()
    assert place == Range(1000, 1007)
    assert values.tolist() == [0.0] * 7


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e9])
def test_an_update_that_is_no_honest_one_changes_nothing(value: float) -> None:
    async def story() -> None:
        with_liar, without = table(5), table(5)
        with_liar.strangers[3].tensors["a"][::100] = value
        with_liar.strangers[3].tensors["b"][0, ::100] = value
        with_liar.strangers[3].tensors["b"][1, ::100] = value
        without.strangers[3].samples = 0
        one = (await with_liar.averages(with_liar.group()))[0]
        other = (await without.averages(without.group()))[0]
        assert not one.broken
        assert one.digest == other.digest

    run(story())


GUILTY = {
    "lying_reducer": "clipped mean",
    "two_faced_reducer": "different results",
    "false_accuser": "not so",
    "other_parts": "not the one that it signed",
    "oversized_parts": "not the one that it signed",
    "silent_sender": "stopped sending",
}


@pytest.mark.parametrize("kind", GUILTY)
def test_a_liar_costs_one_attempt_and_the_others_go_on_without_it(kind: str) -> None:
    async def story() -> None:
        five = table(5)
        LIES[kind](five.strangers[2].way)
        first = await five.attempt()
        assert "applied" not in first.values(), first
        liar = five.strangers[2].identity.member_id
        assert GUILTY[kind] in five.court.bench.why(liar, 0)
        assert [one for one in five.strangers if five.court.bench.why(one.identity.member_id, 0)] == [five.strangers[2]]
        second = await five.attempt()
        assert [why for name, why in second.items() if name != "peer-2"] == ["applied"] * 4
        assert second["peer-2"].startswith("refused")

    run(story())


def test_a_reducer_that_lost_one_waits_for_nobody_and_accuses_nobody_else() -> None:
    """Others stop sending when they hear of it: it waited for them, and what it said of the liar came too late."""
    five = table(5)
    group = five.group()
    reducer = five.strangers[3].way._meeting(group).reducer
    assert reducer is not None
    assert reducer.missing() == {one.node.id for one in five.strangers}
    reducer.lose(five.strangers[2].node.id)
    assert not reducer.missing()


def test_one_word_against_another_costs_both_the_round() -> None:
    async def story() -> None:
        five = table(5)
        LIES["slanderer"](five.strangers[2].way)
        await five.attempt()
        out = [n for n, one in enumerate(five.strangers) if five.court.bench.why(one.identity.member_id, 0)]
        assert len(out) == 2
        assert 2 in out
        told = await five.attempt()
        assert list(told.values()).count("applied") == 3

    run(story())


def test_streams_that_break_off_cost_nobody_anything() -> None:
    """A connection between two peers may be lost, with all that is on its way in both directions."""

    async def story() -> None:
        five = table(5)
        one, other = (five.strangers[place].node.id for place in (2, 3))
        five.strangers[0].node.wire.breaks.update({(one, other): 2, (other, one): 2})
        assert set((await five.attempt()).values()) == {"applied"}

    run(story())


def test_two_that_cannot_reach_each_other_sit_out_and_the_others_go_on() -> None:
    async def story() -> None:
        five = table(5)
        one, other = (five.strangers[place] for place in (2, 3))
        five.strangers[0].node.wire.breaks.update({(one.node.id, other.node.id): 99, (other.node.id, one.node.id): 99})
        assert "applied" not in (await five.attempt()).values()
        out = [who for who in five.strangers if five.court.bench.why(who.identity.member_id, 0)]
        assert out == [one, other]
        assert list((await five.attempt()).values()).count("applied") == 3

    run(story())


def test_who_cannot_be_asked_what_it_received_is_not_found_guilty() -> None:
    async def story() -> None:
        five = table(5)
        leader, reducer, checker = five.strangers[0], five.strangers[1], five.strangers[2]
        group = five.group()
        await five.averages(group)
        leader.node.wire.breaks[leader.node.id, reducer.node.id] = 99
        assert await leader.way.recheck(group.group_id, reducer.node.id, 0) is None
        assert await checker.way.recheck(group.group_id, reducer.node.id, 0) == ""

    run(story())


@pytest.mark.parametrize("gone", [0, 2], ids=["leader", "reducer"])
def test_an_exchange_ends_soon_when_a_member_is_gone(gone: int) -> None:
    async def story() -> None:
        four = table(4)
        group, dead = four.group(), four.strangers.pop(gone)
        del dead.node.wire.servers[dead.node.id]
        began = asyncio.get_running_loop().time()
        found = await four.averages(group)
        assert asyncio.get_running_loop().time() - began < 2.0, "a third of the patience, else"
        assert all(dead.identity.member_id in average.broken for average in found if average.broken)
        assert sum(bool(average.broken) for average in found) >= len(four.strangers) - 1

    run(story())


def test_what_the_leader_changes_in_a_group_is_seen_by_everybody() -> None:
    four = table(4)
    group = four.group()
    assert objection(four.strangers[1].notary, group, 0, DIGEST) == ""
    group.members[2].samples *= 2
    assert "signature is not" in objection(four.strangers[1].notary, group, 0, DIGEST)
    assert "signature is not" in objection(four.strangers[1].notary, four.group(), 1, DIGEST)


def test_parts_are_shared_out_evenly_and_completely() -> None:
    for counts in ([5] * 10, [100, 1, 1, 1, 100], [7]):
        for reducers in (1, 2, 3, 8):
            found = shares(counts, reducers)
            assert [index for span in found for index in span] == list(range(len(counts)))
            assert len(found) == reducers


def test_each_reducer_is_checked_by_another_and_the_leader_does_not_reduce() -> None:
    members = [pb.GroupMember(peer_id=bytes([n])) for n in range(6)]
    for turn in range(20):
        group = pb.Group(group_id=bytes([turn]), members=members, leader=bytes([0]))
        reducers = reducers_of(group)
        assert bytes([0]) not in reducers
        checked = {checked_by(member, group, reducers) for member in reducers}
        assert checked == set(reducers)
        assert all(checked_by(member, group, reducers) != member for member in reducers)
