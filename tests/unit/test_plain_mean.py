"""The plain mean, and what a reducer sees of the member that it watches while it adds."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from peer.checker import kept_of
from peer.exchange.average import Average
from peer.exchange.base import Applied, Update
from peer.gradient_check import travelled
from peer.learner import GradientLearner
from peer.recomputation import Subject
from peer.spotcheck import Verdict
from swarm.ranges import Range, total
from swarm.runspec import loads
from tests.local_swarm import SPEC, begun, load
from tests.plain import Members, wired
from tests.steps import ended

__all__ = ["wired"]

CODECS = ("none", "fp16", "8bit")
OWN, CONTROL = [Range(64, 76), Range(80, 84)], [Range(128, 144)]
Averages = Callable[..., dict[str, Average]]


# Spans of several parts, parts that hold several tensors, and a tensor that no codec cuts well.
SHAPES = {"a": (700_000,), "b": (30, 1000), "c": (150_001,), "d": (1,)}
SMALL = {"a": (30, 10), "b": (7,)}


def noise(seed: int, samples: int, shapes: dict[str, tuple[int, ...]] = SHAPES) -> Update:
    generator = torch.Generator().manual_seed(seed)
    tensors = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return Update(0, "d" * 64, samples, tensors)


@pytest.mark.parametrize("shapes", [SHAPES, SMALL], ids=["large", "small"])
@pytest.mark.parametrize("codec", CODECS)
def test_reducers_see_together_what_a_member_sent_and_each_a_part_of_it(
    wired: Averages, codec: str, shapes: dict[str, tuple[int, ...]]
) -> None:
    updates = {name: noise(seed, 4 + seed, shapes) for seed, name in enumerate(["anna", "ben", "carl", "dora"])}
    found = wired(updates, codec, watched="ben", undialled=("ben",))
    assert {average.broken for average in found.values()} == {""}
    assert len({average.digest for average in found.values()}) == 1
    places = []
    for name in ("anna", "carl", "dora"):
        seen = found[name].seen["ben"]
        assert seen.samples == 5
        [look] = seen.looks
        expected = travelled(updates["ben"].tensors, look.keys(), codec)
        assert look, name
        assert all(np.array_equal(values, expected[place]) for place, values in look.items())
        places += list(look)
    ends = [0, *(place.stop for place in sorted(places))]
    assert [place.start for place in sorted(places)] == ends[:-1]
    assert total(places) == sum(values.numel() for values in updates["ben"].tensors.values())


def test_it_is_the_mean_of_all_samples(wired: Averages) -> None:
    updates = {name: noise(seed, 4 * seed) for seed, name in enumerate(["anna", "ben", "carl", "dora"])}
    found = wired(updates, "none", undialled=("dora",))
    for name in SHAPES:
        expected = sum(one.samples * one.tensors[name] for one in updates.values()) / 24
        assert torch.allclose(found["anna"].mean[name], expected, atol=1e-6)


def test_only_who_watches_keeps_and_only_of_the_watched(wired: Averages) -> None:
    updates = {name: noise(seed, 8, SMALL) for seed, name in enumerate(["anna", "ben", "carl"])}
    updates["carl"] = replace(updates["carl"], samples=0)
    for watched in ("", "nobody", "carl"):
        assert all(not average.seen for average in wired(updates, "none", watched=watched).values()), watched
    found = wired(updates, "none", watched="ben")
    assert [name for name, average in found.items() if average.seen] == ["anna", "carl"], "nobody sees its own"


def test_who_cannot_be_dialled_sees_nothing(wired: Averages) -> None:
    updates = {name: noise(seed, 8, SMALL) for seed, name in enumerate(["anna", "ben", "carl"])}
    found = wired(updates, "none", watched="ben", undialled=("carl",))
    assert not found["carl"].seen
    assert found["anna"].seen.keys() == {"ben"}


@pytest.mark.usefixtures("wired")
def test_nothing_is_held_of_exchanges_before_the_last() -> None:
    updates = {name: noise(seed, 8, SMALL) for seed, name in enumerate(["anna", "ben"])}

    async def story() -> None:
        members = Members(updates, "none")
        for _ in range(3):
            await members.averages(updates)
        assert [len(servicer.runs) for servicer in members.servicers.values()] == [1, 1]

    asyncio.run(story())


# ── checks ───────────────────────────────────────────────────────────────────────────────────────


def learner(folder: Path, codec: str) -> GradientLearner:
    spec = SPEC.format(local="").replace('"local"', '"gradient"') + f'\n[exchange]\ncompression = "{codec}"\n'
    made = begun(loads(spec), folder)
    assert isinstance(made, GradientLearner)
    return made


def update(member: GradientLearner, *positions: Range, said: int = 16) -> Update:
    for part in positions:
        member.learn(load(part))
    made = member.update(total(positions))
    member.discard()
    return replace(made, samples=said)


def checked(own: GradientLearner, average: Average, member: str) -> Verdict:
    again = kept_of(own, Applied(average.mean, average.norm, 48, 4, seen=average.seen), member)
    assert again
    return ended(again(Subject(OWN, CONTROL), load))


def near(found: Verdict) -> float:
    """How near the gradient was."""
    return float(re.search(r"is (-?[\d.]+) near", found.why)[1])  # type: ignore[index]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("undialled", [(), ("anna",), ("carl", "half")])
def test_who_trained_on_its_samples_passes_and_nobody_else_does(
    wired: Averages, tmp_path: Path, codec: str, undialled: tuple[str, ...]
) -> None:
    member = learner(tmp_path, codec)
    updates = {
        "anna": update(member, *OWN),
        "carl": update(member, Range(200, 216)),
        "half": update(member, Range(64, 72)),
        "vera": update(member, Range(0, 12), said=12),
    }
    own = learner(tmp_path, codec)
    own.gradients.micro_batch = 3
    found = {who: checked(own, wired(updates, codec, who, undialled)["vera"], who) for who in ("anna", "carl", "half")}
    print({who: near(verdict) for who, verdict in found.items()})
    assert found["anna"].passed
    assert near(found["anna"]) > 0.98
    assert [found[who].passed for who in ("carl", "half")] == [False, False]
    assert near(found["carl"]) < 0.5


def test_a_member_that_says_more_samples_than_were_counted_fails(wired: Averages, tmp_path: Path) -> None:
    member = learner(tmp_path, "none")
    updates = {"anna": update(member, *OWN, said=17), "vera": update(member, Range(0, 16))}
    found = checked(member, wired(updates, "none", "anna")["vera"], "anna")
    assert found == Verdict(False, "it said that it sent an update of 17 samples, and 16 were counted")


def test_no_check_begins_where_nothing_was_seen(wired: Averages, tmp_path: Path) -> None:
    member = learner(tmp_path, "none")
    updates = {"anna": update(member, *OWN), "vera": update(member, Range(0, 16))}
    average = wired(updates, "none", "anna", ("vera",))["vera"]
    assert kept_of(member, Applied(average.mean, average.norm, 32, 2, seen=average.seen), "anna") is None
