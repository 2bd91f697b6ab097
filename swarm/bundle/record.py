"""The run's public record of evaluations and findings, as far as a release needs it: JSON lines in a folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from swarm.bundle.manifest import Evaluation, Finding
from swarm.errors import CorruptError, from_os_error
from swarm.sections import Section

EVALUATIONS, FINDINGS = "evaluations.jsonl", "findings.jsonl"
Item = TypeVar("Item", bound=Section)


@dataclass(frozen=True)
class Record:
    """`evaluations`: what the maintainer measured, or two volunteers alike. `looked`: for findings."""

    evaluations: Sequence[Evaluation]
    findings: Sequence[Finding]
    looked: bool

    def joined(self, other: Record) -> Record:
        """What both say together."""
        findings = [*self.findings, *other.findings]
        return Record([*self.evaluations, *other.evaluations], findings, self.looked or other.looked)


def read(folder: Path, state: str) -> Record:
    """The record in `folder`. A line may say in `state_digest` which checkpoint it is about: those about
    others than `state` are left out. Who keeps a file of findings has looked. Raises CorruptError that names file and
    line, DiskError.
    """
    evaluations = _items(folder / EVALUATIONS, Evaluation, state)
    findings = _items(folder / FINDINGS, Finding, state)
    return Record(evaluations or [], findings or [], findings is not None)


def _items(path: Path, kind: type[Item], state: str) -> list[Item] | None:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise CorruptError(f"{path} is not UTF-8 text.", "Restore it.") from error
    except OSError as error:
        raise from_os_error(error, "reading the record") from error
    found = [_item(path, number, line, kind, state) for number, line in enumerate(lines, start=1) if line.strip()]
    return [item for item in found if item is not None]


def _item(path: Path, number: int, line: str, kind: type[Item], state: str) -> Item | None:
    try:
        said: dict[str, Any] = json.loads(line)
        about = said.pop("state_digest", state)
        return kind.model_validate(said) if about == state else None
    except (ValueError, AttributeError, TypeError, ValidationError) as error:
        raise CorruptError(f"Line {number} of {path} is no {kind.__name__.lower()}.", "Correct that line.") from error
