"""A volunteer's word to the page: for one run, one coordinator, one key, a day at most."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.errors import LoginError
from swarm.identity import Identity
from swarm.pageword import LIFETIME, opened, word

ME, NOW, PRINT = Identity.from_seed(b"m" * 32), 1_790_000_000.0, "f" * 32


def test_it_says_whose_it_is_until_it_ends() -> None:
    said = word(ME, "law", PRINT, NOW)
    assert opened(said, "law", PRINT, NOW) == ME.public_key
    assert opened(said, "law", PRINT, NOW + LIFETIME - 1) == ME.public_key
    with pytest.raises(LoginError, match="expired"):
        opened(said, "law", PRINT, NOW + LIFETIME)


@pytest.mark.parametrize(("run", "fingerprint"), [("other", PRINT), ("law", "e" * 32)])
def test_one_for_another_run_or_coordinator_is_refused(run: str, fingerprint: str) -> None:
    with pytest.raises(LoginError, match="another run"):
        opened(word(ME, "law", PRINT, NOW), run, fingerprint, NOW)


def test_one_for_longer_than_a_day_is_refused() -> None:
    with pytest.raises(LoginError, match="more than a day"):
        opened(word(ME, "law", PRINT, NOW, life=2 * LIFETIME), "law", PRINT, NOW)


@given(st.integers(0, 138), st.sampled_from("AZaz09-_"))
def test_no_letter_can_be_changed(at: int, letter: str) -> None:
    said = word(ME, "law", PRINT, NOW)
    altered = said[:at] + letter + said[at + 1 :]
    if altered != said:
        with pytest.raises(LoginError):
            opened(altered, "law", PRINT, NOW)


@given(st.text(max_size=200))
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(LoginError):
        opened(text, "law", PRINT, NOW)
