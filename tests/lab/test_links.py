"""Links do what they say, and a lab leaves nothing behind."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pytest

from tests.harness import Event, Program
from tests.lab import Lab, Link, kernel, lab

pytestmark = [pytest.mark.lab, pytest.mark.processes, pytest.mark.timeout(60)]

PORT = 5000
QUICK = Link(up_mbit=100, down_mbit=100, delay_ms=1)


class Bench:
    """A lab whose hosts measure."""

    def __init__(self, net: Lab) -> None:
        self.net = net
        self.programs: list[Program] = []

    def start(self, name: str, *words: object) -> Program:
        command = [sys.executable, "-m", "tests.lab.traffic", *map(str, words)]
        self.programs.append(Program(self.net.command(name, command)))
        return self.programs[-1]

    def serve(self, name: str) -> Program:
        server = self.start(name, "serve", PORT)
        server.named("listening")
        return server

    def ask(self, name: str, what: str, whom: str, number: float) -> Event:
        """What a measurement said."""
        program = self.start(name, what, self.net.host(whom).public, PORT, number)
        assert program.finish() == 0, program.stderr
        return program.events[-1] if program.events else {}

    def reaches(self, name: str, whom: str) -> bool:
        return bool(self.ask(name, "dial", whom, 2)["event"] == "connected")


@contextmanager
def bench(links: Mapping[str, Link | None]) -> Iterator[Bench]:
    with lab(links) as net:
        found = Bench(net)
        try:
            yield found
        finally:
            for program in found.programs:
                program.clean_up()


def eventually(true: Callable[[], bool], seconds: float = 5.0) -> bool:
    """The kernel takes devices apart in the background."""
    end = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


@pytest.mark.parametrize(
    "mbit", [pytest.param(10, marks=pytest.mark.long), 20, pytest.param(50, marks=pytest.mark.long), 100]
)
def test_both_ways_at_once_have_the_rate_and_a_round_trip_takes_its_time(mbit: int) -> None:
    with bench({"one": Link(mbit, mbit, 10), "other": Link(mbit, mbit, 10)}) as found:
        servers = [found.serve("one"), found.serve("other")]
        times = found.ask("one", "times", "other", 60)
        assert 38 <= times["least_ms"] <= 44
        assert times["median_ms"] <= 50
        assert times["lost"] == 0
        address = {name: found.net.host(name).public for name in ("one", "other")}
        there = found.start("one", "stream", address["other"], PORT, 5)
        back = found.start("other", "stream", address["one"], PORT, 5)
        assert there.finish() == back.finish() == 0
        for server in servers:
            assert 0.9 * mbit <= server.named("received")["mbit"] <= mbit
        sent, received = found.net.bytes("one")
        assert min(sent, received) > 4 * 0.9 * mbit * 1e6 / 8


@pytest.mark.long
def test_the_ways_up_and_down_have_rates_of_their_own_and_may_become_slow() -> None:
    with bench({"home": Link(up_mbit=10, down_mbit=40, delay_ms=5), "centre": None}) as found:
        centre, home = found.serve("centre"), found.serve("home")
        found.ask("home", "stream", "centre", 3)
        assert 9 <= centre.named("received")["mbit"] <= 10
        found.ask("centre", "stream", "home", 3)
        assert 36 <= home.named("received")["mbit"] <= 40
        found.net.slow("home", up_mbit=2)
        found.ask("home", "stream", "centre", 4)
        assert 1.8 <= centre.named("received", 10)["mbit"] <= 2
        found.ask("centre", "stream", "home", 3)
        assert 30 <= home.named("received", 10)["mbit"] <= 40


def test_packets_are_lost_each_way() -> None:
    with bench({"home": Link(20, 20, 5, loss=0.1), "centre": None}) as found:
        found.serve("centre")
        lost = found.ask("home", "times", "centre", 400)["lost"]
        assert 45 <= lost <= 110  # of 400 × (1 − 0.9²) = 76, four standard deviations


def test_a_cut_link_carries_nothing_until_it_is_healed() -> None:
    with bench({"one": QUICK, "other": QUICK, "third": QUICK, "centre": None}) as found:
        for name in ("other", "centre"):
            found.serve(name)
        found.net.cut("one")
        assert not found.reaches("one", "other")
        assert not found.reaches("one", "centre")
        assert found.reaches("third", "other")
        found.net.heal("one")
        assert found.reaches("one", "other")
        found.net.cut_between("one", "other")
        assert not found.reaches("one", "other")
        assert found.reaches("one", "centre")
        assert found.reaches("third", "other")
        found.net.heal_between("one", "other")
        assert found.reaches("one", "other")


@pytest.mark.long
def test_nobody_dials_a_host_behind_nat_but_it_dials_others() -> None:
    hidden = Link(20, 20, 2, nat=True)
    with bench({"hidden": hidden, "also": hidden, "open": QUICK, "centre": None}) as found:
        for name in ("hidden", "also", "open", "centre"):
            found.serve(name)
        hosts = [found.net.host(name) for name in ("hidden", "also")]
        assert hosts[0].address == hosts[1].address
        assert hosts[0].public != hosts[1].public
        for name in ("hidden", "also"):
            assert found.reaches(name, "open")
            assert found.reaches(name, "centre")
            assert not found.reaches("open", name)
        assert not found.reaches("hidden", "also")
        assert not found.reaches("also", "hidden")
        assert 3 <= found.ask("hidden", "times", "open", 20)["median_ms"] <= 12


def test_two_labs_at_once_do_not_meet_and_the_test_reaches_both() -> None:
    with bench({"one": QUICK}) as first, bench({"one": QUICK}) as second:
        assert first.net.host("one").public != second.net.host("one").public
        for found in (first, second):
            found.serve("one")
            dialled = Program(
                [sys.executable, "-m", "tests.lab.traffic", "dial", found.net.host("one").public, str(PORT), "5"]
            )
            found.programs.append(dialled)
            dialled.named("connected")


def test_a_failed_test_leaves_nothing_behind() -> None:
    class FailedError(Exception): ...

    with pytest.raises(FailedError), lab({"home": Link(20, 20, nat=True), "centre": None}) as net:  # noqa: PT012
        left = Program(net.command("home", ["sleep", "60"]))
        assert eventually(lambda: net.processes("home") == [left.process.pid])
        raise FailedError
    assert left.finish(5) == -9
    left.clean_up()
    assert not [name for name in kernel.namespaces() if name.startswith(f"lab-{os.getpid()}-")]
    assert eventually(lambda: f"lab{os.getpid()}-" not in kernel.run("ip", "link"))


def test_the_lab_of_a_killed_process_is_removed_by_the_next() -> None:
    block = "with lab({'home': Link(20, 20)}): print('{}', flush=True); time.sleep(60)"
    program = f"import time; from tests.lab import *\n{block}"
    killed = Program([sys.executable, "-c", program])
    killed.wait_for(lambda event: True)
    killed.kill()
    killed.clean_up()
    own = f"lab-{killed.process.pid}-"
    assert [name for name in kernel.namespaces() if name.startswith(own)]
    with lab({"home": QUICK}):
        assert not [name for name in kernel.namespaces() if name.startswith(own)]
