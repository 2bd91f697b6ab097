"""Whole swarms on home links: cut, slowed and killed peers, while the others train on and all agree."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.accounts import counted
from tests.harness import Event, Program, disputed
from tests.lab import Link, lab
from tests.lab.swarm import LabRun, lab_run
from tests.swarm_run import digests, rounds, together

pytestmark = [pytest.mark.lab, pytest.mark.processes, pytest.mark.long, pytest.mark.timeout(420)]

HOME = Link(up_mbit=20, down_mbit=20, delay_ms=10)  # 40 ms there and back between two homes
STEPS = """
[local]
steps = 30
batch_size = 8
window_seconds = 60.0
"""
ENOUGH_SECONDS = 90.0


@contextmanager
def homes(folder: Path, mode: str, **values: Any) -> Iterator[tuple[LabRun, dict[str, Program]]]:
    """A run with four peers that have done a round together."""
    names = ("one", "cut", "slow", "killed")
    with lab({**dict.fromkeys(names, HOME), "coordinator": None}) as net, lab_run(net, folder, **values) as run:
        spec = run.spec.read_text().replace("[training]", f'[training]\nmode = "{mode}"')
        spec = spec.replace("timeout_seconds = 15.0", "timeout_seconds = 40.0")  # 2.7 MB at 2 Mbit/s take 11 seconds
        run.spec.write_text(spec + STEPS)
        run.launch()
        peers = {name: run.join(name) for name in names}
        for peer in peers.values():
            peer.wait_for(together(4), ENOUGH_SECONDS)
        yield run, peers


def play(run: LabRun, peers: dict[str, Program]) -> dict[str, Event]:
    """The script: cut one for 15 seconds, heal it, slow another, kill a third; the rounds that show what came of it."""
    seen: dict[str, Event] = {}
    run.net.cut("cut")
    end = time.monotonic() + 15
    seen["without the cut one"] = peers["one"].wait_for(together(3), ENOUGH_SECONDS)
    time.sleep(max(0.0, end - time.monotonic()))
    run.net.heal("cut")
    last = seen["without the cut one"]["round"]
    seen["healed"] = peers["cut"].wait_for(together(4, last), ENOUGH_SECONDS)
    run.net.slow("slow", up_mbit=2)
    seen["slowed"] = peers["slow"].wait_for(together(4, seen["healed"]["round"]), ENOUGH_SECONDS)
    peers["killed"].kill()
    last = seen["slowed"]["round"]
    for name in ("one", "cut", "slow"):
        seen[f"{name} at the end"] = peers[name].wait_for(together(3, last + 1), ENOUGH_SECONDS)
    return seen


def assert_all_agree(run: LabRun, peers: dict[str, Program]) -> None:
    """One state after each round, each sample counted at most once, no ghost of the killed one."""
    for name in ("slow", "cut", "one"):
        peers[name].interrupt()
        assert peers[name].finish(60) == 0, peers[name].stderr
        assert peers[name].stderr == ""
    held = digests(list(peers.values()))
    assert not disputed(held)
    assert set(held) == set(range(max(held) + 1)), "a round is missing"
    assert run.net.processes("killed") == []
    assert counted(run)


def test_local_mode_goes_on_while_one_is_cut_one_is_slow_and_one_is_killed(tmp_path: Path) -> None:
    with homes(tmp_path, "local", rounds=1000, batch=960, letters=400_000) as (run, peers):
        play(run, peers)
        assert_all_agree(run, peers)
        assert rounds(peers["cut"])[-1]["samples"] > 0


def test_gradient_mode_goes_on_while_one_is_cut_one_is_slow_and_one_is_killed(tmp_path: Path) -> None:
    with homes(tmp_path, "gradient", rounds=1000, batch=2400, compression="fp16", letters=400_000) as (run, peers):
        play(run, peers)
        assert_all_agree(run, peers)
