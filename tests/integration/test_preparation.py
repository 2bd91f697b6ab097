"""Preparation as `swarm launch` runs it: the real child process, its steps, its errors, its end."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from swarm.cli.preparation import View, prepare
from swarm.errors import DataError, SwarmError
from swarm.runspec import example

pytestmark = pytest.mark.processes


def spec_file(folder: Path, source: str) -> Path:
    path = folder / "run.toml"
    text = example().to_toml().replace("builtin:pydoc-topics", source).replace("bpe:1024", "bytes")
    path.write_text(text.replace("target_batch_size = 64", "target_batch_size = 8"))
    return path


def test_steps_are_said_and_the_artefacts_are_there(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(
        "\n\n".join(f"Paragraph {n} says a little more each time. " * 9 for n in range(60))
    )
    said: list[str] = []
    prepare(spec_file(tmp_path, "text.txt"), tmp_path / "run", View(said.append), 1)
    assert (tmp_path / "run" / "artefacts.json").exists()
    assert any(line.startswith("data: ") for line in said)
    assert any(line.startswith("model: ") for line in said)


def test_what_the_child_found_is_raised_here(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.txt") as caught:
        prepare(spec_file(tmp_path, "none.txt"), tmp_path / "run", View(lambda _: None), 1)
    assert caught.value.remedy


def test_an_unexpected_end_names_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(SwarmError, match="ended unexpectedly") as caught:
        prepare(spec_file(tmp_path, "text.txt"), tmp_path / "run", View(lambda _: None), 1)
    assert "prepare.log" in caught.value.remedy


def test_an_interrupt_ends_the_child(tmp_path: Path) -> None:
    def interrupt(_line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):  # the conftest fails the test when the child is left
        prepare(spec_file(tmp_path, "builtin:pydoc-topics"), tmp_path / "run", View(interrupt), 1)
