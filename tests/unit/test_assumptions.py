"""Every promise names a test that there is."""

from __future__ import annotations

import re

from tests.harness import ROOT


def test_what_the_page_names_is_there() -> None:
    rows = [row for row in (ROOT / "docs" / "assumptions.md").read_text().splitlines() if row.startswith("| ")][1:]
    for row in rows:
        named = re.findall(r"`((?:tests|docs)/[\w/.]+)`", row)
        assert named, row
        for path in named:
            assert (ROOT / path).exists(), path
