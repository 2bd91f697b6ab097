"""A rehearsal: its laws, what it finds, how fast it is, and what it says of rounds that were measured before."""

from __future__ import annotations

import io
import json
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from peer.needs import state_bytes, trained_values
from swarm import runspec
from swarm.checks import Level
from swarm.cli.rehearsal.peers import drawn
from swarm.cli.rehearsal.plan import Plan, Speed, Swarm
from swarm.cli.rehearsal.rehearse import Rehearsal, rehearse
from swarm.cli.rehearsal.show import screen
from swarm.cli.rehearsal.stage import Stage
from swarm.cli.rehearsal.travel import Gathering, all_reduce, clipped
from swarm.proto import coordinator_pb2 as pb

SPEC = """
[run]
name = "test"
[model]
source = "preset:tiny-llama"
tokenizer = "bytes"
[data]
source = "builtin:pydoc-topics"
sequence_length = 128
[training]
mode = "{mode}"
rounds = 100
target_batch_size = {target}
micro_batch_size = 8
[local]
steps = 20
window_seconds = 300.0
{local}
[exchange]
compression = "fp16"
grace_seconds = {grace}
{exchange}
"""
TRAINED = 1_000_000
SANE = Swarm(peers=8, churn=0.0, attackers=0)


def plan(
    mode: str = "local",
    *,
    swarm: Swarm = SANE,
    rate: float = 20.0,
    payload: int = 28_000,
    target: int = 1280,
    local: str = "overlap = true",
    exchange: str = "",
    grace: float = 10.0,
    epoch: int = 1_000_000,
) -> Plan:
    spec = runspec.loads(SPEC.format(mode=mode, target=target, local=local, exchange=exchange, grace=grace))
    run = pb.Run(
        latest=pb.Checkpoint(size=state_bytes(TRAINED, spec)),
        heldout=pb.Blob(size=10_000),
        layout=pb.DataLayout(sequence_length=128),
    )
    speed = Speed(rate, 8, settle=0.05, merge=0.01, why="a test")
    config = {"hidden_size": 256, "num_hidden_layers": 1, "vocab_size": 257}
    return Plan(spec, run, payload, epoch, speed, swarm, disk_free=10**12, config=config)


def gradient(swarm: Swarm = SANE, target: int = 640, **more: Any) -> Plan:
    return plan("gradient", swarm=swarm, payload=2 * TRAINED, target=target, **more)


def level(found: Rehearsal, name: str) -> Level:
    return max((check.level for check in found.findings if check.name == name), key=list(Level).index)


# ── laws ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("made", [plan(), plan(local="overlap = false"), gradient(Swarm(peers=8, churn=0, uplink=100))])
def test_a_sane_run_without_churn_and_attackers_has_no_problem(made: Plan) -> None:
    even = replace(made.swarm, slow=0.0, spread=0.1)
    found = rehearse(replace(made, swarm=even))
    assert [check for check in found.findings if check.level is not Level.OK] == []
    assert found.figures["utilisation"].value > 0.7
    assert found.figures["members"].value == 8


def test_the_same_plan_gives_the_same_rehearsal_and_another_seed_another() -> None:
    made = plan(swarm=Swarm(peers=12, churn=2.0, attackers=1))
    assert Stage(made, 3).run(0.0, 40, 40) == Stage(made, 3).run(0.0, 40, 40)
    calm = replace(made, swarm=replace(made.swarm, churn=0.0))
    assert rehearse(calm) == rehearse(calm)
    assert rehearse(calm) != rehearse(replace(calm, swarm=replace(calm.swarm, seed=1)))


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["gradient", "local", "overlap"]),
    st.integers(2, 12),
    st.floats(1, 100),
    st.floats(1, 20),
    st.integers(0, 50),
)
def test_more_uplink_never_makes_rounds_slower(mode: str, peers: int, uplink: float, factor: float, seed: int) -> None:
    def seconds(rate: float) -> float:
        swarm = Swarm(peers=peers, churn=0.0, uplink=rate, downlink=5 * rate)
        overlap = f"overlap = {str(mode == 'overlap').lower()}"
        made = gradient(swarm) if mode == "gradient" else plan(swarm=swarm, local=overlap, payload=2_000_000)
        seen = Stage(made, seed).run(0.0, 10, 10)
        return seen.seconds / seen.rounds if seen.rounds else float("inf")

    assert seconds(factor * uplink) <= seconds(uplink) * (1 + 1e-9)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 99))
