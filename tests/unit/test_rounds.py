"""The leader's decisions: every one with its reason, and laws that hold whatever the peers say."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from peer.exchange.attempt import makers_of
from peer.exchange.closing import SampleTarget
from peer.exchange.rounds import (
    Abort,
    Appeal,
    Apply,
    Commit,
    Form,
    Limits,
    Member,
    Needs,
    Quorum,
    Ready,
    Reopen,
    Wait,
    decide_group,
    decide_outcome,
    evaluator_of,
    leader_of,
    voting,
)
from swarm.proto import exchange_pb2 as pb

A, B, C, D = b"a", b"b", b"c", b"d"


def ready(samples: int = 40, digest: str = "x", at: float = 0.0) -> Ready:
    return Ready(samples, digest, client_mode=False, at=at)


def group(words: dict[bytes, Ready], **changes: object):
    facts = {
        "expected": set(words),
        "active_members": len(words),
        "ready": words,
        "own": A,
        "closing": SampleTarget(80),
        "waited": 0.0,
        "limits": Limits(grace=5.0, patience=60.0),
        "quorum": Quorum(granted=frozenset({""})),  # the coordinator lets these go on
    }
    return decide_group(**{**facts, **changes})  # type: ignore[arg-type]


def test_all_ready_forms_at_once() -> None:
    decision = group({A: ready(), B: ready(), C: ready()})
    assert decision == Form((A, B, C), (), "3 peers with 120 samples", Needs(3, frozenset({A, B, C})))


def test_waits_for_the_slow_and_says_for_how_many() -> None:
    decision = group({A: ready(), B: ready()}, expected={A, B, C}, active_members=3, waited=2.0)
    assert decision == Wait("waiting for 1 of 3 peers, at most 3 s more")


def test_goes_without_the_slow_after_grace() -> None:
    decision = group({A: ready(), B: ready()}, expected={A, B, C}, active_members=3, waited=5.0)
    assert isinstance(decision, Form)
    assert decision.members == (A, B)
    assert "without 1" in decision.why


def test_who_fetches_the_state_is_waited_for_longer_and_not_for_ever() -> None:
    limits = Limits(grace=5.0, patience=60.0, guests=frozenset({C}))
    facts = {"expected": {A, B, C}, "active_members": 3, "limits": limits}
    decision = group({A: ready(), B: ready()}, **facts, waited=50.0)
    assert decision == Wait("waiting for a peer that fetches the state, at most 10 s more")
    assert isinstance(group({A: ready(), B: ready()}, **facts, waited=60.0), Form)
    assert isinstance(group({A: ready(), B: ready(), C: ready(0)}, **facts, waited=1.0), Form)


def test_two_that_cannot_say_who_lies_wait_for_a_third_and_not_for_ever() -> None:
    limits = Limits(grace=5.0, patience=60.0, contributors=3)
    facts = {"expected": {A, B, C}, "active_members": 3, "limits": limits}
    two = {A: ready(), B: ready()}
    assert group(two, **facts, waited=20.0) == Wait("2 contributors are too few; waiting for 3, at most 40 s more")
    assert isinstance(group(two, **facts, waited=60.0), Form)
    assert isinstance(group({**two, C: ready()}, **facts, waited=0.0), Form)
    alone = {"expected": {A, B}, "active_members": 3, "limits": limits}  # the third is gone
    assert isinstance(group(two, **alone, waited=0.0), Form)
    watching = {**two, C: ready(0)}  # it has no samples, and will have none
    assert isinstance(group(watching, **facts, waited=0.0), Form)


def test_round_reopens_when_the_ready_peers_lack_samples() -> None:
    decision = group({A: ready(30), B: ready(30)}, expected={A, B, C}, active_members=3, waited=5.0)
    assert decision == Reopen("the ready peers have 60 of 80 samples; the round goes on")


def test_a_round_reopens_for_the_majority_while_others_fetch_its_state() -> None:
    decision = group({A: ready(30), B: ready(30), C: ready(60, "other")})
    assert decision == Reopen("the ready peers have 60 of 80 samples; the round goes on", (C,))


def test_a_minority_never_advances_the_run() -> None:
    decision = group({A: ready(50), B: ready(50)}, active_members=4)
    assert decision == Wait("only 2 of 4 members can be reached; more than half must take part")


def test_a_minority_digest_is_sent_to_fetch_the_state() -> None:
    decision = group({A: ready(), B: ready(digest="other"), C: ready()})
    assert isinstance(decision, Form)
    assert (decision.members, decision.resync) == ((A, C), (B,))


def test_the_leader_follows_the_majority_too() -> None:
    decision = group({A: ready(digest="mine"), B: ready(), C: ready()})
    assert isinstance(decision, Form)
    assert decision.resync == (A,)


def test_a_tie_goes_to_the_leaders_side() -> None:
    decision = group({A: ready(80, "mine"), B: ready(80)}, active_members=1)
    assert isinstance(decision, Form)
    assert decision.members == (A,)


def made(by: str, *here: str) -> dict[bytes, Ready]:
    """Members of a state that the members `by` made."""
    return {who.encode(): replace(ready(90), member=who, made_by=tuple(by)) for who in here}


def test_more_than_half_of_the_last_round_goes_on_and_less_waits() -> None:
    most, few = made("abcde", "a", "b", "c"), made("abcde", "a", "b")
    assert isinstance(group(most, active_members=9, quorum=Quorum()), Form)
    decision = group(few, quorum=Quorum(granted=frozenset("ab")))
    assert isinstance(decision, Wait)
    assert decision.why.startswith("only 2 of the 5 members that made the last round are here")
    assert isinstance(group({**few, **made("", "f", "g")}, quorum=Quorum()), Wait), "newcomers have no vote yet"


def test_who_said_goodbye_is_missed_no_more() -> None:
    assert isinstance(group(made("abcde", "a", "b"), quorum=Quorum(left=frozenset("cde"))), Form)
    assert isinstance(group(made("abcde", "a", "b"), quorum=Quorum(left=frozenset("e"))), Appeal)


def test_a_tie_and_a_state_of_unknown_makers_are_for_the_coordinator() -> None:
    for words in (made("abcd", "a", "b"), made("", "a", "b")):
        decision = group(words, quorum=Quorum())
        assert isinstance(decision, Appeal)
        assert decision.members == ("a", "b")
        assert isinstance(group(words, quorum=Quorum(granted=frozenset("ab"))), Form)
        assert isinstance(group(words, quorum=Quorum(granted=frozenset("a"))), Appeal)


@given(st.sets(st.sampled_from("abcdefgh"), min_size=1), st.data())
def test_two_parts_of_a_swarm_never_both_go_on_by_themselves(made_by: set[str], data: st.DataObject) -> None:
    left = frozenset(data.draw(st.sets(st.sampled_from(sorted(made_by)))))
    one = data.draw(st.sets(st.sampled_from(sorted(made_by - left)), min_size=1)) if made_by - left else set()
    parts = [part for part in (one, made_by - left - one) if part]
    decisions = [group(made("".join(made_by), *part), own=min(part).encode(), quorum=Quorum(left)) for part in parts]
    assert sum(isinstance(decision, Form) for decision in decisions) <= 1
    assert len(parts) == 2 or not parts or isinstance(decisions[0], Form)


def test_who_gave_its_vote_already_counts_for_the_coordinator_only() -> None:
    words = made("abc", "a", "b")
    words[B] = replace(words[B], voted=1)
    decision = group(words, quorum=Quorum())
    assert isinstance(decision, Appeal)
    assert not decision.blind
    formed = group(words, quorum=Quorum(granted=frozenset("ab")))
    assert isinstance(formed, Form)
    assert formed.needs == Needs(2, frozenset({A, B})), "each of them"
    assert isinstance(group(words, quorum=Quorum(round=1)), Form), "that vote was for the state they hold"


def test_nothing_is_applied_that_others_could_make_once_more() -> None:
    needs = Needs(3, frozenset({A, B, C}))
    said = {A: commit(), B: commit()}
    assert isinstance(outcome(said, waited=10.0, needs=needs), Abort)
    assert isinstance(outcome({**said, C: commit()}, needs=needs), Apply)


peers = st.sampled_from([bytes([number]) for number in range(8)])
words = st.builds(Ready, st.integers(0, 100), st.sampled_from(["x", "y", "z"]), st.booleans(), st.floats(0, 100))


@given(
    st.dictionaries(peers, words, min_size=1),
    st.sets(peers),
    st.integers(1, 8),
    st.integers(1, 300),
    st.floats(0, 200),
)
def test_whatever_is_formed_is_agreed_large_enough_and_a_majority(
    said: dict[bytes, Ready], expected: set[bytes], active: int, target: int, waited: float
) -> None:
    own = min(said)
    decision = group(
        said, expected=expected, active_members=active, own=own, closing=SampleTarget(target), waited=waited
    )
    assert decision.why
    if isinstance(decision, Form):
        assert len({said[peer].digest for peer in decision.members}) == 1
        assert sum(said[peer].samples for peer in decision.members) >= target
        assert len(decision.members) * 2 > active
        assert set(decision.members) | set(decision.resync) == set(said)
        assert not set(decision.members) & set(decision.resync)


def commit(digest: str = "g", norm: float = 1.0, complete: bool = True, why: str = "") -> Commit:
    return Commit(complete, digest, norm, why)


TWO_OF_THREE = Needs(2, frozenset({A, B, C}))


def outcome(commits: dict[bytes, Commit], **changes: object):
    facts = {"group": (A, B, C), "needs": TWO_OF_THREE, "own": A, "waited": 0.0, "patience": 10.0}
    return decide_outcome(commits=commits, **{**facts, **changes})  # type: ignore[arg-type]


def test_applies_when_all_hold_the_same_average() -> None:
    decision = outcome({A: commit(norm=2.0), B: commit(norm=2.1), C: commit()})
    assert decision == Apply("g", 2.0, "3 of 3 peers hold the same average")


def test_one_broken_exchange_aborts_for_all_with_its_reason() -> None:
    decision = outcome({A: commit(), B: commit(complete=False, why="c stopped sending")})
    assert decision == Abort((C,), "the exchange broke: c stopped sending")


def test_a_silent_member_does_not_stop_the_others_for_ever() -> None:
    said = {A: commit(), B: commit()}
    assert isinstance(outcome(said, waited=9.9), Wait)
    assert isinstance(outcome(said, waited=10.0), Apply)


def test_a_member_that_is_surely_gone_is_not_awaited() -> None:
    said = {A: commit(), B: commit()}
    assert isinstance(outcome(said, gone={C}), Apply)
    assert isinstance(outcome(said, gone={B}), Wait)
    assert outcome({A: commit()}, gone={B, C}) == Abort(
        (B, C), "only 1 of the 2 members without whom nothing may be applied got a result"
    )


def test_no_majority_for_one_average_aborts() -> None:
    decision = outcome({A: commit("g"), B: commit("h"), C: commit("i")})
    assert isinstance(decision, Abort)


def test_who_holds_another_average_fetches_the_state() -> None:
    decision = outcome({A: commit("g"), B: commit("g"), C: commit("h")})
    assert isinstance(decision, Apply)
    assert (decision.digest, decision.why) == ("g", "2 of 3 peers hold the same average")


@given(
    st.lists(peers, min_size=1, unique=True),
    st.dictionaries(peers, st.builds(Commit, st.booleans(), st.sampled_from("gh"), st.floats(0, 9))),
    st.floats(0, 20),
    st.integers(0, 8),
    st.frozensets(peers),
)
def test_nothing_is_applied_without_more_than_half_of_the_group(
    members: list[bytes], said: dict[bytes, Commit], waited: float, count: int, among: frozenset[bytes]
) -> None:
    said = {peer: word for peer, word in said.items() if peer in members}
    needs = Needs(count, among)
    decision = decide_outcome(group=members, needs=needs, commits=said, own=members[0], waited=waited, patience=10.0)
    if isinstance(decision, Apply):
        assert len(among & said.keys()) >= count
        agreeing = [peer for peer, word in said.items() if word.digest == decision.digest]
        assert len(agreeing) * 2 > len(members)
        assert all(said[peer].complete for peer in agreeing)


def test_those_on_probation_have_no_say_in_which_average_it_is_while_others_have() -> None:
    said = {A: commit("g"), B: commit("h"), C: commit("h")}
    decision = outcome(said, light=[B, C])
    assert decision == Apply("g", 1.0, "1 of 1 peers hold the same average")
    assert isinstance(outcome(said, light=[A]), Apply)
    without_a = outcome({B: commit("h"), C: commit("h")}, own=B, waited=10.0, light=[B, C])
    assert without_a == Abort((A,), "only 0 of 1 peers hold the same average")
    among_themselves = outcome(said, light=[A, B, C])
    assert isinstance(among_themselves, Apply)
    assert among_themselves.digest == "h"


def test_a_crowd_on_probation_does_not_say_which_state_is_the_majoritys() -> None:
    crowd = {peer: replace(ready(digest="y"), light=True) for peer in (B, C, D)}
    words = {A: ready(80), **crowd}
    decision = group(words, active_members=1)
    assert isinstance(decision, Form)
    assert (decision.members, decision.resync) == ((A,), (B, C, D))
    alone = group(crowd, own=B)
    assert isinstance(alone, Reopen), "and by themselves they make no round, and say so"
    assert "without those on probation" in alone.why


def test_who_made_the_last_round_is_what_those_who_weigh_say() -> None:
    made = {A: replace(ready(digest="x"), light=True, made_by=("liar",), member="a")}
    made |= {peer: replace(ready(), made_by=("b", "c"), member=peer.decode()) for peer in (B, C)}
    assert isinstance(group(made, own=B, quorum=Quorum(round=1)), Form)


def test_nobody_on_probation_leads_while_somebody_else_can() -> None:
    crowd = [Member(1.0, A, light=True), Member(2.0, B, light=True)]
    assert leader_of([*crowd, Member(3.0, C)]) == Member(3.0, C)
    assert leader_of([*crowd, Member(3.0, C, client_mode=True), Member(4.0, D, active=False)]) == crowd[0]
    assert leader_of(crowd) == crowd[0]


def test_those_on_probation_have_no_vote_on_who_makes_the_next_round_while_others_have() -> None:
    members = [pb.GroupMember(peer_id=peer, member=peer.decode(), light=peer != A) for peer in (A, B, C)]
    assert makers_of(pb.Group(members=members)) == ("a",)
    assert makers_of(pb.Group(members=members[1:])) == ("b", "c")
    assert voting([Member(0.0, A), Member(0.0, B, light=True), Member(0.0, C, light=True)]) == 1
    assert voting([Member(0.0, A, active=False), Member(0.0, B, light=True), Member(0.0, C, light=True)]) == 2


def test_the_senior_reachable_member_leads() -> None:
    young, old = Member(20.0, A), Member(10.0, B)
    hidden = Member(1.0, C, client_mode=True)
    syncing = Member(2.0, D, active=False)
    assert leader_of([young, old, hidden, syncing]) == old
    assert leader_of([hidden]) is None


def test_the_members_take_turns_to_evaluate_but_the_leader_only_alone() -> None:
    assert [evaluator_of([C, A, B], A, round_) for round_ in range(3)] == [B, C, B]
    assert evaluator_of([A], A, 7) == A


def test_a_member_that_is_there_twice_is_one_voice_its_newest() -> None:
    """One seat has passes for as many nodes as it likes; one that was started anew has another node, too."""
    made = ("h0", "h1", "h2", "h3")
    honest = {bytes([n]): Ready(64, "good", False, 0.0, member=f"h{n}", made_by=made) for n in range(4)}
    nodes = {bytes([100 + n]): Ready(0, "evil", False, float(n), member="e") for n in range(7)}
    decision = group({**honest, **nodes}, own=b"\0", active_members=5, quorum=Quorum())
    assert isinstance(decision, Form)
    assert decision.members == tuple(honest)
    assert decision.resync == (bytes([106]),)


def test_who_made_a_state_is_what_most_say_and_not_one_of_them() -> None:
    """Whoever came first in the order of ids named the only member that the next round needed."""
    made = ("h1", "h2", "h3")
    ready = {bytes([n]): Ready(64, "good", False, 0.0, member=f"h{n}", made_by=made) for n in (1, 2)}
    evil = {b"\0": Ready(64, "good", False, 0.0, member="e", made_by=("e",))}
    decision = group({**evil, **ready}, own=b"\1", quorum=Quorum())
    assert isinstance(decision, Form)
    assert decision.needs == Needs(2, frozenset(ready))


def test_samples_on_probation_end_no_round() -> None:
    words = {A: ready(), B: replace(ready(samples=400), light=True)}
    assert group(words) == Reopen(
        "the ready peers have 40 of 80 samples, without those on probation; the round goes on"
    )
    assert isinstance(group({**words, C: ready()}), Form)
