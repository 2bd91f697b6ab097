"""Which release came after which."""

from __future__ import annotations

import pytest

from swarm.version import is_newer


@pytest.mark.parametrize(
    ("theirs", "ours", "newer"),
    [
        ("0.2.0", "0.1.9", True),
        ("0.10.0", "0.9.0", True),
        ("1.0", "0.9.9", True),
        ("0.1.0", "0.1.0", False),
        ("0.1.0.dev3", "0.1.0", False),
        ("0.1.0", "0.2.0", False),
        ("", "0.1.0", False),
        ("9" * 5000, "0.1.0", True),
        ("0." + "0" * 5000, "0.1.0", False),
        ("what is this", "0.1.0", False),
    ],
)
def test_newer(theirs: str, ours: str, newer: bool) -> None:
    assert is_newer(theirs, ours) is newer
