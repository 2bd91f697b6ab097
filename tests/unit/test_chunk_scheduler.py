"""Who is asked for which chunk: laws that hold whatever the donors do, and the reasons that are given."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from peer.chunks import (
    COORDINATOR,
    OUTSTANDING,
    Ask,
    Done,
    Facts,
    Fetch,
    GiveUp,
    Record,
    Wait,
    decide,
    from_bits,
    to_bits,
)

A, B = b"a", b"b"
PATIENCE = 120.0


@dataclass
class World:
    """Donors that answer as `fate` says: "gives", "dies" (from then on), "lies", "busy" (once)."""

    count: int
    donors: dict[bytes, set[int]]
    fates: dict[bytes, list[str]] = field(default_factory=dict)
    now: float = 0.0
    here: set[int] = field(default_factory=set)
    asked: list[Ask] = field(default_factory=list)
    sent: Counter[int] = field(default_factory=Counter)
    records: dict[bytes, Record] = field(default_factory=dict)
    progress_at: float = 0.0
    dead: set[bytes] = field(default_factory=set)

    def run(self, pick: st.DataObject) -> Done | GiveUp:
        for _ in range(10_000):
            decision = decide(self.facts(), self.now, PATIENCE)
            if isinstance(decision, Done | GiveUp):
                return decision
            if isinstance(decision, Fetch):
                self.send(decision)
            elif self.asked:
                self.answer(self.asked.pop(pick.draw(st.integers(0, len(self.asked) - 1))))
            else:
                assert decision.until > self.now, "it would be asked again at once, for ever"
                self.now = decision.until
        raise AssertionError("it does not end")

    def facts(self) -> Facts:
        asked = [(ask.donor, ask.chunk) for ask in self.asked]
        order = range(self.count)
        return Facts(order, self.here, self.donors, asked, self.records, self.progress_at)

    def send(self, decision: Fetch) -> None:
        for ask in decision.asks:
            assert ask.chunk in self.donors[ask.donor]
            assert ask.chunk not in self.here
            assert ask.chunk not in [other.chunk for other in self.asked]
            assert not self.records.get(ask.donor, Record()).lied
            self.asked.append(ask)
            self.sent[ask.chunk] += 1
        loads = Counter(ask.donor for ask in self.asked)
        assert max(loads.values()) <= OUTSTANDING

    def answer(self, ask: Ask) -> None:
        self.now += 0.1
        fates = self.fates.get(ask.donor, [])
        fate = "dies" if ask.donor in self.dead else fates.pop(0) if fates else "gives"
        record = self.records.get(ask.donor, Record())
        if fate == "gives":
            self.here.add(ask.chunk)
            self.progress_at = self.now
            self.records[ask.donor] = record.served()
        elif fate == "dies":
            self.dead.add(ask.donor)
            self.records[ask.donor] = record.failed(self.now)
        else:
            self.records[ask.donor] = record.caught() if fate == "lies" else record.busy(self.now)


counts = st.integers(1, 30)
holdings = st.dictionaries(st.sampled_from([COORDINATOR, A, B, b"c", b"d", b"e"]), st.sets(st.integers(0, 29)))


@given(counts, holdings, st.data())
def test_without_failures_every_chunk_that_somebody_holds_is_fetched_exactly_once(
    count: int, donors: dict[bytes, set[int]], data: st.DataObject
) -> None:
    held = {chunk for chunks in donors.values() for chunk in chunks if chunk < count}
    world = World(count, donors)
    end = world.run(data)
    assert world.here == held
    assert world.sent == Counter(held)
    assert isinstance(end, Done) == (held == set(range(count)))


@given(counts, holdings, st.data())
def test_a_chunk_that_an_honest_donor_holds_is_never_lost(
    count: int, donors: dict[bytes, set[int]], data: st.DataObject
) -> None:
    """Whoever else dies, lies or is busy."""
    fate = st.lists(st.sampled_from(["gives", "dies", "lies", "busy"]), max_size=5)
    fates = {donor: data.draw(fate) for donor in donors if donor != A}
    world = World(count, donors, fates)
    world.run(data)
    assert {chunk for chunk in donors.get(A, ()) if chunk < count} <= world.here


def facts(**changes: object) -> Facts:
    """Four chunks; the coordinator holds all of them."""
    plain = {"order": range(4), "here": (), "donors": {COORDINATOR: range(4)}, "asked": ()}
    return Facts(**{**plain, **changes})  # type: ignore[arg-type]


def test_peers_are_asked_first_and_the_coordinator_when_they_are_at_work() -> None:
    decision = decide(facts(donors={COORDINATOR: range(4), A: range(4)}), 0.0, PATIENCE)
    assert decision == Fetch(
        (
            Ask(A, 0, "1 peers hold it"),
            Ask(A, 1, "1 peers hold it"),
            Ask(COORDINATOR, 2, "every peer that holds it is at work"),
            Ask(COORDINATOR, 3, "every peer that holds it is at work"),
        )
    )


def test_the_coordinators_line_is_spared_when_enough_peers_hold_the_chunks() -> None:
    peers = {bytes([65 + i]): range(12) for i in range(4)}
    decision = decide(facts(order=range(12), donors={COORDINATOR: range(12), **peers}), 0.0, PATIENCE)
    assert isinstance(decision, Fetch)
    assert Counter(ask.donor for ask in decision.asks) == dict.fromkeys(peers, OUTSTANDING)


def test_the_rarest_chunk_goes_first_and_the_order_decides_between_equals() -> None:
    decision = decide(facts(order=[3, 1, 0, 2], donors={A: range(4), B: [1, 3, 0]}), 0.0, PATIENCE)
    assert isinstance(decision, Fetch)
    assert [(ask.donor, ask.chunk) for ask in decision.asks] == [(A, 2), (B, 3), (A, 1), (B, 0)]


def test_who_fails_is_left_in_peace_for_longer_each_time() -> None:
    record, rests = Record(), []
    for _ in range(8):
        record = record.failed(100.0)
        rests.append(record.rests_until - 100.0)
    assert rests == [1, 2, 4, 8, 16, 30, 30, 30]
    assert record.served() == Record()


def test_why_it_waits_and_why_it_gives_up() -> None:
    resting = {COORDINATOR: Record().failed(10.0)}
    assert decide(facts(records=resting), 10.0, 60.0) == Wait(11.0, "no donor answers; it is tried for 50 s more")
    assert decide(facts(records=resting), 60.0, 60.0) == Fetch(
        (Ask(COORDINATOR, 0, "no peer holds it"), Ask(COORDINATOR, 1, "no peer holds it"))
    )
    liar = {COORDINATOR: Record().caught()}
    assert decide(facts(records=liar, here=[0]), 60.0, 60.0) == GiveUp(
        "3 of 4 chunks are missing, and for 60 s whoever holds them sent wrong bytes"
    )
    assert decide(facts(donors={A: [0]}, here=[0]), 5.0, 60.0) == Wait(
        60.0, "nobody holds them; it is tried for 55 s more"
    )
    under_way = facts(asked=[(COORDINATOR, 0), (COORDINATOR, 1)])
    assert decide(under_way, 99.0, 60.0) == Wait(159.0, "2 chunks are under way")


@given(counts, st.sets(st.integers(0, 29)), st.binary(max_size=8))
def test_sets_of_chunks_travel_as_bits(count: int, chunks: set[int], anything: bytes) -> None:
    chunks = {chunk for chunk in chunks if chunk < count}
    assert from_bits(to_bits(chunks, count), count) == chunks
    assert all(chunk < count for chunk in from_bits(anything, count))
