"""Documents much like others are found, and those that are only a little like others are not."""

from __future__ import annotations

import random

from peer.likeness import likeness, signatures

DRAW = random.Random(2)
WORDS = [f"word{number}" for number in range(400)]
TEXTS = [" ".join(DRAW.choices(WORDS, k=100)) for _ in range(60)]


def varied(text: str, changes: int) -> str:
    words = text.split()
    for place in range(changes):
        words[-1 - place] = f"other{place}"
    return " ".join(words)


def test_copies_and_near_copies_are_found_with_their_similarity() -> None:
    texts = [*TEXTS, TEXTS[3], varied(TEXTS[5], 2), varied(TEXTS[7], 60), TEXTS[9].upper()]
    found = likeness(signatures(texts), range(len(texts)), [])
    assert [(pair.document, pair.like) for pair in found.repeated] == [(60, 3), (61, 5), (63, 9)]
    assert found.repeated[0].similarity == 1.0
    assert 0.9 < found.repeated[1].similarity < 1.0
    assert not found.leaked


def test_a_held_out_document_leaks_when_one_like_it_is_trained_on() -> None:
    texts = [*TEXTS, varied(TEXTS[5], 3), varied(TEXTS[5], 2), TEXTS[40], TEXTS[40]]
    train, heldout = range(40), range(40, 64)
    found = likeness(signatures(texts), train, heldout)
    assert [(pair.document, pair.like) for pair in found.leaked] == [(60, 5), (61, 5)]
    assert [(pair.document, pair.like) for pair in found.repeated] == [(62, 40), (63, 40)]


def test_many_copies_cost_little_and_count_each() -> None:
    found = likeness(signatures(["the same text " * 9] * 20_000), range(10_000), range(10_000, 20_000))
    assert len(found.repeated) == 9_999
    assert len(found.leaked) == 10_000
    assert {pair.like for pair in found.repeated + found.leaked} == {0}


def test_texts_of_few_or_no_words_are_compared_too() -> None:
    found = likeness(signatures(["Yes.", "No.", "yes!", "???", "!!!", "???"]), range(6), [])
    assert [(pair.document, pair.like) for pair in found.repeated] == [(2, 0), (5, 3)]
