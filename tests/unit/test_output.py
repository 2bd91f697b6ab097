"""What goes to a file or a program goes in whole lines, however narrow the terminal beside it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Group
from rich.table import Table
from rich.text import Text

from swarm.cli import card, consent, output

FINGERPRINT = "0123456789abcdef" * 4
SENTENCE = "it is signed by " + " and by ".join([FINGERPRINT] * 3)


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")


@pytest.mark.parametrize("err", [False, True])
def test_a_table_in_a_pipe_has_a_line_for_each_row(capsys: pytest.CaptureFixture[str], err: bool) -> None:
    table = Table("Name", "Value", box=None)
    for _ in range(2):
        output.add_row(table, "a name of some words", SENTENCE)
    output.console(err).print(Group(Text(SENTENCE), table))
    said = capsys.readouterr()
    found = (said.err if err else said.out).splitlines()
    assert [line.count(SENTENCE) for line in found] == [1, 0, 1, 1]
    assert all(line == line.rstrip() for line in found)


@pytest.mark.parametrize("agreed", [False, True])
def test_the_consent_card_in_a_pipe_has_a_line_for_each_row(capsys: pytest.CaptureFixture[str], agreed: bool) -> None:
    rows: card.Rows = [("What", SENTENCE), ("Who", SENTENCE)]
    consent._show(rows, known=False, asking=consent.Asking("anna", agreed, as_json=False))
    said = capsys.readouterr()
    assert [line.count(SENTENCE) for line in (said.out if agreed else said.err).splitlines()] == [0, 1, 1]


def test_nobody_else_makes_a_console_of_another_width() -> None:
    folder = Path(output.__file__).parent
    makers = {path.name for path in folder.rglob("*.py") if "Console(" in path.read_text()}
    assert makers == {"output.py"}
