"""What befalls a swarm, and when: drawn from a seed. Pure.

The words are those of `tests/faults.py` and of the simulator's world. A plan keeps to what the swarm promises
(docs/assumptions.md): of the peers fewer than half are in trouble at a time, so somebody always holds the newest state.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["kill", "die", "freeze", "leave", "away", "relay", "cut", "split", "slow"]

# The words, what each does, and the shortest and the longest that it lasts, in seconds.
MEANS: dict[Kind, tuple[str, float, float]] = {
    "kill": ("kill -9 of the training process; its supervisor starts another", 0.0, 0.0),
    "die": ("kill -9 of the whole peer; it is started again later", 2.0, 20.0),
    "freeze": ("SIGSTOP for the whole peer", 2.0, 30.0),
    "leave": ("Ctrl-C; it joins again later", 2.0, 15.0),
    "away": ("kill -9 of the coordinator; it is launched again later", 1.0, 20.0),
    "relay": ("kill -9 of the swarm's relay, which the coordinator starts again", 0.0, 0.0),
    "cut": ("the first of them and each other do not reach each other; one alone not the coordinator", 3.0, 25.0),
    "split": ("they are on one side, all others and the coordinator on the other", 3.0, 25.0),
    "slow": ("their links have a tenth of their rate", 5.0, 30.0),
}
ANYWHERE: tuple[Kind, ...] = ("kill", "die", "freeze", "leave", "away", "relay")
IN_A_LAB: tuple[Kind, ...] = (*ANYWHERE, "cut", "split", "slow")

_OFTEN: dict[Kind, float] = {"kill": 4.0, "freeze": 2.0, "relay": 0.5}  # times as often as the others
_SEVERAL: tuple[Kind, ...] = ("kill", "die", "freeze", "cut", "split")
OF_COORDINATOR: tuple[Kind, ...] = ("away", "relay")
_LINES: tuple[Kind, ...] = ("cut", "split")
_PAUSE = (3.0, 11.0)  # seconds from one fault to the next
_COME_BACK = 8.0  # seconds in which a peer is not disturbed again, so that it does come back in between


@dataclass(frozen=True)
class Fault:
    """At `at` seconds something happens to the peers `who` (numbers), for `seconds`."""

    at: float
    kind: Kind
    who: tuple[int, ...] = ()
    seconds: float = 0.0

    def __str__(self) -> str:
        whom = f" {', '.join(map(str, self.who))}" if self.who else ""
        return f"{self.at:6.1f} s  {self.kind}{whom}" + (f" for {self.seconds:.1f} s" if self.seconds else "")

    @property
    def over(self) -> float:
        """When another fault may follow it in the same place."""
        return self.at + self.seconds + _COME_BACK


def plan(seed: int, seconds: float, peers: int, kinds: Sequence[Kind] = ANYWHERE) -> tuple[Fault, ...]:
    """Faults of `kinds` that begin within `seconds`, in their order. The same arguments give the same plan."""
    rng = random.Random(seed)
    faults: list[Fault] = []
    at = 0.0
    while (at := round(at + rng.uniform(*_PAUSE), 1)) < seconds:
        if fault := _fault(rng, at, _possible(kinds, at, faults), _free(peers, at, faults), peers):
            faults.append(fault)
    return tuple(faults)


def _fault(rng: random.Random, at: float, kinds: Sequence[Kind], free: Sequence[int], peers: int) -> Fault | None:
    """One more fault; None when each would be one too many. `free` are the peers that are not in trouble."""
    most = (peers - 1) // 2 - (peers - len(free))
    possible = kinds if most > 0 else [kind for kind in kinds if kind in OF_COORDINATOR]
    if not possible:
        return None
    kind = rng.choices(possible, [_OFTEN.get(kind, 1.0) for kind in possible])[0]
    _, shortest, longest = MEANS[kind]
    seconds = round(rng.uniform(shortest, longest), 1)
    if kind in OF_COORDINATOR:
        return Fault(at, kind, (), seconds)
    many = rng.randint(1, most) if kind in _SEVERAL and rng.random() < 0.3 else 1
    return Fault(at, kind, tuple(sorted(rng.sample(free, many))), seconds)


def _possible(kinds: Sequence[Kind], at: float, faults: Iterable[Fault]) -> list[Kind]:
    """One coordinator, and one set of lines: what is in trouble there is not troubled again."""
    going_on = {fault.kind for fault in faults if fault.over > at}
    taken: set[Kind] = {kind for group in (OF_COORDINATOR, _LINES) if going_on & set(group) for kind in group}
    return [kind for kind in kinds if kind not in taken]


def _free(peers: int, at: float, faults: Iterable[Fault]) -> list[int]:
    troubled = {who for fault in faults if fault.over > at for who in fault.who}
    return [number for number in range(peers) if number not in troubled]
