"""The error tree: one root, unique codes, and a page that documents all of it."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from swarm import errors
from swarm.errors import BY_CODE, DiskError, SwarmError, from_code, from_os_error

TYPES = errors.TREE
PAGE = (Path(__file__).parents[2] / "docs" / "exit-codes.md").read_text()


def test_codes_and_exit_codes_are_unique() -> None:
    assert len({kind.code for kind in TYPES}) == len(TYPES)
    assert sorted(kind.exit_code for kind in TYPES) == list(range(1, len(TYPES) + 1))


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__name__)
def test_every_error_is_documented(kind: type[SwarmError]) -> None:
    assert f"| {kind.exit_code} | `{kind.code}` |" in PAGE
    assert f"{kind.__name__} " in (errors.__doc__ or "")


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__name__)
def test_an_error_survives_the_wire(kind: type[SwarmError]) -> None:
    error = from_code(kind.code, "What happened.", "What to do.")
    assert type(error) is kind
    assert (error.what, error.remedy, str(error)) == ("What happened.", "What to do.", "What happened. What to do.")
    assert BY_CODE[kind.code] is kind


def test_an_unknown_code_is_a_plain_error() -> None:
    assert type(from_code("FROM_THE_FUTURE", "x", "y")) is SwarmError


def test_os_errors_become_sentences() -> None:
    full = from_os_error(OSError(errno.ENOSPC, "No space left", "/data/x"), "writing a checkpoint")
    assert isinstance(full, DiskError)
    assert "disk is full" in full.what
    assert "/data/x" in full.what
    assert isinstance(from_os_error(PermissionError(errno.EACCES, "Permission denied"), "x"), DiskError)
    assert type(from_os_error(OSError(errno.EIO, "Input/output error"), "reading")) is SwarmError
