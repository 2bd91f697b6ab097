"""`swarm join`: lend this machine to a run."""

from __future__ import annotations

import platform
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from swarm.cli.options import AsJson, DataDir, Metrics
from swarm.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from swarm.cli.consent import Asking
    from swarm.cli.trialing import Machine
    from swarm.invite import Invite


def join(
    invite: Annotated[
        str | None,
        typer.Argument(
            metavar="[INVITE]",
            help="The invite, in quotes; a file that holds it; or the name of a run that this machine joined before. "
            "Without it the only one of these, or else what is on the local network.",
            show_default=False,
        ),
    ] = None,
    data_dir: DataDir = None,
    name: Annotated[
        str, typer.Option("--name", help="What others see; by default this machine's name.", show_default=False)
    ] = "",
    credit: Annotated[
        str,
        typer.Option("--credit", help="Your name in the model card of the result; by default no mention."),
    ] = "",
    device: Annotated[
        str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, rocm, mps; several: cuda:0,cuda:1 or all.")
    ] = "auto",
    threads: Annotated[
        int | None,
        typer.Option("--threads", min=1, help="CPU threads of each worker; by default all cores.", show_default=False),
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile the model with torch.compile: a slow start, then faster.")
    ] = False,
    base: Annotated[
        Path | None,
        typer.Option("--base", help="A folder with a copy of the run's base model.", exists=True, file_okay=False),
    ] = None,
    from_hub: Annotated[bool, typer.Option("--from-hub", help="Fetch the base model from the hub first.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Agree to the card without being asked.")] = False,
    nearby: Annotated[
        bool, typer.Option("--nearby", help="Offer the runs on the local network, also if one was joined before.")
    ] = False,
    as_json: AsJson = False,
    metrics: Metrics = "",
    work: Annotated[
        Literal["training", "trials"],
        typer.Option("--work", help="training; or trials: units of evaluations and red-teaming, nothing else."),
    ] = "training",
) -> None:
    """Train with others until the run is finished or Ctrl-C; needs nothing but the invite."""
    from swarm import neighbour, paths
    from swarm.metrics import address

    watched = address(metrics) if metrics else None
    neighbour.load(paths.config())  # a torn file must not count as the defaults
    parsed = _which(invite, nearby, yes)  # before the next two, which take a moment

    from peer import join as peer_join
    from peer import spawn
    from peer.door import Door
    from peer.seats import JoinOptions
    from peer.sensors import open_sensors
    from peer.traffic import Traffic
    from swarm.cli.consent import Asking
    from swarm.cli.screen import open_screen
    from swarm.cli.trialing import Machine

    folder, name = data_dir or paths.peer_dir(parsed.run), name or platform.node() or "unnamed"
    if work == "trials":
        _refuse_of_training(
            {"--credit": credit, "--compile": compiled, "--base": base, "--from-hub": from_hub, "--metrics": metrics}
        )
        _work_on_trials(parsed, folder, Machine(_one(device), threads or _cores()), Asking(name, yes, as_json))
        return
    devices = spawn.all_devices() if device == "all" else _devices(device)
    warnings = _admit(parsed, folder, devices, base is not None, Asking(name, yes, as_json))
    with suppress(KeyboardInterrupt), open_screen(as_json) as show:
        options = JoinOptions(
            invite=parsed,
            data_dir=folder,
            name=name,
            credit=credit,
            devices=devices,
            threads=threads or max(1, _cores() // len(devices)),
            compiled=compiled,
            screen=show,
            door=Door(paths.config(), open_sensors(), Traffic(paths.home() / "traffic.sqlite")),
            base=base.resolve() if base else None,
            from_hub=from_hub,
            metrics=watched,
        )
        for text in warnings:
            show({"event": "note", "text": text})
        peer_join.run(options)


def _which(text: str | None, nearby: bool, yes: bool) -> Invite:
    """Raises InviteError, NotFoundError, UsageError, UnreachableError."""
    from swarm.cli import discover, known
    from swarm.invite import Invite

    if text is not None:
        return known.invite(text) if text else Invite.parse(text)  # an empty one is a mistake, and not none
    if nearby or (before := known.joined()) is None:
        return discover.choose(yes)
    typer.echo(f"Going on with {before.run}, which this machine joined before.", err=True)
    return before


def _admit(invite: Invite, folder: Path, devices: Sequence[str], has_base: bool, asking: Asking) -> list[str]:
    """The volunteer's consent, and whether the machine fits, before anything large is fetched; what to be warned of."""
    from rich.text import Text

    from peer import admission
    from swarm.cli import consent, known
    from swarm.cli.output import console
    from swarm.client import CoordinatorClient

    said = Text(f"Asking {invite.address} what the run is …")
    waiting = console(err=True).status(said)  # shown on a terminal only
    with waiting, known.connect(CoordinatorClient, invite, folder=folder) as client:
        found = admission.prospect(client, folder, has_base)
        waiting.stop()
        if found.run.finished:
            return []
        consent.require(client, found, folder, asking)
        known.keep(invite, folder)
        return [f"{check.name}: {check.says}. {check.remedy}" for check in admission.require_fit(found, devices)]


def _refuse_of_training(options: Mapping[str, object]) -> None:
    if given := [name for name, value in options.items() if value]:
        raise UsageError(f"{', '.join(given)}: for training only.", "Leave it out, or --work trials.")


def _one(devices: str) -> str:
    names = _devices(devices)
    if len(names) > 1:
        raise UsageError(f"Trials use one device, not {devices}.", "Name one, such as cuda:0.")
    return names[0]


def _work_on_trials(invite: Invite, folder: Path, machine: Machine, asking: Asking) -> None:
    """After the same consent as for training."""
    from peer import admission
    from peer.door import Door
    from peer.sensors import open_sensors
    from peer.traffic import Traffic
    from swarm import paths
    from swarm.cli import consent, known, volunteer
    from swarm.cli.screen import open_screen
    from swarm.client import CoordinatorClient

    with known.connect(CoordinatorClient, invite, folder=folder) as client:
        consent.require(client, admission.prospect(client, folder, False), folder, asking)
    known.keep(invite, folder)
    door = Door(paths.config(), open_sensors(), Traffic(paths.home() / "traffic.sqlite"))
    with suppress(KeyboardInterrupt), open_screen(asking.as_json) as show:
        volunteer.run(invite, folder, machine, door, show)


def _devices(text: str) -> tuple[str, ...]:
    for name in (names := tuple(text.split(","))):
        if not re.fullmatch(r"auto|cpu|mps|(cuda|rocm)(:\d+)?", name):
            raise UsageError(f"There is no device {name!r}.", "Devices are auto, cpu, cuda, cuda:1, rocm, mps, all.")
    return names


def _cores() -> int:
    import psutil

    return psutil.cpu_count(logical=False) or 1
