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
    """None: there is no such record."""

    evaluations: Sequence[Evaluation] | None
    findings: Sequence[Finding] | None

    def joined(self, other: Record) -> Record:
        """What both say together."""
        return Record(_both(self.evaluations, other.evaluations), _both(self.findings, other.findings))


def _both(one: Sequence[Item] | None, other: Sequence[Item] | None) -> Sequence[Item] | None:
    return other if one is None else one if other is None else [*one, *other]


def read(folder: Path, state: str) -> Record:
    """The record in `folder`. A line may say in `state_digest` which checkpoint it is about: those about
    others than `state` are left out. Raises CorruptError that names file and line, DiskError.
    """
    return Record(_items(folder / EVALUATIONS, Evaluation, state), _items(folder / FINDINGS, Finding, state))


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