def test_what_is_sent_is_received(members: int, senders: int, seed: int) -> None:
    made = plan(swarm=Swarm(peers=members))
    group = drawn(made, random.Random(seed))
    gathering = Gathering(made)
    trips = [gathering.trip(group, group[:senders]) for _ in range(3)]  # directly, and over the coordinator's node once
    assert members < 3 or senders < 3 or trips[1].carried
    for trip in [*trips, all_reduce(made, group), clipped(gradient(made.swarm), group)]:
        assert sum(trip.sent) + trip.carried == pytest.approx(sum(trip.received) + trip.brought)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 20), st.floats(0, 20), st.integers(0, 10**6), st.booleans())
def test_whatever_is_supposed_it_comes_to_an_end(peers: int, churn: float, seed: int, local: bool) -> None:
    swarm = Swarm(peers=peers, churn=churn, attackers=peers // 3, seed=seed, uplink=5.0)
    seen = Stage(plan(swarm=swarm) if local else gradient(swarm), seed).run(600.0, 5, 20)
    assert seen.rounds or seen.why
    assert 0 <= seen.computing <= 1.05 * seen.present or not seen.rounds
    assert seen.useful <= seen.samples if swarm.attackers else seen.useful == seen.samples  # all of it was counted


# ── findings ───────────────────────────────────────────────────────────────────────────────────


def test_an_update_that_does_not_fit_the_links_is_found_before_the_first_evening() -> None:
    found = rehearse(gradient(replace(SANE, uplink=0.3)))
    [check] = [check for check in found.findings if check.name == "rounds"]
    assert check.level is Level.FAILED
    assert "fails after exchange.timeout_seconds = 60" in check.says
    assert found.figures["rounds_per_hour"].value == 0


def test_rounds_that_are_shorter_than_their_exchange_are_found() -> None:
    assert level(rehearse(gradient(rate=80.0, target=64)), "exchange") is Level.FAILED
    assert level(rehearse(gradient(replace(SANE, uplink=200.0), target=6400)), "exchange") is Level.OK


def test_a_batch_that_many_peers_overshoot_is_found() -> None:
    assert level(rehearse(gradient(replace(SANE, peers=40), target=64)), "batch") is Level.FAILED


@pytest.mark.parametrize("mode", ["local", "gradient"])
def test_too_few_contributors_are_found(mode: str) -> None:
    assert level(rehearse(plan(mode, exchange="min_contributors = 9")), "rounds") is Level.FAILED
    assert level(rehearse(plan(mode, exchange="min_contributors = 8")), "rounds") is Level.OK


def test_slow_peers_that_others_wait_for_are_found() -> None:
    slow = replace(SANE, slow=0.4)
    patient = rehearse(plan(swarm=slow, exchange="timeout_seconds = 400.0", grace=200.0))
    assert level(patient, "peers") is Level.WARNING
    assert patient.figures["utilisation"].value < 0.7
    assert rehearse(plan(swarm=slow, grace=1.0)).figures["utilisation"].value > 0.8


def test_a_swarm_that_falls_apart_is_found() -> None:
    found = rehearse(plan(swarm=Swarm(peers=3, churn=20.0, away=900.0)))
    assert level(found, "rounds") is not Level.OK


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (gradient(replace(SANE, attackers=1)), Level.FAILED),  # the plain mean
        (gradient(replace(SANE, attackers=1), exchange='aggregation = "centered_clip"'), Level.OK),
        (plan(swarm=replace(SANE, attackers=2)), Level.OK),
        (plan(swarm=replace(SANE, attackers=3)), Level.WARNING),
        (plan(swarm=replace(SANE, attackers=4)), Level.FAILED),
        (plan(swarm=Swarm(peers=2, churn=0.0, attackers=1)), Level.FAILED),
    ],
)
def test_attackers_are_held_against_the_runs_rules(made: Plan, wanted: Level) -> None:
    found = rehearse(made)
    assert level(found, "attackers") is wanted
    if level(found, "rounds") is Level.OK:
        honest = rehearse(replace(made, swarm=replace(made.swarm, attackers=0)))
        assert found.figures["samples_per_second"].value < honest.figures["samples_per_second"].value


