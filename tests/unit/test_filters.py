"""Filters: letters in disguise, words in pieces, and patterns that would never end elsewhere."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from swarm.bundle.caps import Filter
from swarm.bundle.filters import Ban, Sieve, compiled, topic_in
from swarm.bundle.folding import fold


def bans(*patterns: str) -> list[Ban]:
    return [Ban(f"topic {at}", compiled(pattern)) for at, pattern in enumerate(patterns)]


def sifted(pieces: list[str], *patterns: str) -> tuple[str, str]:
    """What came through, and the topic."""
    sieve = Sieve(bans(*patterns))
    shown = "".join(sieve.take(piece) for piece in pieces)
    return shown + sieve.finish(), sieve.topic


@pytest.mark.parametrize(
    "text",
    [
        "bomb",
        "BoMb",
        "ｂｏｍｂ",  # full width
        "b\u200bo\u200dm\ufeffb",  # zero width
        "bo\u00admb",  # soft hyphen
        "bo\u202em\u2066b",  # marks of direction
        "b\U000e0062omb",  # tags
        "bömb̈",
        "b̶o̶m̶b̶",
        "𝐛𝐨𝐦𝐛",
        "ⓑⓞⓜⓑ",
        "bоmb",  # a Cyrillic о
        "ВΟМВ",  # Cyrillic В and М, Greek Ο
        "bo\u115fmb",  # a Hangul filler
    ],
)
def test_a_disguised_word_is_seen(text: str) -> None:
    assert topic_in(f"a {text} please", bans("bomb")) == "topic 0"


@pytest.mark.parametrize("text", ["a class", "bom b", "tomb", "कुल"])
def test_others_are_not(text: str) -> None:
    assert topic_in(text, bans(r"\bass\b", r"\bbomb\b", "कल")) == ""


def test_patterns_in_other_scripts() -> None:
    assert topic_in("WO IST DIE БОМБА", bans("бомба")) == "topic 0"
    assert topic_in("die Straße", bans("STRASSE")) == topic_in("die STRASSE", bans("straße")) == "topic 0"
    assert topic_in("日本の爆弾", bans("爆弾")) == "topic 0"


@given(st.text(max_size=30), st.lists(st.integers(1, 5), max_size=40), st.text(max_size=30))
def test_a_word_in_pieces_never_comes_through(before: str, sizes: list[int], after: str) -> None:
    """However it is cut, none of the word's letters that stand in a row with its last one is shown."""
    text, at, pieces = f"{before}b\u200bömb{after}", 0, []
    for size in [*sizes, len(before) + len(after) + 5]:
        pieces.append(text[at : at + size])
        at += size
    shown, topic = sifted(pieces, "bomb")
    assert topic == "topic 0"
    assert "bomb" not in fold(shown)


@given(st.lists(st.text(max_size=8), max_size=20))
def test_all_else_comes_through_whole(pieces: list[str]) -> None:
    text = "".join(pieces)
    expected = "" if "x" in fold(text) else text
    shown, topic = sifted(pieces, "x")
    assert shown == expected or (topic and text.startswith(shown))


def test_only_as_much_is_held_back_as_a_match_may_have() -> None:
    sieve = Sieve(bans("bombs?"))
    assert sieve.take("hello there") == "hello "
    assert sieve.take(" bo") == "ther"[:3]


def test_a_match_without_a_bound_holds_all_back() -> None:
    sieve = Sieve(bans("how.*bomb"))
    assert sieve.take("how nice " * 100) == ""
    assert sieve.finish() == "how nice " * 100
    assert sifted(["how ", "to " * 5000, "bomb"], "how.*bomb") == ("", "topic 0")


def test_what_may_become_another_word_is_waited_for() -> None:
    assert sifted(["an ass", "et"], r"\bass\b") == ("an asset", "")
    assert sifted(["an ass"], r"\bass\b")[1] == "topic 0"
    assert sifted(["an ass", "."], r"\bass\b")[1] == "topic 0"


def test_a_word_cannot_be_had_in_answers_of_one_letter_each() -> None:
    got = "a "
    for letter in "bomb":
        sieve = Sieve(bans("bomb"), got)
        got += sieve.take(letter) + sieve.finish()
    assert (got, sieve.topic) == ("a bom", "topic 0")


def test_what_a_client_sent_is_not_held_against_the_answer() -> None:
    sieve = Sieve(bans("bomb", "is.*bad"), "A bomb is a bomb. " * 300)
    assert sieve.take("Yes, and no") + sieve.finish() == "Yes, and no"
    assert not sieve.topic


@pytest.mark.parametrize("pattern", [r"(a*)*b", r"(a|a)*b", r"(a|aa)+$", r"(.*)(.*)(.*)(.*)(.*)[^a]", r"(x+x+)+y"])
def test_no_pattern_takes_long(pattern: str) -> None:
    """Each of these takes longer than anybody's life in an engine that goes back."""
    began = time.process_time()
    topic_in("a" * 50_000 + "x" * 50_000, bans(pattern))
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(a", "missing"),
        ("(?=a)", "perl"),
        (r"(a)\1", "escape"),
        ("((((a{1,900}){1,900}){1,900}){1,900})", "repetition"),
        ("(((((((a?){9}){9}){9}){9}){9}){9})b", "large|repetition"),
        ("a*", "every text"),
    ],
)
def test_a_pattern_that_re2_does_not_take_is_none(pattern: str, why: str) -> None:
    with pytest.raises(ValidationError, match=f"(?i){why}"):
        Filter(topic="x", pattern=pattern)


def test_lengths_are_never_read_shorter_than_they_are() -> None:
    """Python's parser says how long a match can be; where RE2 reads a pattern otherwise there is no bound."""
    assert compiled("a{,2}b").longest is None
    assert compiled(r"\pL\pL").longest is None
    assert compiled("bombs?").longest == 5
    assert compiled("ﬁx").longest == 3
