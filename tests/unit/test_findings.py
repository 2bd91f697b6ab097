"""Findings: what may be reported, how often, what is kept back, and a chain that nobody can alter unseen."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator import decisions as d
from coordinator import events as e
from coordinator.findings import A_DAY, LATEST
from coordinator.state import State
from coordinator.tick import tick
from coordinator.trialrecords import Recorded
from swarm.errors import CorruptError
from swarm.trials.chain import START, Entry, commitment, following, require_whole
from tests.histories import fresh

NOW = 1_700_000_000.0
REPORT = e.ReportFinding("It tells its secret", "high", "leak", "ask it twice", 0.0, "i1")


def told(state: State, event: e.Event, now: float = NOW) -> tuple[State, Recorded | d.Refused]:
    state, made = tick(state, [event], now, 7)
    [found] = [one for one in made if isinstance(one, Recorded | d.Refused)]
    return state, found


def test_a_finding_is_open_and_commits_to_its_reproduction() -> None:
    state, found = told(fresh(), replace(REPORT, disclose=NOW + 100))
    assert isinstance(found, Recorded)
    assert str(found) == "Finding F1 (high): It tells its secret."
    hidden, said = json.loads(found.hidden), found.entry.said
    assert "ask it twice" not in found.entry.body
    assert (
        said["reproduction"] == commitment(hidden["salt"], "ask it twice") == commitment(hidden["salt"], hidden["text"])
    )
    assert said["disclose"] == NOW + 100
    assert state.record.findings["F1"].state == "open"


def test_a_maintainers_word_is_another_entry() -> None:
    state, first = told(fresh(), REPORT)
    state, second = told(state, e.ResolveFinding("F1", "mitigated", "a filter", "m"))
    assert isinstance(first, Recorded)
    assert isinstance(second, Recorded)
    assert second.entry.previous == first.entry.hash
    assert (state.record.findings["F1"].state, state.record.count) == ("mitigated", 2)
    assert isinstance(told(state, e.ResolveFinding("F2", "fixed", "", "m"))[1], d.Refused)
    assert isinstance(told(state, e.ResolveFinding("F1", "gone", "", "m"))[1], d.Refused)


@pytest.mark.parametrize(
    "odd",
    [
        {"severity": "grave"},
        {"title": ""},
        {"category": ""},
        {"reproduction": ""},
        {"disclose": NOW + LATEST + 1},
        {"disclose": float("nan")},
        {"disclose": float("inf")},
    ],
)
def test_what_is_no_finding_changes_nothing(odd: dict[str, object]) -> None:
    state, found = told(fresh(), replace(REPORT, **odd))  # type: ignore[arg-type]
    assert isinstance(found, d.Refused)
    assert state.record.count == 0


def test_of_one_invite_so_many_a_day() -> None:
    state = fresh()
    for _ in range(A_DAY):
        state, found = told(state, REPORT)
        assert isinstance(found, Recorded)
    assert isinstance(told(state, REPORT)[1], d.Refused)
    assert isinstance(told(state, replace(REPORT, invite="i2"))[1], Recorded)
    assert isinstance(told(state, REPORT, NOW + 86_401)[1], Recorded)


@given(st.lists(st.dictionaries(st.text(), st.text()), min_size=2, max_size=6), st.data())
def test_no_entry_is_altered_left_out_or_put_in_unseen(bodies: list[dict[str, str]], data: st.DataObject) -> None:
    entries: list[Entry] = []
    for body in bodies:
        entries.append(following(len(entries), entries[-1].hash if entries else START, NOW, "k", body))
    assert require_whole(entries) == entries
    at = data.draw(st.integers(0, len(entries) - 2))  # the last one can always be missing: its number says how many
    change = data.draw(st.sampled_from(["body", "at", "kind", "hash", "previous", "out", "twice", "swap"]))
    with pytest.raises(CorruptError, match=r"Entry \d+ of the run's public record"):
        require_whole(_altered(entries, at, change))


def _altered(entries: list[Entry], at: int, change: str) -> list[Entry]:
    one = entries[at]
    match change:
        case "out":
            return [*entries[:at], *entries[at + 1 :]]
        case "twice":
            return [*entries[: at + 1], one, *entries[at + 1 :]]
        case "swap":
            return [*entries[:at], entries[at + 1], one, *entries[at + 2 :]]
        case "at":
            return [*entries[:at], replace(one, at=one.at + 1), *entries[at + 1 :]]
        case _:
            return [*entries[:at], replace(one, **{change: f"{getattr(one, change)}x"}), *entries[at + 1 :]]
