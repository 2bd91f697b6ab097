"""Invites that this machine keeps: with them a run's name does where an invite is asked for.

`swarm join` and `swarm service` keep a volunteer's in the peer's folder, `swarm launch` the run's first one in its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from swarm import paths
from swarm.cli.rundir import INVITE
from swarm.cli.share import write
from swarm.errors import NotFoundError, UsageError, from_os_error
from swarm.invite import Invite

if TYPE_CHECKING:
    from pathlib import Path

    from swarm.client import CoordinatorClient

Client = TypeVar("Client", bound="CoordinatorClient")
_GIVE_ONE = "Give the invite, from swarm:// to its end, in quotes. `swarm runs` lists the runs of this machine."


def invite(text: str) -> Invite:
    """What is kept of the run named `text`, else the invite that `text` is or names the file of; without a text, that
    of the only run here. Raises InviteError, NotFoundError, UsageError.
    """
    here = {**_kept(paths.runs()), **_kept(paths.peers())}
    if not text:
        return Invite.of(str(_only(here)))
    return Invite.of(str(here.get(text, text)))


def client(kind: type[Client], text: str) -> Client:
    """One of the run that `text` means. Raises what `invite` and `connect` do."""
    return connect(kind, invite(text))


def connect(kind: type[Client], found: Invite, timeout: float = 5.0, folder: Path | None = None) -> Client:
    """A client of the invite's run, also when it was handed over and only this machine's peer, in `folder` when that is
    not the usual one, heard where to. Raises what `CoordinatorClient.connect` does.
    """
    from swarm import handover

    note = (folder or paths.peer_dir(found.run)) / handover.NOTE
    return kind.connect(found, timeout, known=handover.kept(note, found))


def joined() -> Invite | None:
    """Of the only run that this machine joined; None when it joined none. Raises UsageError when it joined several."""
    here = _kept(paths.peers())
    return Invite.of(str(_only(here))) if here else None


def keep(given: Invite, folder: Path) -> Path:
    """In a peer's folder, for the next time; the file. Raises DiskError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise from_os_error(error, "keeping the invite") from error
    write(given, folder / INVITE)
    return folder / INVITE


def _kept(folder: Path) -> dict[str, Path]:
    return {path.parent.name: path for path in sorted(folder.glob(f"*/{INVITE}"))}


def _only(here: dict[str, Path]) -> Path:
    if not here:
        raise NotFoundError("No run was joined or launched on this machine.", _GIVE_ONE)
    if len(here) > 1:
        raise UsageError(f"There are several runs here: {', '.join(here)}.", "Name one of them.")
    return next(iter(here.values()))
