"""What people found by hand, and how it goes on: entries of the run's public record. Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from coordinator import decisions as d
from coordinator import events as e
from coordinator.state import State, Step
from coordinator.trialrecords import Finding, Record, Recorded
from swarm.errors import NotFoundError, OverloadError, UsageError
from swarm.trials.chain import SALT_BYTES, Entry, canonical, commitment, following
from swarm.trials.names import SEVERITIES, STATES

A_DAY = 20  # findings with one invite in a day
MOST = 10_000  # in one run
LONGEST_TITLE, LONGEST_CATEGORY, LONGEST_NOTE = 200, 60, 1000  # letters
LARGEST = 16 << 10  # bytes of a reproduction
_DAY = 86_400.0  # seconds
LATEST = 365 * _DAY  # a reproduction may be kept back so long


def report(state: State, event: e.ReportFinding, now: float, rng: random.Random) -> Step:
    """Put a finding into the record, in the state open; its reproduction only as a commitment until `disclose`."""
    if refused := _objection(state, event, now):
        return state, [refused]
    salt = rng.randbytes(SALT_BYTES).hex()
    body = {
        "id": f"F{len(state.record.findings) + 1}",
        "title": event.title,
        "severity": event.severity,
        "category": event.category,
        "invite": event.invite,
        "disclose": max(event.disclose, now),
        "reproduction": commitment(salt, event.reproduction),
        "size": len(event.reproduction.encode()),
    }
    hidden = canonical({"salt": salt, "text": event.reproduction})
    return append(state, "finding", body, now, hidden)


def _objection(state: State, event: e.ReportFinding, now: float) -> d.Refused | None:
    found = state.record.findings
    if event.severity not in SEVERITIES:
        return d.Refused(f"There is no severity {event.severity!r}.", f"Take {', '.join(SEVERITIES)}.", UsageError.code)
    if not (event.title and event.category and event.reproduction):
        return d.Refused("A finding has a title, a category and a reproduction.", "Add them.", UsageError.code)
    if not event.disclose <= now + LATEST:  # also what is no number
        return d.Refused("A reproduction is kept back for a year at most.", "Name an earlier day.", UsageError.code)
    recent = sum(one.invite == event.invite and now - one.at < _DAY for one in found.values())
    if recent >= A_DAY or len(found) >= MOST:
        what = f"More than {A_DAY} findings in a day with one invite, or {MOST} in a run, are not taken."
        return d.Refused(what, "Report the gravest first; try again tomorrow.", OverloadError.code)
    return None


def resolve(state: State, event: e.ResolveFinding, now: float) -> Step:
    """A maintainer's word on a finding, as another entry: nothing is taken out of the record."""
    found = state.record.findings.get(event.id)
    if found is None:
        return state, [
            d.Refused(f"There is no finding {event.id!r}.", "`swarm redteam findings` shows all.", NotFoundError.code)
        ]
    if event.state not in STATES:
        return state, [d.Refused(f"No finding is {event.state!r}.", f"Take {', '.join(STATES)}.", UsageError.code)]
    body = {"id": found.id, "state": event.state, "note": event.note, "by": event.by}
    return append(state, "finding-state", body, now)


def append(state: State, kind: str, body: Mapping[str, Any], now: float, hidden: str = "") -> Step:
    """One entry more."""
    entry = following(state.record.count, state.record.head, now, kind, dict(body))
    return replace(state, record=with_entry(state.record, entry)), [Recorded(entry, hidden)]


def with_entry(record: Record, entry: Entry) -> Record:
    """What the record says once it holds the entry."""
    said, known = entry.said, dict(record.findings)
    if entry.kind == "finding":
        facts = {name: said[name] for name in ("id", "title", "severity", "category", "invite", "disclose")}
        known[said["id"]] = Finding(**facts, state="open", at=entry.at)
    if entry.kind == "finding-state":
        known[said["id"]] = replace(known[said["id"]], state=said["state"])
    ended = (*record.ended, said) if entry.kind == "campaign" else record.ended
    return Record(entry.number, entry.hash, known, ended)
