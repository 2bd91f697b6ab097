"""A real swarm to which faults happen, and which is brought back to what it should be. Times are monotonic seconds."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from math import inf

import psutil

from swarm.errors import UnreachableError
from swarm.proto import coordinator_pb2 as pb
from tests import faults
from tests.chaos.plan import OF_COORDINATOR, Fault
from tests.harness import Event, Program
from tests.swarm_run import SwarmRun, is_invite, took_part

Fact = tuple[int, str, int, int]  # round, member and positions that the ledger counts

_KILLED = -9
_HEARD_SECONDS = 0.5  # what was said before a fault is heard until then
_AGAIN_SECONDS = 2.0  # before a peer that did not reach the coordinator is started again


def peer_names(peers: int) -> list[str]:
    """By their numbers in a plan."""
    return [f"peer-{number}" for number in range(peers)]


@dataclass
class Life:
    """One `swarm join`, from its start to its end, and what it said when."""

    name: str
    program: Program
    ends: set[int] = field(default_factory=set)  # the exit codes that are in order, after what was done to it
    heard: list[tuple[float, Event]] = field(default_factory=list)

    def listen(self) -> None:
        """Take what it said until now."""
        self.program.drain()
        now = time.monotonic()
        self.heard += [(now, event) for event in self.program.events[len(self.heard) :]]

    def leave(self) -> None:
        """Ctrl-C."""
        self.ends.add(0)
        self.program.interrupt()

    @property
    def ended(self) -> bool:
        return self.program.process.poll() is not None


class Stage:
    """`look` must be called again and again: it hears what is said, and starts what should be there."""

    def __init__(self, run: SwarmRun, peers: int) -> None:
        self.names = peer_names(peers)
        self.lives: list[Life] = []
        self.promised: set[Fact] = set()  # what the coordinator acknowledged before it was killed
        self.kept = 0  # the round of the newest checkpoint then
        self.wrong: list[str] = []  # what ended as it should not
        self._run = run
        self._now: dict[str, Life] = {}  # by name
        self._down: set[str] = set()
        self._troubled_until: dict[str, float] = {}
        self._again: dict[str, float] = {}  # when to start it
        self._coordinator: Program | None = None
        self._closed = False
        self._reached = False

    # ── bringing back ──────────────────────────────────────────────────────────────────────────

    def look(self) -> None:
        """Hear everybody; start the coordinator and the peers that no fault keeps away."""
        for life in self._now.values():
            life.listen()
        self._reached = self._can_be_reached()
        if self._reached:
            for name in self.names:
                if name not in self._down and (name not in self._now or self._is_over(self._now[name])):
                    self._join(name)

    def _can_be_reached(self) -> bool:
        """Whether the coordinator is there; it is started when no fault keeps it away."""
        if self._closed:
            return False
        if self._coordinator is None:
            self._coordinator = self._run.coordinate()
        self._coordinator.drain()
        if self._coordinator.process.poll() is not None:
            raise AssertionError(f"the coordinator ended: {self._coordinator.stderr[-3000:]}")
        invite = next(filter(is_invite, self._coordinator.events), None)
        if invite:
            self._run.invite = invite["text"]
        return bool(invite)

    def _is_over(self, life: Life) -> bool:
        """Whether it ended, and is due to be started again."""
        code = life.program.process.poll()
        if code is None or time.monotonic() < self._again.get(life.name, 0.0):
            return False
        life.program.finish()
        life.listen()
        if code == UnreachableError.exit_code:  # as a volunteer would: later again
            life.ends.add(code)
            self._again[life.name] = time.monotonic() + _AGAIN_SECONDS
        self._judge(life)
        self._now.pop(life.name)
        return True

    def _join(self, name: str) -> None:
        if time.monotonic() >= self._again.get(name, 0.0):
            self._now[name] = Life(name, self._run.join(name))
            self.lives.append(self._now[name])

    def _judge(self, life: Life) -> None:
        code, said = life.program.process.returncode, life.program.stderr
        if code not in life.ends or (said and code != UnreachableError.exit_code):
            self.wrong.append(f"{life.name} ended with {code}: {said[-3000:]} {life.program.events[-3:]}")

    def stop(self) -> None:
        """Ctrl-C for all peers at once."""
        for life in self._now.values():
            life.leave()
        for life in self._now.values():
            life.program.finish(60)
            life.listen()
            self._judge(life)

    def stop_coordinator(self) -> None:
        """Ctrl-C for the coordinator, too."""
        assert self._coordinator
        self._coordinator.interrupt()
        code = self._coordinator.finish(30)
        if code or self._coordinator.stderr:
            self.wrong.append(f"the coordinator ended with {code}: {self._coordinator.stderr[-3000:]}")

    # ── faults ─────────────────────────────────────────────────────────────────────────────────

    def bears(self, fault: Fault) -> bool:
        """Whether all that it befalls is well, and more than half of the peers are well without those that it names:
        then somebody holds the newest state, and rounds go on.
        """
        if fault.kind in OF_COORDINATOR and not self._reached:
            return False
        well = {number for number, name in enumerate(self.names) if self._is_well(name)}
        return well.issuperset(fault.who) and 2 * len(well.difference(fault.who)) > len(self.names)

    def _is_well(self, name: str) -> bool:
        """Whether it finished a round since its last trouble."""
        life = self._now.get(name)
        last = next((at for at, event in reversed(life.heard) if took_part(event)), -inf) if life else -inf
        return last > self._troubled_until.get(name, 0.0)

    @contextmanager
    def befall(self, fault: Fault) -> Iterator[None]:
        """The fault lasts as long as the block."""
        names = [self.names[who] for who in fault.who]
        self._troubled_until |= dict.fromkeys(names, inf)
        with getattr(self, f"_{fault.kind}")(names):
            yield
        self._troubled_until |= dict.fromkeys(names, time.monotonic() + _HEARD_SECONDS)

    def _alive(self, names: Sequence[str]) -> list[Life]:
        return [life for name in names if (life := self._now.get(name)) and not life.ended]

    @contextmanager
    def _kill(self, names: Sequence[str]) -> Iterator[None]:
        for life in self._alive(names):
            with suppress(StopIteration, psutil.NoSuchProcess):  # it has no worker just now
                faults.kill(faults.worker(life.program))
        yield

    @contextmanager
    def _die(self, names: Sequence[str]) -> Iterator[None]:
        self._down |= set(names)
        for life in self._alive(names):
            life.ends.add(_KILLED)
            life.program.kill()
        yield
        self._down -= set(names)

    @contextmanager
    def _leave(self, names: Sequence[str]) -> Iterator[None]:
        self._down |= set(names)
        for life in self._alive(names):
            life.leave()
        yield
        self._down -= set(names)

    @contextmanager
    def _freeze(self, names: Sequence[str]) -> Iterator[None]:
        with ExitStack() as ice:
            for life in self._alive(names):
                ice.enter_context(faults.frozen(psutil.Process(life.program.process.pid)))
            yield

    @contextmanager
    def _away(self, _: Sequence[str]) -> Iterator[None]:
        if self._coordinator:
            self._remember()
            self._coordinator.kill()
            self._coordinator.process.wait()
        self._coordinator, self._closed = None, True
        yield
        self._closed = False

    def _remember(self) -> None:
        """What the coordinator has acknowledged until now must be there when all is over."""
        with suppress(UnreachableError), self._run.client() as client:
            self.promised |= counted(client.ledger())
            self.kept = max(self.kept, *(checkpoint.round for checkpoint in client.checkpoints()))

    @contextmanager
    def _relay(self, _: Sequence[str]) -> Iterator[None]:
        for node in psutil.Process(self._coordinator.process.pid).children() if self._coordinator else []:
            if "peer.exchange.bootstrap" in node.cmdline():
                faults.kill(node)
        yield


def counted(entries: Iterable[pb.LedgerEntry]) -> set[Fact]:
    """What a ledger counts."""
    return {(e.round, e.member_id, e.range.start, e.range.stop) for e in entries if e.state == "counted"}
