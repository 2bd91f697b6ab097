"""Finding runs on the local network: two bridges, at home everybody sees everybody, in the café nobody does."""

from __future__ import annotations

import itertools
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Program
from tests.lab import kernel
from tests.swarm_run import SwarmRun, after_round, swarm_words

pytestmark = [pytest.mark.lab, pytest.mark.processes, pytest.mark.timeout(180)]

_NUMBERS = itertools.count(1)
_SECONDS = 30.0
_ANNOUNCE = """\
import signal, sys
from swarm.discovery import announced
from swarm.invite import Invite
with announced(Invite("192.0.2.1", 7700, "law", "ab" * 16, "secret"), sys.argv[1], sys.argv[2] == "open") as made:
    if made:
        made.news(7, False)
    print('{"event": "announced"}' if made else '{"event": "silent"}', flush=True)
    signal.pause()
"""

# The maintainer's machine is at both places, and has what machines have.
_HOSTS = {
    "maintainer": [("eth0", "home", ["192.168.50.1/24", "fd50::1/64"]), ("eth1", "cafe", ["192.168.60.1/24"])],
    "guest": [("eth0", "home", ["192.168.50.2/24"])],
    "modern": [("eth0", "home", ["fd50::3/64"])],
    "stranger": [("eth0", "cafe", ["192.168.60.2/24"])],
}
_ELSEWHERE = {"docker0": "172.17.0.1/16", "wg0": "10.9.0.1/24", "br-1a2b3c": "172.18.0.1/16"}


class Places(SwarmRun):
    """Programs on hosts of two places. Each host has a home of its own."""

    def __init__(self, folder: Path, prefix: str) -> None:
        super().__init__(folder, rounds=100_000)
        self._prefix = prefix

    def on(self, host: str, *arguments: str) -> Program:
        return self.program(host, swarm_words(*arguments))

    def inside(self, host: str, command: list[str]) -> list[str]:
        return kernel.inside(f"{self._prefix}{host}", *command)

    def program(self, host: str, command: list[str]) -> Program:
        home = str(self.folder / f"{host}-home")
        return self.track(Program(self.inside(host, command), SWARM_HOME=home))

    def announce(self, listening: str = "::", how: str = "closed") -> str:
        """The maintainer's machine announces a run; what came of it."""
        program = self.program("maintainer", [sys.executable, "-c", _ANNOUNCE, listening, how])
        return str(program.wait_for(lambda event: event["event"] in ("announced", "silent"), _SECONDS)["event"])

    def discovered(self, host: str) -> dict[str, Any]:
        command = self.on(host, "discover", "--json", "--seconds", "4")
        assert command.finish(_SECONDS) == 0, command.stderr
        assert command.stderr == ""
        found: dict[str, Any] = json.loads("\n".join(event["text"] for event in command.events))
        return found


@contextmanager
def built(prefix: str) -> Iterator[None]:
    """Two bridges in a namespace of their own. The café's ports are isolated, as Wi-Fi routers keep devices apart."""
    kernel.reap()
    try:
        kernel.add(hub := f"{prefix}hub")
        kernel.ip(hub, *(f"link add {name} type bridge stp_state 0 mcast_snooping 0" for name in ("home", "cafe")))
        kernel.ip(hub, *(f"link set {name} up" for name in ("home", "cafe")))
        for number, (host, ends) in enumerate(_HOSTS.items()):
            kernel.add(namespace := f"{prefix}{host}")
            for setting in ("all", "default"):
                kernel.set_(namespace, f"net.ipv6.conf.{setting}.disable_ipv6=0")
            for device, place, addresses in ends:
                port = f"{place}{number}"
                kernel.ip(hub, f"link add {port} type veth peer name {device} netns {namespace}")
                kernel.ip(hub, f"link set {port} master {place} up")
                if place == "cafe":
                    kernel.run("bridge", "-n", hub, "link", "set", "dev", port, "isolated", "on")
                kernel.ip(namespace, f"link set {device} up")
                kernel.ip(namespace, *(f"address add {address} dev {device}{_nodad(address)}" for address in addresses))
        for device, address in _ELSEWHERE.items():
            kernel.ip(f"{prefix}maintainer", f"link add {device} type bridge", f"link set {device} up")
            kernel.ip(f"{prefix}maintainer", f"address add {address} dev {device}")
        yield
    finally:
        for namespace in kernel.namespaces():
            if namespace.startswith(prefix):
                kernel.remove(namespace)


