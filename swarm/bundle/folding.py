"""Text as filters see it: letters that look alike are one letter, and what nobody sees is not there.

Each letter is folded on its own, so that a text in pieces folds to the pieces' foldings in a row.
Sources: NFKD and case folding (by Python's unicodedata); the look-alikes are the Latin ones of Unicode's
confusables (UTS 39) among Cyrillic and Greek small letters: those with which people get past filters, not all.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

_ALIKE = str.maketrans("авекмнорстухіјѕԁԛԝһӏαβεικνορτυχωϲϳıɑɡ", "abekmhopctyxijsdqwhlabeikvoptuxwcjiag")
# Marks that sit on letters (accents and what heaps them up); the vowel signs of other scripts are letters and stay.
_MARKS = ((0x0300, 0x036F), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x20D0, 0x20FF), (0xFE00, 0xFE0F), (0xFE20, 0xFE2F))
_EMPTY = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")  # letters and marks that show nothing


def fold(text: str) -> str:
    """All of `text`: compatibility forms, case, accents, look-alikes and invisible characters are evened out."""
    return "".join(map(fold_letter, text))


@lru_cache(1 << 14)
def fold_letter(letter: str) -> str:
    """Of one character; often one, sometimes none or several."""
    plain = unicodedata.normalize("NFKD", letter).casefold()
    return "".join(part for part in unicodedata.normalize("NFKD", plain) if _seen(part)).translate(_ALIKE)


def _seen(part: str) -> bool:
    if part in _EMPTY or unicodedata.category(part) == "Cf":
        return False
    return not any(first <= ord(part) <= last for first, last in _MARKS)
