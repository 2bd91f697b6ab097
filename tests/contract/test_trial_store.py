"""Campaigns and the public record on every store: what was decided is there after a restart between any two events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator import decisions as d
from coordinator import trialtables
from coordinator.store import SqlStore, open_store
from coordinator.trialrecords import UNDECIDED, Trials, UnitSettled
from swarm.trials.chain import commitment, require_whole
from tests.campaigns import Story
from tests.histories import START, TERMS


@pytest.fixture
def store(database: str, tmp_path: Path) -> Iterator[SqlStore]:
    opened = open_store(TERMS.run, tmp_path, database)
    opened.write([d.CheckpointAccepted(START)], 0.0)
    yield opened
    opened.close()


def kept(trials: Trials) -> Trials:
    """All but which invite asked when: answers say it well enough."""
    return replace(trials, heard={})


@pytest.mark.parametrize("seed", range(4))
def test_a_coordinator_that_starts_again_between_any_two_events_goes_on_as_before(store: SqlStore, seed: int) -> None:
    story = Story(seed, keys=4, liars=1, state=store.load(TERMS))
    settled: list[tuple[str, int]] = []
    for _, made, state, now in story.steps(150):
        store.write(made, now)
        read = store.load(TERMS)
        assert kept(read.trials) == kept(state.trials)
        assert (read.record, read.trust) == (state.record, state.trust)
        settled += [(one.campaign.id, one.number) for one in made if isinstance(one, UnitSettled)]
        story.state = replace(read, trials=replace(read.trials, heard=state.trials.heard))
    assert settled
    assert len(settled) == len(set(settled))


def test_receipts_are_counted_from_one_for_each_key(store: SqlStore) -> None:
    story = Story(3, keys=4, liars=1, state=store.load(TERMS))
    decided: dict[str, int] = {}
    for _, made, _, now in story.steps(150):
        store.write(made, now)
        for settled in (one for one in made if isinstance(one, UnitSettled)):
            for one in settled.answers:
                decided[one.key] = decided.get(one.key, 0) + (one.verdict != UNDECIDED)
    with store.reading() as connection:
        for key, count in decided.items():
            numbers = [one.receipt for one in trialtables.decided(connection, TERMS.run, key, 0, 1000)]
            assert numbers == list(range(1, count + 1))
            assert len(trialtables.decided(connection, TERMS.run, key, count - 1, 1000)) == min(count, 1)


def test_the_record_is_a_chain_and_says_what_was_committed(store: SqlStore) -> None:
    story = Story(5, state=store.load(TERMS))
    for _, made, _, now in story.steps(200):
        store.write(made, now)
    with store.reading() as connection:
        found = trialtables.entries(connection, TERMS.run, 0, 10_000)
        assert trialtables.entries(connection, TERMS.run, 2, 3) == found[2:5]
    assert len(found) == story.state.record.count > 5
    assert require_whole(entry for entry, _ in found)[-1].hash == story.state.record.head
    for entry, hidden in found:
        assert bool(hidden) == (entry.kind == "finding")
        if hidden:
            told = json.loads(hidden)
            assert commitment(told["salt"], told["text"]) == entry.said["reproduction"]
