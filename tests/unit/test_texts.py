"""Texts of members: their sizes, what is refused, and what is cleaned."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator import translate
from coordinator.records import TextSample
from swarm.errors import UsageError
from swarm.proto import coordinator_pb2 as pb
from swarm.texts import MOST, PROMPT_BYTES, TEXT_BYTES, cut, fits, whole_number

DIGEST = "0" * 64


def taken(*samples: pb.TextSample) -> tuple[TextSample, ...]:
    return translate.evaluation("a", pb.Evaluation(digest=DIGEST, samples=samples)).samples


@given(st.text(st.characters(), max_size=40), st.integers(0, 50))
def test_what_is_cut_fits_and_is_a_beginning(text: str, most: int) -> None:
    whole = text.encode("utf-8", "ignore").decode()
    assert fits(cut(text, most), most)
    assert whole.startswith(cut(text, most))
    assert cut(text, 400) == whole


@pytest.mark.parametrize(
    ("text", "found"),
    [("0", 0), ("007", 7), ("9" * 18, 10**18 - 1), ("9" * 19, -1), ("9" * 5000, -1), ("", -1), ("-1", -1), ("²", -1)],
)
def test_a_number_is_of_at_most_eighteen_digits(text: str, found: int) -> None:
    assert whole_number(text, -1) == found


def test_lines_stay_and_what_a_terminal_obeys_goes() -> None:
    [found] = taken(pb.TextSample(prompt="a\tb\x1b[2J", text="Straße\r\n\u202eedoc\n<b>日本</b>\x00"))
    assert found == TextSample("a b [2J", "Straße \n edoc\n<b>日本</b> ")


@pytest.mark.parametrize(
    "samples",
    [
        [pb.TextSample(prompt="p")] * (MOST + 1),
        [pb.TextSample(prompt="p" * (PROMPT_BYTES + 1))],
        [pb.TextSample(text="é" * (TEXT_BYTES // 2 + 1))],
    ],
    ids=["too many", "a long prompt", "a long text"],
)
def test_more_and_longer_texts_are_refused(samples: list[pb.TextSample]) -> None:
    with pytest.raises(UsageError, match=f"at most {MOST} texts of {TEXT_BYTES} bytes"):
        taken(*samples)


def test_the_largest_are_taken_and_told_again_where_they_shall_be() -> None:
    samples = [pb.TextSample(prompt="p" * PROMPT_BYTES, text="t" * TEXT_BYTES)] * MOST
    evaluation = translate.evaluation("a", pb.Evaluation(digest=DIGEST, samples=samples))
    assert list(translate.evaluation_message(evaluation, told=True).samples) == samples
    assert not translate.evaluation_message(evaluation).samples


def test_an_evaluation_of_an_earlier_version_has_none() -> None:
    assert taken() == ()
