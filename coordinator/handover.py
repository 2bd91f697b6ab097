"""Handing a run over to a coordinator elsewhere. Two notes in the folder say who leads.

`handover` is the latest hand-over; it goes along with backups: who serves the folder, serves it at that address.
`handed-over` says that this folder's coordinator leads no more; it stays here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from swarm import handover, notes
from swarm.errors import CorruptError, HandedOverError, HandoverError, UsageError
from swarm.handover import Handover
from swarm.identity import server_certificate

if TYPE_CHECKING:
    from coordinator.engine import Engine
    from coordinator.state import State

FILE = "handover"
CLOSED = "handed-over"

_FOLLOWED = "Members follow by themselves; for others its maintainer has a new invite."
_BACK = "`swarm handover --here HOST:PORT` takes it back, once the other one is gone for good."


@dataclass(frozen=True)
class Last:
    """The last checkpoint of a run."""

    run: str
    round: int
    digest: str


class Lead:
    """Who leads the run of `engine`, whose folder is `folder`: this process, until it hands over."""

    def __init__(self, folder: Path, engine: Engine, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._engine = engine
        self._clock = clock

    def require(self) -> None:
        """Raises HandedOverError when this process leads no more."""
        if self._engine.closed:
            raise elsewhere(self._engine.closed)

    def text(self) -> str:
        """The latest hand-over, signed; empty without one."""
        return notes.kept(self._folder / FILE)

    def hand_over(self, host: str, port: int) -> str:
        """See `close`: what was acknowledged before is in the tables then, and nothing is acknowledged after."""

        def write(state: State) -> Handover:
            last = Last(state.terms.run, state.latest.round, state.latest.digest)
            close(self._folder, last, (host, port), self._clock())
            closed = closed_to(self._folder, last.run)
            assert closed
            return closed

        self._engine.close(write)
        return self.text()


def close(folder: Path, last: Last, to: tuple[str, int], now: float) -> str:
    """Hand over to the address `to`: from now on nobody leads from this folder. The signed text; the same again for the
    same address. Raises HandedOverError when it was handed over to another one, OSError.
    """
    if closed := closed_to(folder, last.run):
        if (closed.host, closed.port) == to:
            return notes.kept(folder / CLOSED)
        raise elsewhere(closed, _BACK)
    text = _sign(folder, last, to, now)
    notes.keep(folder / FILE, text)
    notes.keep(folder / CLOSED, text)
    return text


def take(folder: Path, last: Last, at: tuple[str, int], now: float) -> str:
    """Lead from this folder, at the address `at`, whoever led before; the signed text. Raises OSError."""
    text = _sign(folder, last, at, now)
    notes.keep(folder / FILE, text)
    (folder / CLOSED).unlink(missing_ok=True)
    return text


def require_lead(folder: Path, run: str, at: tuple[str, int]) -> None:
    """Raises HandedOverError when the folder was handed over, UsageError when members look elsewhere than `at`."""
    if closed := closed_to(folder, run):
        raise elsewhere(closed, _BACK)
    led = led_at(folder, run)
    if led and (led.host, led.port) != at:
        raise UsageError(
            f"The run was handed over to {led.address}, where its members look for it; this would be {at[0]}:{at[1]}.",
            f"Launch it with --advertise-host {led.host} --port {led.port}; "
            "or announce the other address first: swarm handover --here HOST:PORT.",
        )


def closed_to(folder: Path, run: str) -> Handover | None:
    """To where the run in the folder was handed over, if it was."""
    return _kept(folder, CLOSED, run)


def led_at(folder: Path, run: str) -> Handover | None:
    """Where members look for the coordinator of this folder, when the run was handed over to it."""
    return _kept(folder, FILE, run)


def elsewhere(led: Handover, remedy: str = _FOLLOWED) -> HandedOverError:
    """What whoever asks the old coordinator is told."""
    return HandedOverError(f"The run {led.run} was handed over: it is led at {led.address} now, not here.", remedy)


def _sign(folder: Path, last: Last, to: tuple[str, int], now: float) -> str:
    """A number that is greater than all before, also than those that a restored copy does not know."""
    before = None
    with suppress(CorruptError):
        before = _kept(folder, FILE, last.run)
    number = max(int(now), before.number + 1 if before else 1)
    return handover.signed(Handover(last.run, *to, number, last.round, last.digest, now), server_certificate(folder))


def _kept(folder: Path, name: str, run: str) -> Handover | None:
    """Raises CorruptError, naming the file, for a torn one: nobody leads from a folder that perhaps was given away."""
    path = folder / name
    if not path.exists():
        return None
    try:
        return handover.verified(notes.kept(path), run, server_certificate(folder).fingerprint)
    except HandoverError as error:
        raise CorruptError(
            f"{path} is torn or was altered: it does not say where the run is led.",
            "If nobody leads it elsewhere, `swarm handover --here HOST:PORT` leads it from here.",
        ) from error
