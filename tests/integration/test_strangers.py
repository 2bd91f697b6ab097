"""Five real peers, one or two of which lie: the others agree, and on what they would have agreed on without them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from peer.codecs import codec_of, encode
from peer.exchange.parts import VALUES
from peer.merge import Contribution, merge
from peer.robust import robust_mean
from swarm.identity import server_certificate
from swarm.sections import Local
from tests.exchange_peer import tensors
from tests.harness import Event, Program, digests, disputed, exchange_peers
from tests.swarm_run import digests as held
from tests.swarm_run import swarm_run

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120), pytest.mark.long]

ROUNDS = 3
SIZE = 200_000  # some parts for each reducer
LOCAL = Local(codec="sparse")

Sent = tuple[dict[str, torch.Tensor], int]  # an update and its samples


def swarm(liars: list[dict[str, Any]], **settings: Any) -> list[Program]:
    """The honest peers and the liars after the honest ones have finished and the liars were told that they are refused;
    the first, who leads, is honest.
    """
    common = {"await_others": 4, "rounds": ROUNDS, "linger": 10.0, "patience": 12.0, "size": SIZE, "target": 60}
    with exchange_peers(**{**common, **settings}) as peers:
        honest = [peers.start()]
        lying = [peers.start(**liar) for liar in liars]
        honest += [peers.start() for _ in range(4 - len(liars))]
        for one in honest:
            one.wait_for(lambda event: event["event"] == "applied" and event["round"] == ROUNDS, 90)
        found = digests(honest)
        assert sorted(found) == list(range(1, ROUNDS + 1))
        assert not disputed(found)
        for one, liar in zip(lying, liars, strict=True):
            if {"lie", "lends"} & liar.keys():
                one.wait_for(was_refused, 15)
            elif "sends" not in liar:
                one.wait_for(lambda event: event["event"] == "applied" and event["round"] == ROUNDS, 15)
                assert not disputed(digests([*honest, one]))
        return honest


def was_refused(event: Event) -> bool:
    """Whether the leader told it that it sits out; that takes longer than a round."""
    return event["event"] == "not_applied" and str(event["why"]).startswith("refused: ")


def assert_made_of_the_honest(honest: list[Program], reference: Callable[[Sequence[Sent]], str]) -> None:
    """What all applied is what the `reference` makes of the honest updates alone: the average's SHA-256."""
    compared = 0
    for event in honest[0].every("applied"):
        index, seeds = event["round"] - 1, [0, 3, 4]
        own = [next(e for e in one.every("applied") if e["round"] == event["round"])["own"] for one in honest]
        assert event["members"] == 5
        sent = [(tensors(1000 * seed + index, SIZE), count) for seed, count in zip(seeds, own, strict=True) if count]
        if 2 * len(sent) <= event["members"]:
            continue  # who has no samples in a round is no part of a majority
        compared += 1
        assert event["average"] in {reference(order) for order in permutations(sent)}  # peers' ids are drawn
    assert compared


def clipped_mean(sent: Sequence[Sent]) -> str:
    flat = [np.concatenate([one[name].reshape(-1).numpy() for name in sorted(one)]) for one, _ in sent]
    rows, samples = np.array(flat, np.float64), [count for _, count in sent]
    parts = [robust_mean(rows[:, at : at + VALUES], samples)[0] for at in range(0, rows.shape[1], VALUES)]
    return hashlib.sha256(np.concatenate(parts).tobytes()).hexdigest()


def merged(sent: Sequence[Sent]) -> str:
    codec, shapes = codec_of(LOCAL), {name: tuple(tensor.shape) for name, tensor in sent[0][0].items()}
    payloads = [encode(codec, {name: tensor.numpy() for name, tensor in one.items()}) for one, _ in sent]
    found = [Contribution(count, payload) for (_, count), payload in zip(sent, payloads, strict=True)]
    made = merge(codec, found, shapes, LOCAL.clip)
    assert not made.refused
    return hashlib.sha256(b"".join(made.update[name].tobytes() for name in sorted(shapes))).hexdigest()


@pytest.mark.parametrize("sends", ["NaN", "inf", "large"])
def test_an_update_that_is_no_honest_one_changes_no_bit(sends: str) -> None:
    honest = swarm([{"sends": sends}, {"sends": sends}], clipped=True)
    assert_made_of_the_honest(honest, clipped_mean)


@pytest.mark.parametrize(
    "lie", ["lying_reducer", "two_faced_reducer", "false_accuser", "other_parts", "silent_sender", "replayer"]
)
def test_who_lies_in_gradient_mode_sits_out_and_the_others_go_on(lie: str) -> None:
    honest = swarm([{"lie": lie}], clipped=True)
    assert any(event["members"] == 4 for event in honest[0].every("applied"))  # it may be back in the next round


