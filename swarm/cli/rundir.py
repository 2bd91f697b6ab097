"""A coordinator's data directory as the command line sees it: whose it is, and whether it may go on.

The command keeps three files there: `run.toml`, the spec that the run was started with, `invite`, the run's first
invite, and `maintainer-invite`, with which commands on this machine maintain the run while it is running.
"""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from swarm.endmark import cut_off, marked
from swarm.errors import CorruptError, NotFoundError, SpecError, UsageError, from_os_error
from swarm.tensorfile import atomic_write

if TYPE_CHECKING:
    from swarm.invite import Invite
    from swarm.runspec import RunSpec

INVITE = "invite"
OWN_INVITE = "maintainer-invite"
_NAME_ONE = "Name one, as swarm runs lists them; or its folder with --data-dir."
_HARMLESS = (
    *("run.title", "run.description", "run.maintainer", "run.page", "checkpoint.", "trust.", "tracking.", "release."),
    *("evaluation.prompts", "evaluation.sample_", "exchange.min_contributors"),
)


def named(run: str, data_dir: Path | None, remedy: str = _NAME_ONE) -> Path:
    """The coordinator's folder of a run on this machine. Raises UsageError, NotFoundError with `remedy`."""
    from swarm import paths

    if data_dir or run:
        return data_dir or paths.run_dir(run)
    here = sorted(spec.parent for spec in paths.runs().glob("*/run.toml"))
    if not here:
        raise NotFoundError("No run was launched on this machine.", remedy)
    if len(here) > 1:
        raise UsageError(f"There are several runs here: {', '.join(folder.name for folder in here)}.", "Name one.")
    return here[0]


def is_prepared(folder: Path) -> bool:
    """Whether the folder holds a run whose data and model are ready."""
    return (folder / "run.toml").exists() and (folder / "artefacts.json").exists()


def check_same_run(folder: Path, spec: RunSpec) -> None:
    """Raises SpecError when the run in `folder` was started with a spec that `spec` cannot continue, CorruptError when
    that one is torn.
    """
    from swarm.runspec import differences

    if not (folder / "run.toml").exists():
        return
    changes = {key: change for key, change in differences(_begun(folder), spec).items() if harms(key, change)}
    if changes:
        listed = "; ".join(f"{key} was {old!r}, now {new!r}" for key, (old, new) in changes.items())
        raise SpecError(
            f"The run {spec.run.name} in {folder} was started with another spec: {listed}.",
            "Put that back, or make it a run of its own: another run.name (or --data-dir). title, description, "
            "maintainer, page, checkpoint, trust, tracking, release, evaluation.prompts, evaluation.sample_… and "
            "exchange.min_contributors may change, training.rounds may grow.",
        )


def _begun(folder: Path) -> RunSpec:
    """The spec that the run in `folder` was started with."""
    from swarm.runspec import load

    path = folder / "run.toml"
    try:
        spec = load(path)
    except SpecError as error:
        raise _torn(path) from error
    if cut_off(path.read_text(encoding="utf-8")):
        raise _torn(path)
    return spec


def _torn(path: Path) -> CorruptError:
    return CorruptError(
        f"{path} is torn or was altered; it is not used.",
        "Put your run spec in its place, the one that the run was started with.",
    )


def harms(key: str, change: tuple[Any, Any]) -> bool:
    """Whether a running run cannot go on after this change of its spec."""
    old, new = change
    return not (key.startswith(_HARMLESS) or (key == "training.rounds" and new > old))


def kept(folder: Path, name: str) -> Path:
    """The file `name` of a run that was launched here. Raises NotFoundError."""
    if not (folder / name).exists():
        raise NotFoundError(f"No run was launched in {folder}.", "`swarm runs` lists those of this machine.")
    return folder / name


def launching(folder: Path) -> str:
    """The command that goes on with a run whose files are in `folder`, at the address that its members know."""
    from coordinator.handover import led_at
    from swarm.runspec import load

    spec = folder / "run.toml"
    led = led_at(folder, load(spec).run.name)
    where = f" --advertise-host {led.host} --port {led.port}" if led else ""
    return f"swarm launch {quote(str(spec))} --data-dir {quote(str(folder))}{where}"


def remember(folder: Path, spec: RunSpec, invite: Invite, own: Invite) -> None:
    """Keep the spec, the run's first invite, and the one of this machine, so that later commands know the run.

    Raises DiskError.
    """
    from swarm.cli.share import write

    try:
        with atomic_write(folder / "run.toml") as file:
            file.write(marked(spec.to_toml()).encode())
    except OSError as error:
        raise from_os_error(error, "keeping the run spec") from error
    write(invite, folder / INVITE)
    write(own, folder / OWN_INVITE)
