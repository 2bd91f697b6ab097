"""Whether a machine fits a run: pure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from peer.checkup import Measured, Speed, of_clock, of_line, of_machine, of_speed
from peer.machine import Machine
from peer.needs import Needs, needs_of, trained_values, update_bytes
from peer.nvidia import Card
from peer.reach import LOCAL, Case, Reach
from swarm.checks import Check, Level, failed
from swarm.proto import coordinator_pb2 as pb
from swarm.runspec import RunSpec, loads
from tests.unit.test_runspec import spec_text

GB = 10**9
NEEDS = Needs(trained=10**9, download=GB, disk=4 * GB, device=16 * GB, ram=6 * GB, operations=1e12, gpu=False)
CARD = Card("RTX 4090", 24 * GB, 23 * GB, 450.0)
MACHINE = Machine(8, 64 * GB, 100 * GB, "2.13.0+cu129", "575.1", (CARD,))
LINE = Measured(round_trip=0.04, clock_ahead=0.1, up=2.5e6, down=1e7)


def checks(machine: Machine = MACHINE, needs: Needs = NEEDS, *devices: str) -> dict[str, Check]:
    return {check.name: check for check in of_machine(machine, needs, devices or ("auto",))}


def test_a_machine_that_fits_has_nothing_but_ok() -> None:
    assert {check.level for check in [*checks().values(), *of_line(LINE, LOCAL)]} == {Level.OK}


@pytest.mark.parametrize(
    ("machine", "devices", "name", "words"),
    [
        (replace(MACHINE, torch=""), "auto", "torch", "not installed"),
        (replace(MACHINE, torch="2.13.0+cpu"), "auto", "torch", "built for CPUs"),
        (replace(MACHINE, cards=(replace(CARD, free=8 * GB),)), "auto", "GPU RTX 4090", "8 GB of its memory free"),
        (replace(MACHINE, disk_free=GB), "auto", "disk", "1 GB free, about 4 GB needed"),
        (replace(MACHINE, ram_free=GB), "auto", "memory", "1 GB of RAM free, about 6 GB needed"),
        (replace(MACHINE, ram_free=20 * GB), "cpu", "memory", "about 22 GB needed"),
        (replace(MACHINE, ram_free=10 * GB), "cuda:0,cuda:0", "memory", "about 12 GB needed"),
    ],
)
def test_what_fails_says_why_and_what_to_do(machine: Machine, devices: str, name: str, words: str) -> None:
    found = checks(machine, NEEDS, *devices.split(","))[name]
    assert found.level is Level.FAILED
    assert words in found.says
    assert found.remedy


def test_a_run_for_gpus_only() -> None:
    found = checks(replace(MACHINE, cards=()), replace(NEEDS, gpu=True))["device"]
    assert (found.level, bool(found.remedy)) == (Level.FAILED, True)


def test_a_driver_that_does_not_answer_is_a_warning_and_the_cpu_is_taken() -> None:
    found = checks(replace(MACHINE, cards=(), trouble="Unknown Error"))
    assert found["torch"].level is Level.WARNING
    assert "Unknown Error" in found["torch"].says
    assert found["device"].level is Level.OK


@pytest.mark.parametrize(
    ("ahead", "level", "words"),
    [
        (0.5, Level.OK, "agrees"),
        (3.0, Level.WARNING, "3 s ahead of"),
        (-40.0, Level.FAILED, "40 s behind"),
    ],
)
def test_the_clock(ahead: float, level: Level, words: str) -> None:
    found = of_clock(ahead)
    assert found.level is level
    assert words in found.says


def test_a_slow_far_and_hidden_line_is_warned_of_and_not_refused() -> None:
    found = list(of_line(Measured(0.8, 0.0, 5e4, 1e6), Reach(Case.NAT, "behind a NAT")))
    assert not failed(found)
    warned = [check for check in found if check.level is Level.WARNING]
    assert [check.name for check in warned] == ["coordinator", "network", "line"]
    assert all(check.remedy for check in warned)


def test_a_line_that_was_not_measured_is_said() -> None:
    [line] = [check for check in of_line(Measured(0.01, 0.0, 0.0, 0.0), LOCAL) if check.name == "line"]
    assert (line.level, bool(line.remedy)) == (Level.WARNING, True)


def test_the_estimate_of_samples_and_torchs_trouble() -> None:
    assert of_speed(Speed("the CPU", 1e11), NEEDS).says == "about 130 samples per hour on the CPU"
    assert of_speed(Speed("auto", 0.0, "no libcuda"), NEEDS).level is Level.FAILED


def run_of(state: int, base: int = 0) -> pb.Run:
    return pb.Run(
        latest=pb.Checkpoint(size=state),
        base=[pb.Blob(size=base)] if base else [],
        shards=[pb.Blob(size=100), pb.Blob(size=50)],
        layout=pb.DataLayout(sequence_length=64),
    )


def spec(**training: str) -> RunSpec:
    return loads(spec_text(training={"rounds": 10, "target_batch_size": 64, **training}))


def test_needs_follow_from_the_state_and_the_base() -> None:
    config = {"hidden_size": 8, "num_hidden_layers": 2, "vocab_size": 100}
    needs = needs_of(run_of(12_000), spec(), config)
    assert needs.trained == 1000
    assert needs.device == 16 * 1000 + 34 * 64 * 8 * 2 + 8 * 64 * 100
    assert needs.download == 12_000 + 100
    assert needs.disk == 12_000 + 150 + 24_000
    assert needs.operations == 6 * 1000 * 64
    assert needs_of(run_of(12_000, base=4000), spec(), config).operations == (6 * 1000 + 4 * 2000) * 64


def test_what_is_here_need_not_be_fetched() -> None:
    run = run_of(12_000, base=4000)
    run.base[0].sha256, run.shards[0].sha256 = "base", "shard"
    cold, warm = (needs_of(run, spec(), {}, here) for here in ((), {"base", "shard"}))
    assert cold.download - warm.download == 4000 + 100 - 50
    assert cold.disk - warm.disk == 4000 + 100
    assert cold.device == warm.device


def test_local_mode_keeps_no_moments_in_its_state() -> None:
    assert trained_values(run_of(12_000), spec(mode="local")) == 3000


def test_a_folder_that_nobody_may_write_to_is_found_before_the_join() -> None:
    found = failed(of_machine(replace(MACHINE, locked="/mnt/read-only"), NEEDS, ["auto"]))
    assert [check.says for check in found] == ["/mnt/read-only cannot be written"]


def test_traffic_of_a_round() -> None:
    assert update_bytes(10**6, spec(), 4) == 6_000_000  # an all-reduce in fp32: 2 · 4 bytes · 3 / 4
    assert update_bytes(10**6, spec(mode="local"), 4) == pytest.approx(3 * 0.0283e6, rel=0.01)
    assert update_bytes(10**6, spec(), 1) == 0
