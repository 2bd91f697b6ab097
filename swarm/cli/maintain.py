"""What the commands of maintainers share: which run, and with which right."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from swarm.invite import Invite
    from swarm.maintaining import MaintainerClient

_NAME_ONE = "Name one, or a maintainer's invite, with --run."
RunName = Annotated[
    str,
    typer.Option(
        "--run",
        help="A run on this machine, or a maintainer's invite; by default the only run here.",
        show_default=False,
    ),
]


def maintaining(run: str, data_dir: Path | None) -> MaintainerClient:
    """A client with a maintainer's right: by the run on this machine, or by an invite."""
    from swarm.cli import rundir
    from swarm.invite import Invite
    from swarm.maintaining import MaintainerClient

    given = _given(run)
    return MaintainerClient.connect(
        given or Invite.of(str(rundir.kept(rundir.named(run, data_dir, _NAME_ONE), rundir.OWN_INVITE)))
    )


def shared(run: str, data_dir: Path | None) -> Invite:
    """An invite with the address that others use: the run's first one, or the one given."""
    from swarm.cli import rundir
    from swarm.invite import Invite

    return _given(run) or Invite.of(str(rundir.kept(rundir.named(run, data_dir, _NAME_ONE), rundir.INVITE)))


def _given(run: str) -> Invite | None:
    from swarm.invite import Invite, is_given

    return Invite.of(run) if is_given(run) else None
