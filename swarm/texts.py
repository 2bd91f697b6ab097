"""Texts of others: how they are shown, and how large samples may be, wherever they are."""

from __future__ import annotations

MOST = 8  # texts of one evaluation
PROMPT_BYTES = 512
TEXT_BYTES = 2048
_DIGITS = 18  # of a number: more may not fit into 64 bits, and of thousands Python makes none


def cut(text: str, most: int) -> str:
    """The beginning of `text` that has at most `most` bytes as UTF-8."""
    return text.encode("utf-8", "ignore")[:most].decode("utf-8", "ignore")


def fits(text: str, most: int) -> bool:
    """Whether it has at most `most` bytes as UTF-8."""
    return len(text.encode("utf-8", "ignore")) <= most


def whole_number(text: str, otherwise: int) -> int:
    """The number whose decimal digits `text` is; `otherwise` when it is none, or one of more than 18 digits."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _DIGITS else otherwise


def shown(text: str) -> str:
    """`text` in one line, and with nothing that a terminal would obey."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def lines(text: str) -> str:
    """`text` without what a terminal would obey; its lines stay."""
    return "\n".join(map(shown, text.split("\n")))


def line(text: str, limit: int) -> str:
    """`text` as one line of at most `limit` letters, without what a terminal would obey."""
    return " ".join(shown(text).split())[:limit].rstrip()
