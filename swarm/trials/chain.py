"""The public record of a run's trials: entries, each with the hash of the one before it, so that none can be altered,
left out or put in between without everybody seeing it. Pure.

What may not be known yet (how a finding is reproduced) is not in the entry, but its commitment is: the SHA-256 of a
salt and the text, which are told on the day that the entry names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from swarm.errors import CorruptError

START = "0" * 64  # the hash before the first entry
SALT_BYTES = 16


@dataclass(frozen=True)
class Entry:
    """`number` from 1; `at` Unix seconds; `body` is canonical JSON; `previous` and `hash` are SHA-256s, hex."""

    number: int
    at: float
    kind: str
    body: str
    previous: str
    hash: str

    @property
    def said(self) -> dict[str, Any]:
        """What the body holds."""
        return parsed(self.body)


def canonical(body: dict[str, Any]) -> str:
    """The same values give the same text."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def parsed(text: str) -> dict[str, Any]:
    """A JSON object; an empty one for what is none: the text may be a stranger's."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def following(count: int, head: str, at: float, kind: str, body: dict[str, Any]) -> Entry:
    """The entry after `count` others, the last of which has the hash `head`."""
    text = canonical(body)
    return Entry(count + 1, at, kind, text, head, _hash(count + 1, at, kind, text, head))


def commitment(salt: str, text: str) -> str:
    """What an entry says of a text that is told later; `salt` is hex."""
    return hashlib.sha256(bytes.fromhex(salt) + text.encode()).hexdigest()


def require_whole(entries: Iterable[Entry]) -> list[Entry]:
    """The entries, from the first one on. Raises CorruptError, which names the first that does not follow."""
    found, head = list[Entry](), START
    for number, entry in enumerate(entries, start=1):
        right = _hash(entry.number, entry.at, entry.kind, entry.body, head)
        if (entry.number, entry.previous, entry.hash) != (number, head, right):
            raise CorruptError(
                f"Entry {number} of the run's public record does not follow from the one before it: it was altered, "
                "or another is missing.",
                "Nothing from there on is proven: compare with somebody who read the record earlier, ask the "
                "maintainer.",
            )
        found.append(entry)
        head = entry.hash
    return found


def _hash(number: int, at: float, kind: str, body: str, previous: str) -> str:
    words = json.dumps([number, at, kind, body, previous], separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(words.encode()).hexdigest()
