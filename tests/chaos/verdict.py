"""What must hold of all that peers said and the coordinator wrote down. Pure: records in, sentences out; none is good.

What the coordinator's and the peers' files say by themselves, `swarm fsck` and `swarm ledger replay` judge.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.harness import Event


@dataclass(frozen=True)
class Done:
    """A peer's word that it finished a round. `life` is the `swarm join` that said so."""

    life: int
    name: str
    round: int
    digest: str
    samples: int  # its own
    swarm_samples: int  # all members'
    global_samples: int  # up to and with this round
    members: int

    @staticmethod
    def of(life: int, name: str, event: Event) -> Done:
        """From an event `round` without `dropped_why`."""
        own = {key: event[key] for key in ("round", "digest", "samples", "swarm_samples", "global_samples", "members")}
        return Done(life, name, **own)


@dataclass(frozen=True)
class Line:
    """What the ledger says of some positions."""

    round: int
    name: str
    state: str
    samples: int


def broken(done: Sequence[Done], lines: Sequence[Line], receipts: Mapping[str, int]) -> list[str]:
    """What does not hold. `receipts` are the samples of which the coordinator told each peer that they count."""
    by_round: defaultdict[int, list[Done]] = defaultdict(list)
    for one in done:
        by_round[one.round].append(one)
    return [
        *_once(done),
        *_one_after_the_other(by_round),
        *(why for number in sorted(by_round) for why in _one_state(number, by_round[number])),
        *(why for number in sorted(by_round) for why in _shares(number, by_round[number])),
        *_sums(by_round),
        *_counted(by_round, lines),
        *_answered(done, lines),
        *_acknowledged(lines, receipts),
    ]


def _once(done: Iterable[Done]) -> Iterator[str]:
    """Nobody applies a round twice."""
    last: dict[int, int] = {}
    for one in done:
        if one.round <= last.get(one.life, -1):
            yield f"{one.name} finished round {one.round} after round {last[one.life]}"
        last[one.life] = one.round


def _one_after_the_other(by_round: Mapping[int, Sequence[Done]]) -> Iterator[str]:
    if missing := sorted(set(range(max(by_round, default=-1) + 1)) - set(by_round)):
        yield f"nobody finished rounds {missing}, though later ones were finished"


def _one_state(number: int, of_round: Sequence[Done]) -> Iterator[str]:
    held = defaultdict(list)
    for one in of_round:
        held[one.digest].append(one.name)
    if len(held) > 1:
        who = "; ".join(f"{digest[:12]}: {', '.join(names)}" for digest, names in held.items())
        yield f"round {number} has {len(held)} states ({who})"


def _shares(number: int, of_round: Sequence[Done]) -> Iterator[str]:
    """The members' shares of a round are its whole: the weights sum to one. Who was killed may have said nothing."""
    facts = {(one.members, one.swarm_samples, one.global_samples) for one in of_round}
    if len(facts) > 1:
        yield f"round {number} was not the same for all: (members, samples, samples so far) {sorted(facts)}"
    one, own = of_round[0], sum(one.samples for one in of_round)
    if len(of_round) > one.members:
        yield f"{len(of_round)} peers finished round {number} of {one.members} members"
    if own > one.swarm_samples or (len(of_round) == one.members and own < one.swarm_samples):
        yield f"the members of round {number} added {own} samples, but it was made of {one.swarm_samples}"


def _sums(by_round: Mapping[int, Sequence[Done]]) -> Iterator[str]:
    """What was applied until a round is what was applied before it, and the round, once."""
    for number in sorted(set(by_round) & {number + 1 for number in by_round}):
        before, one = by_round[number - 1][0], by_round[number][0]
        if before.global_samples + one.swarm_samples != one.global_samples:
            yield (
                f"after round {number} {one.global_samples} samples were applied: {before.global_samples} before it "
                f"and {one.swarm_samples} in it"
            )


def _counted(by_round: Mapping[int, Sequence[Done]], lines: Iterable[Line]) -> Iterator[str]:
    """What counts for a round was in it."""
    counted: Counter[int] = Counter()
    for line in lines:
        if line.state == "counted":
            counted[line.round] += line.samples
    for number, samples in sorted(counted.items()):
        of_round = by_round.get(number)
        if of_round and samples > of_round[0].swarm_samples:
            yield f"{samples} samples count for round {number}, which was made of {of_round[0].swarm_samples}"


def _answered(done: Iterable[Done], lines: Iterable[Line]) -> Iterator[str]:
    """What a peer said that it did reached the coordinator: all its samples count, or were rejected with a reason."""
    told: Counter[tuple[int, str]] = Counter()
    for line in lines:
        if line.state in ("counted", "rejected"):
            told[line.round, line.name] += line.samples
    for one in done:
        if (known := told[one.round, one.name]) < one.samples:
            yield f"of {one.samples} samples of {one.name} in round {one.round} the ledger knows {known}"


def _acknowledged(lines: Iterable[Line], receipts: Mapping[str, int]) -> Iterator[str]:
    counted: Counter[str] = Counter()
    for line in lines:
        if line.state == "counted":
            counted[line.name] += line.samples
    for name, samples in sorted(receipts.items()):
        if samples > counted[name]:
            yield f"{name} was told that {samples} of its samples count, but the ledger counts {counted[name]}"
