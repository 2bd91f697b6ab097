"""Discovery in real networks: two bridges, one of them isolated from the run's."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.lab import lab
from tests.lab.net import Lab
from tests.lab.swarm import LabRun, lab_run

pytestmark = [pytest.mark.lab, pytest.mark.processes, pytest.mark.timeout(120)]


@contextmanager
def two_networks(folder: Path) -> Iterator[tuple[LabRun, Lab]]:
    """A coordinator and a neighbour on one bridge, a stranger on another one."""
    with lab({"coordinator": None, "near": None}) as net, lab({"far": None}) as other, lab_run(net, folder) as run:
        for host in (net.host("coordinator"), net.host("near"), other.host("far")):
            inside = ["ip", "netns", "exec", host.namespace, "ip"]
            subprocess.run([*inside, "link", "add", "docker0", "type", "bridge"], check=True)
            subprocess.run([*inside, "address", "add", "172.17.0.1/16", "dev", "docker0"], check=True)
            subprocess.run([*inside, "link", "set", "docker0", "up"], check=True)
        yield run, other


def found(run: LabRun, net: Lab, host: str) -> dict[str, Any]:
    command = run.track_on(net, host, "discover", "--json", "--seconds", "4")
    assert command.finish(40) == 0, command.stderr
    answer: dict[str, Any] = json.loads("\n".join(event["text"] for event in command.events))
    return answer


def test_a_run_is_found_on_its_own_network_and_joined_without_an_invite(tmp_path: Path) -> None:
    with two_networks(tmp_path) as (run, other):
        run.launch_options = ["--open-on-lan"]
        run.launch()
        near, far = found(run, run.net, "near"), found(run, other, "far")
        assert [item["run"] for item in near["runs"]] == ["test"]
        assert near["runs"][0]["host"] == run.net.host("coordinator").address
        assert near["left_out"]["docker0"] == "of containers"
        assert far["runs"] == []
        peer = run.on("near", "join", "--yes", "--device", "cpu", "--threads", "1", "--json")
        assert peer.finish(60) == 0, peer.stderr
        assert peer.every("end")[-1]["counted"] > 0


def test_a_run_that_is_not_open_is_shown_and_needs_an_invite(tmp_path: Path) -> None:
    with two_networks(tmp_path) as (run, _):
        run.launch()
        assert [item["open"] for item in found(run, run.net, "near")["runs"]] == [False]
        refused = run.on("near", "join", "--yes")
        assert refused.finish(60) == 2
        assert "Give an invite" in refused.stderr