@pytest.mark.parametrize("lie", ["other_payload", "oversized_payload", "withheld_payload"])
def test_who_lies_in_local_mode_sits_out_and_the_others_go_on(lie: str) -> None:
    honest = swarm([{"lie": lie}], local=LOCAL.codec, patience=5.0)
    assert any(event["members"] <= 4 for event in honest[0].every("applied"))


@pytest.mark.parametrize("sends", ["NaN", "large", "zeros"])
def test_bad_updates_of_local_mode_are_left_out_by_everybody(sends: str) -> None:
    honest = swarm([{"sends": sends}, {"sends": sends}], local=LOCAL.codec)
    assert_made_of_the_honest(honest, merged)


@pytest.fixture
def authority(tmp_path: Path) -> str:
    server_certificate(tmp_path)
    return str(tmp_path)


def of_the_liar(honest: list[Program]) -> list[int]:
    """How many samples of each round were not the honest members'."""
    rounds = [
        [event for one in honest for event in one.every("applied") if event["round"] == r + 1] for r in range(ROUNDS)
    ]
    return [events[0]["samples"] - sum(event["own"] for event in events) for events in rounds]


@pytest.mark.parametrize("lends", ["half", "once"])
@pytest.mark.parametrize("way", [{}, {"clipped": True}, {"local": LOCAL.codec}], ids=["mean", "clipped", "local"])
def test_who_shows_less_than_it_claims_or_the_same_again_is_left_out(
    way: dict[str, Any], lends: str, authority: str
) -> None:
    counted = of_the_liar(swarm([{"lends": lends}], **way, authority=authority))
    if lends == "half":
        assert counted == [0] * ROUNDS
    else:
        assert 0 < max(counted) == sum(counted)  # the first time is no second


@pytest.mark.parametrize(
    ("way", "reference"),
    [({"clipped": True}, clipped_mean), ({"local": LOCAL.codec}, merged)],
    ids=["clipped", "local"],
)
def test_who_is_on_probation_takes_part_and_changes_no_bit(
    way: dict[str, Any], reference: Callable[[Sequence[Sent]], str], authority: str
) -> None:
    honest = swarm([{"share": 0.0}, {"share": 0.0}], **way, authority=authority)
    assert_made_of_the_honest(honest, reference)


def test_who_is_on_probation_weighs_nothing_in_the_plain_mean(authority: str) -> None:
    honest = swarm([{"share": 0.0, "sends": "large"}], authority=authority)
    assert [event["members"] for event in honest[0].every("applied")] == [5] * ROUNDS
    assert all(event["norm"] < 2 * math.sqrt(SIZE) for event in honest[0].every("applied"))


def test_a_crowd_on_probation_neither_leads_nor_says_which_state_is_the_majoritys(authority: str) -> None:
    common = {"await_others": 4, "rounds": ROUNDS, "linger": 10.0, "target": 40, "authority": authority}
    with exchange_peers(**common) as peers:
        crowd = [peers.start(share=0.0, donor=True) for _ in range(3)]  # in another state, and senior
        others = [peers.start(), peers.start()]
        for one in others:
            one.wait_for(lambda event: event["event"] == "applied" and event["round"] == ROUNDS, 60)
        assert not [event for one in others for event in one.every("synced")]
        found = digests(others) | {0: {one.every("serves")[0]["digest"] for one in others}}
        assert not disputed(found)
        for one in crowd:
            told = one.wait_for(lambda event: event["event"] == "synced", 20)
            assert {told["digest"]} == found[told["round"]]


def test_where_all_are_on_probation_no_round_is_made_and_that_is_said(authority: str) -> None:
    with exchange_peers(rounds=1, await_others=1, target=20, grace=1.0, share=0.0, authority=authority) as peers:
        both = [peers.start(), peers.start()]
        told = both[1].wait_for(lambda event: event["event"] == "not_applied", 30)
        assert "0 of 20 samples, without those on probation" in told["why"]
        assert not both[0].every("applied")


def test_a_whole_swarm_trains_with_clipping_and_signs_by_its_supervisors(tmp_path: Path) -> None:
    with swarm_run(tmp_path, rounds=25, letters=120_000, compression="fp16") as run:
        robust = '[exchange]\naggregation = "centered_clip"'
        run.spec.write_text(run.spec.read_text().replace("[exchange]", robust))
        run.launch()
        peers = [run.join(f"peer-{number}") for number in range(3)]
        for peer in peers:
            assert peer.finish(60) == 0, peer.stderr
            assert peer.stderr == ""
        found = held(peers)
        assert sorted(found) == list(range(25))
        assert not disputed(found)
        assert any(event["members"] == 3 for event in peers[0].every("round"))
