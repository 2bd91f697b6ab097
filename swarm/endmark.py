"""Text files that say where they end: what is left of one that was cut off often makes sense, too."""

from __future__ import annotations

_HEAD = '# This file ends with the line "# end"; without that line it was cut off.\n'
_END = "# end"


def marked(text: str) -> str:
    """The content of such a file."""
    return f"{_HEAD}{text}{_END}\n"


def cut_off(text: str) -> bool:
    """Whether the end is missing. What does not say where it ends, or only the beginning of that, is not judged."""
    return text.startswith(_HEAD) and not text.rstrip().endswith(f"\n{_END}")
