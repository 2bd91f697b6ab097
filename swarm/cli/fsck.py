"""`swarm fsck`: whether the files of runs and peers on this machine are whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swarm.cli.options import AsJson
from swarm.errors import CorruptError, NotFoundError

if TYPE_CHECKING:
    from swarm.checks import Check

_MARKS = {  # the first kind with one of its files in the folder is what the folder is
    "backup": ("backup.json",),
    "coordinator": ("artefacts.json", "coordinator.sqlite", "coordinator.lock"),
    "peer": ("outbox.sqlite", "consent.json", "peer.lock"),
}


def fsck(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FOLDER]",
            help="A coordinator's or a peer's folder, or a backup's; by default all on this machine.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a data directory: what must hold, what does not, and what to do. Nothing is changed."""
    from swarm.checks import failed
    from swarm.cli.output import echo_json

    found = {path: _examine(path) for path in ([folder] if folder else _all())}
    if as_json:
        echo_json([_facts(path, checks) for path, checks in found.items()])
    else:
        _print(found)
    if wrong := [str(path) for path, checks in found.items() if failed(checks)]:
        raise CorruptError(f"Not everything holds in {', '.join(wrong)}.", "What to do stands below each line.")


def _all() -> list[Path]:
    """The folders of all runs and peers of this machine. Raises NotFoundError when there is none."""
    from swarm import paths

    found = [path for home in (paths.runs(), paths.peers()) for path in sorted(home.glob("*")) if _kind(path)]
    if not found:
        raise NotFoundError("No run was launched or joined on this machine.", "Name a folder.")
    return found


def _examine(folder: Path) -> list[Check]:
    """Raises NotFoundError for a folder that is neither a run's nor a peer's nor a backup."""
    from coordinator import backup
    from coordinator.fsck import examine as examine_run
    from peer.fsck import examine as examine_peer

    match _kind(folder):
        case "backup":
            return [*backup.compared(folder, backup.note_of(folder)), *examine_run(folder)]
        case "coordinator":
            return examine_run(folder)
        case "peer":
            return examine_peer(folder)
        case _:
            raise NotFoundError(f"{folder} is no data directory.", "Name that of a run, of a peer, or a backup.")


def _kind(folder: Path) -> str:
    return next((kind for kind, marks in _MARKS.items() if any((folder / name).exists() for name in marks)), "")


def _facts(folder: Path, checks: list[Check]) -> dict[str, object]:
    from swarm.checks import failed

    return {
        "folder": str(folder),
        "kind": _kind(folder),
        "whole": not failed(checks),
        "checks": [vars(check) for check in checks],
    }


def _print(found: Mapping[Path, list[Check]]) -> None:
    from swarm.cli.output import show_checks

    for path, checks in found.items():
        typer.echo(f"{path} ({_kind(path)})")
        show_checks(checks)
