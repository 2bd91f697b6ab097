"""`swarm service`: join by itself when the user logs in."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from swarm.cli.options import InviteText
from swarm.errors import NotFoundError, SwarmError, UsageError, from_os_error

if TYPE_CHECKING:
    from swarm.invite import Invite
    from swarm.service import Service

app = typer.Typer(name="service", help="Join by itself when you log in.", no_args_is_help=True)

System = Literal["linux", "macos", "windows"]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="The run's name.")]
Options = Annotated[
    list[str] | None,
    typer.Argument(metavar="[-- OPTIONS]", help="Options of swarm join, after --.", show_default=False),
]


@app.command("install")
def install(
    invite: InviteText,
    options: Options = None,
    agreed: Annotated[bool, typer.Option("--yes", "-y", help="Agree to the card without being asked.")] = False,
) -> None:
    """Start `swarm join` at each login from now on, and now. The card is agreed to here, and when the run changes it
    the service waits for `swarm join` by hand.
    """
    from swarm.cli import known

    found = known.invite(invite)
    _agree(found, agreed)
    service = _service(found, options or [])
    path = _path(service.run, _here())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_content(service, _here()))
    except OSError as error:
        raise from_os_error(error, "installing the service") from error
    for command in _started(path):
        _run(command)
    typer.echo(f"{service.run} is joined at each login: {path}")


@app.command("remove")
def remove(run: RunName) -> None:
    """Do not start it any more; what is running ends."""
    path = _path(run, _here())
    if not path.exists():
        raise NotFoundError(f"No service is installed for the run {run}.", f"It would be {path}.")
    for command in _ended(path):
        _run(command)
    path.unlink()
    typer.echo(f"{run} is no longer joined at login")


@app.command("status")
def status(run: RunName) -> None:
    """Say whether it is installed, and whether it runs."""
    path = _path(run, _here())
    if not path.exists():
        typer.echo(f"not installed; it would be {path}")
        return
    command = _asked(run)
    asked = subprocess.run(command, capture_output=True, text=True, check=False) if shutil.which(command[0]) else None
    typer.echo(f"installed: {path}; {(asked.stdout.strip() if asked else '') or 'whether it runs is not known'}")


@app.command("show")
def show(
    invite: InviteText,
    options: Options = None,
    system: Annotated[System | None, typer.Option("--system", help="linux, macos or windows.")] = None,
) -> None:
    """Print the file, for this system or another one, without installing anything."""
    from swarm.cli import known

    content = _content(_service(known.invite(invite), options or []), system or _here())
    typer.echo(content.decode("utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"), nl=False)


def _agree(invite: Invite, agreed: bool) -> None:
    from peer import admission
    from swarm import paths
    from swarm.cli import consent, known
    from swarm.client import CoordinatorClient

    folder = paths.peer_dir(invite.run)
    with known.connect(CoordinatorClient, invite) as client:
        asking = consent.Asking(platform.node() or "unnamed", agreed, as_json=False)
        consent.require(client, admission.prospect(client, folder, has_base=False), folder, asking)


def _service(invite: Invite, options: list[str]) -> Service:
    """The invite goes to a file that only the user can read."""
    from swarm import paths
    from swarm.cli import known
    from swarm.service import Service

    kept = known.keep(invite, paths.peer_dir(invite.run))
    command = [sys.executable, "-m", "swarm.cli", "join", str(kept), *options]
    return Service(invite.run, command, {"SWARM_HOME": str(paths.home())})


def _content(service: Service, system: System) -> bytes:
    from swarm import service as files

    match system:
        case "linux":
            return files.systemd(service).encode()
        case "macos":
            return files.launchd(service)
        case "windows":
            return files.windows(service)


def _here() -> System:
    return "macos" if sys.platform == "darwin" else "linux"


def _path(run: str, system: System) -> Path:
    if system == "macos":
        return Path.home() / "Library" / "LaunchAgents" / f"garage-swarm-{run}.plist"
    return Path.home() / ".config" / "systemd" / "user" / f"garage-swarm-{run}.service"


def _started(path: Path) -> list[list[str]]:
    if _here() == "macos":
        return [["launchctl", "load", "-w", str(path)]]
    return [["systemctl", "--user", "daemon-reload"], ["systemctl", "--user", "enable", "--now", path.name]]


def _ended(path: Path) -> list[list[str]]:
    if _here() == "macos":
        return [["launchctl", "unload", "-w", str(path)]]
    return [["systemctl", "--user", "disable", "--now", path.name]]


def _asked(run: str) -> list[str]:
    if _here() == "macos":
        return ["launchctl", "list", f"garage-swarm-{run}"]
    return ["systemctl", "--user", "is-active", f"garage-swarm-{run}.service"]


def _run(command: list[str]) -> None:
    if not shutil.which(command[0]):
        raise UsageError(f"{command[0]} is not on this machine.", "Start the printed file's command in your own way.")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise SwarmError(f"`{' '.join(command)}` failed: {said[-1] if said else 'no word'}.", "Try it by hand.")
