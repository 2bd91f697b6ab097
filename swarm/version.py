"""The version of this package, and of the protocol that it speaks."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version

PROTOCOL_VERSION = 6  # sent with every call as `swarm-protocol`; two sides must agree on it


def _installed() -> str:
    try:
        return version("garage-swarm")
    except PackageNotFoundError:  # run from a checkout
        return "0.1.0"


__version__ = _installed()
_NUMBERS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})*")  # a stranger's text: Python reads no number of thousands of digits


def is_newer(theirs: str, ours: str = __version__) -> bool:
    """Whether release `theirs` ("1.10.0") came after `ours`. What follows the numbers is left out; empty is old."""
    return _numbers(theirs) > _numbers(ours)


def _numbers(version_: str) -> list[int]:
    found = _NUMBERS.match(version_)
    return [int(number) for number in found[0].split(".")] if found else []
