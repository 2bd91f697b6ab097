"""Who sits out after complaints: the guilty where that can be known, both where it cannot."""

from __future__ import annotations

from peer.exchange.complaints import FOREVER, Bench, Sentence, Word, judge

MEMBERS = ("leader", "a", "b", "c", "d")


def out(*words: Word) -> dict[str, int]:
    return {sentence.member: sentence.round for sentence in judge(words, MEMBERS, "leader", 7)}


def test_what_the_leader_found_counts() -> None:
    assert out(Word("a", "b", "wrong", proven=True)) == {"b": FOREVER}
    assert out(Word("a", "b", "wrong", proven=False)) == {"a": 7}


def test_more_than_half_are_believed() -> None:
    assert out(*(Word(one, "b", "silent") for one in ("leader", "a", "c"))) == {"b": 7}


def test_one_word_against_another_costs_both_the_round() -> None:
    assert out(Word("a", "b", "silent")) == {"a": 7, "b": 7}


def test_nobody_sits_out_for_a_word_where_no_more_than_half_would_be_left() -> None:
    assert out(Word("a", "b", "silent"), Word("c", "b", "silent")) == {}
    words = [Word("a", "b", "silent"), Word("b", "a", "silent")]
    assert judge(words, ("leader", "a", "b"), "leader", 7) == []


def test_who_was_found_to_say_what_is_not_so_is_not_heard_about_others() -> None:
    assert out(Word("a", "b", "wrong", proven=False), Word("a", "c", "silent")) == {"a": 7}


def test_the_leader_does_not_sit_out() -> None:
    assert out(Word("leader", "b", "silent")) == {"b": 7}
    assert out(Word("a", "leader", "silent")) == {"a": 7}


def test_two_liars_of_five_do_not_put_an_honest_member_out_for_good() -> None:
    assert "c" not in out(Word("a", "c", "made up"), Word("b", "c", "made up"))


def test_a_bench_forgets_with_the_round_but_not_what_was_proven() -> None:
    bench = Bench()
    bench.add(Sentence("a", 7, "silent"))
    bench.add(Sentence("b", FOREVER, "wrong"))
    assert (bench.why("a", 7), bench.why("a", 8), bench.why("b", 8)) == ("silent", "", "wrong")


def test_the_third_dispute_is_for_good() -> None:
    bench = Bench()
    for round_ in (1, 5, 9):
        bench.add(Sentence("a", round_, "its word against another's"))
    assert bench.why("a", 20)
