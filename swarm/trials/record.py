"""What a run's public record says, in the shapes of a bundle's manifest, and with all its details for people."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from swarm.bundle.manifest import Evaluation, Finding
from swarm.errors import CorruptError
from swarm.proto import coordinator_pb2 as pb
from swarm.trials.chain import parsed
from swarm.trials.names import REDTEAM

_ANSWERS = 2  # that did not know of each other; one is its member's word
_LATEST = 253_402_300_799  # the last second of the year 9999


@dataclass(frozen=True)
class Ended:
    """A campaign that ended, at `at` (Unix seconds), on θ_round with that state digest."""

    id: str
    kind: str
    suite: str
    round: int
    state: str
    at: float
    why: str
    figures: tuple[Evaluation, ...]
    failed: tuple[str, ...]


@dataclass(frozen=True)
class Known:
    """A finding with what the record tells of it besides; `reproduction` is empty until it may be told (Unix
    seconds).
    """

    finding: Finding
    category: str
    invite: str
    at: float
    disclose: float
    reproduction: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Read:
    """A whole record."""

    campaigns: tuple[Ended, ...]
    findings: tuple[Known, ...]


def release_facts(told: Read, state: str) -> tuple[tuple[Evaluation, ...], tuple[Finding, ...], bool]:
    """What a release gate asks: the newest figures of each suite for the checkpoint with that state digest, as far as
    two computed them; all findings; and whether somebody has looked for any in that state. A finding does not say so:
    anybody can report one, about any state.
    """
    newest = {it.suite: it for it in told.campaigns if it.state == state and _agreed(it)}
    figures = tuple(figure for _, campaign in sorted(newest.items()) for figure in _agreed(campaign))
    looked = any(campaign.kind == REDTEAM for campaign in newest.values())
    return figures, tuple(known.finding for known in told.findings), looked


def _agreed(campaign: Ended) -> list[Evaluation]:
    return [figure for figure in campaign.figures if figure.answers >= _ANSWERS]


def read(entries: Iterable[pb.RecordEntry]) -> Read:
    """Verified entries (`TrialClient.record`) by what they are about. Raises CorruptError for one that says nothing."""
    campaigns: list[Ended] = []
    findings: dict[str, Known] = {}
    for entry in entries:
        try:
            _take(entry, parsed(entry.body), campaigns, findings)
        except (KeyError, TypeError, ValueError, ValidationError) as error:
            raise CorruptError(
                f"Entry {entry.number} of the run's public record says nothing that is known here.",
                "Use the same version of garage-swarm as the run's coordinator.",
            ) from error
    return Read(tuple(campaigns), tuple(findings.values()))


def _take(entry: pb.RecordEntry, said: dict[str, Any], campaigns: list[Ended], findings: dict[str, Known]) -> None:
    match entry.kind:
        case "campaign":
            campaigns.append(_ended(entry, said))
        case "finding":
            findings[said["id"]] = _known(entry, said)
        case "finding-state":
            before = findings[said["id"]]
            finding = Finding(**{**before.finding.model_dump(), "state": said["state"]})
            notes = (*before.notes, f"{said['state']}: {said['note']}" if said["note"] else str(said["state"]))
            findings[said["id"]] = replace(before, finding=finding, notes=notes)


def _ended(entry: pb.RecordEntry, said: dict[str, Any]) -> Ended:
    return Ended(
        id=str(said["campaign"]),
        kind=str(said["kind"]),
        suite=str(said["suite"]),
        round=int(said["round"]),
        state=str(said["state"]),
        at=_moment(entry.at),
        why=str(said["why"]),
        figures=tuple(Evaluation(**figure) for figure in said["figures"]),
        failed=tuple(map(str, said["failed"])),
    )


def _known(entry: pb.RecordEntry, said: dict[str, Any]) -> Known:
    finding = Finding(id=said["id"], title=said["title"], severity=said["severity"], state="open")
    told = str(parsed(entry.opened).get("text", ""))
    return Known(
        finding, str(said["category"]), str(said["invite"]), _moment(entry.at), _moment(said["disclose"]), told
    )


def _moment(value: object) -> float:
    """Unix seconds. Raises ValueError for what is no time that a calendar knows."""
    if not isinstance(value, int | float) or not 0 <= value <= _LATEST:
        raise ValueError(f"{value} is no time")
    return float(value)
