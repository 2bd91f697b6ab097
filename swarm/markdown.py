"""Texts of others in Markdown: they stay texts."""

from __future__ import annotations

import re

from swarm.texts import line

_LONGEST = 200  # letters
_MARKS = re.compile(r"([\\`*_{}\[\]<>()#|!~&@^$])")
_START = re.compile(r"^([-+=:]|\d+(?=[.)](?:\s|$)))", re.MULTILINE)


def escaped(text: str) -> str:
    """`text` such that nothing of it becomes Markdown, HTML, a mention or a link (CommonMark and GitHub's dialect)."""
    plain = _MARKS.sub(r"\\\1", text).replace("://", "\\://").replace("www.", "www\\.")
    return _START.sub(lambda found: f"\\{found[1]}" if found[1] in "-+=:" else f"{found[1]}\\", plain)


def in_line(text: str) -> str:
    """What a member or a coordinator says, as a part of a line."""
    return escaped(line(text, _LONGEST))


def code(text: str) -> str:
    """Its lines as a block of code: each is indented, so that none can end it."""
    return "\n".join(f"    {line}" for line in text.splitlines())
