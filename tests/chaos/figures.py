"""What a chaos run comes to, in numbers. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from statistics import median
from typing import Any

from tests.chaos.plan import Fault
from tests.chaos.story import Record
from tests.swarm_run import took_part

_ROUNDS_MORE = 2  # after a kill; the first may have been as good as done


def figures(record: Record) -> dict[str, Any]:
    """Times in seconds."""
    went_on = sorted(_went_on(record))
    counted = sum(line.samples for line in record.lines if line.state == "counted")
    return {
        "seconds": round(record.seconds, 1),
        "rounds": len({one.round for one in record.done}),
        "faults": dict(sorted(Counter(fault.kind for _, fault in record.happened).items())),
        "samples counted": counted,
        "samples in rounds that count for nobody": applied(record) - counted,
        "samples computed that no round took": sum(_dropped(record)),
        "others went on after a kill, median": round(median(went_on), 1) if went_on else None,
        "others went on after a kill, worst": round(went_on[-1], 1) if went_on else None,
    }


def applied(record: Record) -> int:
    """Samples that are in the newest state."""
    return max((one.global_samples for one in record.done), default=0)


def heldout(record: Record) -> list[tuple[int, float]]:
    """The held-out losses that were heard of, by the samples that are in the state."""
    applied = {0: 0} | {one.round + 1: one.global_samples for one in record.done}
    found = {event["round"]: event["loss"] for _, _, event in record.said if event.get("event") == "heldout"}
    return [(applied[round_], round(loss, 4)) for round_, loss in sorted(found.items())]


def _dropped(record: Record) -> Iterator[int]:
    for _, _, event in record.said:
        if event.get("event") == "round" and event["dropped_why"]:
            yield event["samples"]


def _went_on(record: Record) -> Iterator[float]:
    """After each kill, until other peers had finished so many rounds more."""
    for at, fault in record.happened:
        if fault.kind in ("kill", "die") and (then := _rounds_after(record, at, fault)):
            yield then - at


def _rounds_after(record: Record, at: float, fault: Fault) -> float:
    """When others had finished two more rounds; 0 when they never had."""
    victims = {f"peer-{number}" for number in fault.who}
    seen: set[int] = set()
    for when, name, event in record.said:
        if when > at and name not in victims and took_part(event):
            seen.add(event["round"])
            if len(seen) == _ROUNDS_MORE:
                return when
    return 0.0