def test_few_data_are_found() -> None:
    found = rehearse(plan(epoch=2000))
    assert level(found, "data") is Level.WARNING
    assert level(found, "leases") is Level.WARNING
    assert level(rehearse(plan(epoch=0)), "data") is Level.WARNING  # not known


def test_checkpoints_that_take_longer_than_they_are_apart_are_found() -> None:
    made = gradient(Swarm(peers=8, churn=0.0, uplink=2.0), target=640, exchange="timeout_seconds = 300.0")
    often = made.spec.model_copy(update={"checkpoint": made.spec.checkpoint.model_copy(update={"every_rounds": 1})})
    assert level(rehearse(replace(made, spec=often)), "checkpoints") is Level.FAILED


def test_a_full_disk_and_a_slow_first_evening_are_found() -> None:
    made = plan()
    assert level(rehearse(replace(made, disk_free=1000)), "disk") is Level.FAILED
    large = pb.Run()
    large.CopyFrom(made.run)
    large.model.append(pb.Blob(size=10**9))
    assert level(rehearse(replace(made, run=large)), "start") is Level.WARNING


def test_every_finding_says_what_to_do() -> None:
    for made in (gradient(replace(SANE, peers=20, churn=9.0, attackers=10), target=64), plan(epoch=500)):
        for check in rehearse(made).findings:
            assert bool(check.remedy) == (check.level is not Level.OK), check


def test_the_screen_says_all_of_it_in_80_columns() -> None:
    made = plan(swarm=Swarm(peers=8, churn=0.5, attackers=2))
    found = rehearse(made)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(screen(made, found))
    said = console.export_text()
    assert max(map(len, said.splitlines())) <= 80
    for words in ("2 of them attackers", "a test", "not prepared", "Rounds an hour", *(c.name for c in found.findings)):
        assert words in said


def test_what_no_round_was_made_of_has_no_figures() -> None:
    made = gradient(replace(SANE, uplink=0.3))
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(screen(made, rehearse(made)))
    assert "Rounds an hour" not in console.export_text()


# ── what is known from elsewhere ───────────────────────────────────────────────────────────────


def test_rounds_on_home_links_are_foretold_as_they_were_measured() -> None:
    """Four peers, 10.6 M parameters in fp16, 10 Mbit/s, eight samples in a round (docs/results/links.json)."""
    results = Path(__file__).parents[2] / "docs" / "results" / "links.json"
    measured = json.loads(results.read_text())["figures"]["10 Mbit/s, gradient fp16"]
    parameters = 10_600_000
    link = Swarm(peers=4, churn=0.0, uplink=10.0, downlink=10.0, spread=0.0, link_spread=0.0, slow=0.0)
    made = replace(gradient(link, target=8), payload=2 * parameters, speed=Speed(20.0, 2, settle=0.2))
    figures = rehearse(made).figures
    assert figures["samples_per_second"].value == pytest.approx(measured["samples_per_second"], rel=0.15)
    assert trained_values(made.run, made.spec) == TRAINED
    on_the_wire = measured["wire_sent_per_sample"] * 2  # samples of a peer in a round; with control messages
    assert figures["sent_per_round"].value == pytest.approx(on_the_wire, rel=0.3)


@pytest.mark.long
def test_forty_peers_take_seconds_and_a_thousand_less_than_a_minute() -> None:
    """Of a processor: the machine may do other things beside."""
    began = time.process_time()
    rehearse(plan(swarm=Swarm(peers=40, churn=0.3, attackers=3)))
    forty = time.process_time()
    assert forty - began < 10
    rehearse(plan(swarm=Swarm(peers=1000, churn=0.0)))
    assert time.process_time() - forty < 60
