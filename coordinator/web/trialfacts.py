"""What the page shows of trials: campaigns that go on, what others found, and findings. Pure."""

from __future__ import annotations

from typing import Any

from coordinator.state import State
from coordinator.trialrecords import Campaign, Finding
from coordinator.web.facts import Facts, number

ENDED, FINDINGS = 20, 100  # of each that are shown, at most: the newest


def of(state: State, now: float) -> Facts:
    """All of it. How a finding is reproduced is on no page: `swarm redteam findings` tells it once it may be told."""
    findings = sorted(state.record.findings.values(), key=lambda one: -one.at)
    return {
        "open": [_going(state, campaign) for campaign in state.trials.open],
        "ended": [_ended(said) for said in reversed(state.record.ended[-ENDED:])],
        "findings": [_finding(one, now) for one in findings[:FINDINGS]],
        "findings_ever": len(findings),
    }


def settled(state: State) -> int:
    """Units of all open campaigns: as many news for the page."""
    return sum(unit.settled for unit in state.trials.units.values())


def _going(state: State, campaign: Campaign) -> Facts:
    done = sum(unit.settled for (id_, _), unit in state.trials.units.items() if id_ == campaign.id)
    named = {"id": campaign.id, "suite": campaign.suite, "round": campaign.round}
    return {**named, "settled": done, "units": campaign.units, "since": round(campaign.started_at)}


def _ended(said: Any) -> Facts:
    figures = [
        {"metric": one["metric"], "value": number(one["value"]), "samples": one["samples"], "answers": one["answers"]}
        for one in said["figures"]
    ]
    named = {name: said[name] for name in ("suite", "round", "why", "failed")}
    return {"id": said["campaign"], **named, "figures": figures}


def _finding(one: Finding, now: float) -> Facts:
    named = {name: getattr(one, name) for name in ("id", "title", "severity", "category", "state")}
    return {**named, "at": round(one.at), "hidden_until": round(one.disclose) if one.disclose > now else None}