def _nodad(address: str) -> str:
    return " nodad" if ":" in address else ""


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Places]:
    prefix = f"lab-{os.getpid()}-{next(_NUMBERS)}-lan-"
    with built(prefix):
        run = Places(tmp_path, prefix)
        run.write_spec()
        try:
            yield run
        finally:
            run.clean_up()


def test_a_run_is_found_at_home_by_both_versions_and_not_where_devices_are_kept_apart(places: Places) -> None:
    assert places.announce() == "announced"
    [run] = places.discovered("guest")["runs"]
    assert run["addresses"][0] == "192.168.50.1:7700"  # the nearest first
    assert set(run["addresses"]) == {"192.168.50.1:7700", "192.168.60.1:7700", "[fd50::1]:7700"}
    assert (run["run"], run["fingerprint"], run["open"], run["compatible"]) == ("law", "ab" * 16, False, True)
    assert (run["round"], run["state"]) == (7, "running")
    [run] = places.discovered("modern")["runs"]
    assert run["addresses"][0] == "[fd50::1]:7700"
    apart = places.discovered("stranger")
    assert apart["runs"] == []
    assert {item["name"]: bool(item["why"]) for item in apart["interfaces"]} == {"eth0": False, "lo": True}
    shown = places.on("stranger", "join", "--yes")
    assert shown.finish(_SECONDS) == 13
    assert "eth0 (192.168.60.2)" in shown.stderr
    assert "keep Wi-Fi devices apart" in shown.stderr


def test_interfaces_that_lead_elsewhere_are_named_with_the_reason(places: Places) -> None:
    looked = {item["name"]: item for item in places.discovered("maintainer")["interfaces"]}
    assert {name for name, item in looked.items() if item["addresses"]} == {"eth0", "eth1"}
    for name, why in (("docker0", "containers"), ("br-1a2b3c", "containers"), ("wg0", "VPN"), ("lo", "only")):
        assert why in looked[name]["why"]


@pytest.mark.long
def test_a_run_that_listens_on_loopback_only_is_not_announced(places: Places) -> None:
    assert places.announce("127.0.0.1") == "silent"
    assert places.discovered("guest")["runs"] == []


def test_without_a_terminal_a_closed_run_is_shown_and_not_joined(places: Places) -> None:
    places.announce()
    refused = places.on("guest", "join", "--yes")
    assert refused.finish(_SECONDS) == 2
    assert "1. law" in refused.stderr
    assert "needs an invite" in refused.stderr
    assert "swarm join 'INVITE'" in refused.stderr


@pytest.mark.long
def test_at_a_terminal_the_runs_are_offered_and_a_closed_one_asks_for_its_invite(places: Places) -> None:
    places.announce()
    ours, theirs = pty.openpty()
    joining = subprocess.Popen(
        places.inside("guest", swarm_words("join")),
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.write(ours, b"1\nnonsense\n")
    said = "".join(joining.communicate(timeout=_SECONDS))
    os.close(ours)
    os.close(theirs)
    assert joining.returncode == 4
    for words in ("1. law", "Which one?", "law needs an invite; paste it here", "starts with swarm://"):
        assert words in said


@pytest.mark.long
def test_an_open_run_is_joined_without_an_invite(places: Places) -> None:
    where = ["--data-dir", str(places.folder / "coordinator"), "--advertise-host", "192.168.50.1", "--port", "7700"]
    launched = places.on("maintainer", "launch", str(places.spec), *where, "--open-on-lan")
    launched.wait_for(lambda event: "everybody there may join" in str(event.get("text")), 90)
    options = ["--threads", "1", "--device", "cpu", "--yes", "--json"]
    guest = places.on("guest", "join", "--data-dir", str(places.folder / "guest"), *options)
    guest.wait_for(after_round(1), 90)
    guest.interrupt()
    assert guest.finish(20) == 0, guest.stderr
    launched.interrupt()
    assert launched.finish(20) == 0, launched.stderr
    assert launched.stderr == ""
    assert places.discovered("guest")["runs"] == []
