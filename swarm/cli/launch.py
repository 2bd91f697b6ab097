"""`swarm launch`: start a run, or go on with one that was stopped."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swarm import lifetime
from swarm.cli.options import AsJson, DataDir, Metrics
from swarm.cli.output import say
from swarm.cli.share import share
from swarm.errors import HandedOverError, PortInUseError, SwarmError

if TYPE_CHECKING:
    from coordinator.server import Coordinator, Settings
    from swarm.client import CoordinatorClient
    from swarm.discovery import Announcement
    from swarm.proto import coordinator_pb2 as pb
    from swarm.runspec import RunSpec

_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_BOOTSTRAP = (sys.executable, "-m", "peer.exchange.bootstrap")
_EVERY_SECONDS = 1.0


def launch(
    spec_path: Annotated[Path, typer.Argument(metavar="RUN.toml", help="The run spec.")],
    data_dir: DataDir = None,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "0.0.0.0",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The port; 0 takes a free one.")] = 7700,
    advertise_host: Annotated[
        str,
        typer.Option(
            "--advertise-host",
            help="The address in the invite; by default this machine's on the default route.",
            show_default=False,
        ),
    ] = "",
    open_on_lan: Annotated[
        bool, typer.Option("--open-on-lan", help="Let everybody on the local network join without an invite.")
    ] = False,
    metrics: Metrics = "",
    page: Annotated[
        int | None,
        typer.Option(
            "--page",
            min=0,
            max=65535,
            help="Show the run on a page at this port; 0 takes a free one.",
            show_default=False,
        ),
    ] = None,
    page_host: Annotated[
        str, typer.Option("--page-host", help="The address where the page listens; 0.0.0.0 shows it to everybody.")
    ] = "127.0.0.1",
    page_invite: Annotated[
        bool, typer.Option("--page-invite", help="Show the run's first invite on the page: whoever sees it may join.")
    ] = False,
    store: Annotated[
        str,
        typer.Option(
            "--store",
            envvar="SWARM_STORE",
            metavar="URL",
            help="A PostgreSQL for the run's tables; by default a file in its folder.",
            show_default=False,
        ),
    ] = "",
    rehearsed: Annotated[
        bool, typer.Option("--dry-run", help="Start nothing: say how the run would go. All options below are for this.")
    ] = False,
    peers: Annotated[
        int | None, typer.Option("--peers", min=1, max=10_000, help="How many volunteers; 8.", show_default=False)
    ] = None,
    churn: Annotated[
        float | None,
        typer.Option(
            "--churn", min=0, max=60, help="How often an hour each is gone suddenly; 0.1.", show_default=False
        ),
    ] = None,
    attackers: Annotated[
        int | None, typer.Option("--attackers", min=0, help="How many of the peers lie; 0.", show_default=False)
    ] = None,
    uplink: Annotated[
        float | None,
        typer.Option("--uplink", min=0.1, help="Mbit/s that a usual volunteer sends; 20.", show_default=False),
    ] = None,
    downlink: Annotated[
        float | None,
        typer.Option("--downlink", min=0.1, help="Mbit/s that a usual volunteer receives; 100.", show_default=False),
    ] = None,
    night: Annotated[
        float | None,
        typer.Option("--night", min=0.1, max=24, help="Hours a day in which they train; 8.", show_default=False),
    ] = None,
    speed: Annotated[
        float | None,
        typer.Option(
            "--speed",
            min=1e-3,
            help="Samples per second of a usual volunteer's machine; by default this one's.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="From which the swarm is drawn; 0.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start the run that RUN.toml describes, print its invite, and coordinate it until Ctrl-C."""
    from coordinator import trackers
    from swarm import paths, runspec
    from swarm.cli import dry_run
    from swarm.metrics import address

    supposed = {
        "peers": peers,
        "churn": churn,
        "attackers": attackers,
        "uplink": uplink,
        "downlink": downlink,
        "night": night,
        "speed": speed,
        "seed": seed,
    }
    if rehearsed:
        dry_run.dry_run(spec_path, data_dir, supposed, as_json)
        return
    dry_run.refuse(supposed, as_json)
    for number in lifetime.ending_signals():
        signal.signal(number, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        spec = runspec.load(spec_path)
        trackers.require(spec.tracking.trackers)
        folder = data_dir or paths.run_dir(spec.run.name)
        watched = address(metrics) if metrics else None
        shown = (page_host, page) if page is not None else None
        for place in filter(None, ((host, port), watched, shown)):
            _require_free(*place)
        _make_ready(folder, spec_path, spec)
        settings = _settings(folder, spec, (host, port), advertise_host)
        settings = replace(settings, metrics=watched, store_url=store)
        if page is not None:
            settings = _with_page(settings, page_host, page, page_invite)
        _coordinate(settings, open_on_lan)


def _require_free(host: str, port: int) -> None:
    """Before the data are prepared, which may take hours. Raises PortInUseError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise PortInUseError(
            f"{host}, port {port} cannot be used: {error.strerror or error}.",
            "Stop the program that listens there, or take another port or address (--port, --metrics, --page).",
        ) from error


def reachable_host(host: str) -> str:
    """The address that others use for a server listening on `host`, as far as this machine can know."""
    if host not in _LOOPBACK:
        return host
    target, family = ("192.0.2.1", socket.AF_INET) if host == "0.0.0.0" else ("2001:db8::1", socket.AF_INET6)
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((target, 9))  # sends nothing: it only asks which interface has the default route
            return str(probe.getsockname()[0])
    except OSError:
        return _LOOPBACK[host]


def _settings(folder: Path, spec: RunSpec, listen: tuple[str, int], advertise_host: str) -> Settings:
    from coordinator.server import Settings

    host, port = listen
    return Settings(folder, host, port, advertise_host or reachable_host(host), spec, _BOOTSTRAP)


def _with_page(settings: Settings, host: str, port: int, shows_invite: bool) -> Settings:
    from coordinator.web.server import PageSettings

    return replace(settings, page=PageSettings(host, port, shows_invite))


def _make_ready(folder: Path, spec_path: Path, spec: RunSpec) -> None:
    from swarm.cli import rundir
    from swarm.cli.preparation import prepare_visibly

    rundir.check_same_run(folder, spec)
    if not rundir.is_prepared(folder):
        prepare_visibly(spec_path, folder, os.cpu_count() or 1)


def _coordinate(settings: Settings, open_on_lan: bool) -> None:
    """Serve until KeyboardInterrupt; leaves no process."""
    from coordinator.server import Coordinator
    from swarm import log
    from swarm.cli import rundir
    from swarm.discovery import announced

    log.setup(settings.data_dir / "coordinator.log", run=settings.spec.run.name)
    coordinator = Coordinator(settings)
    try:
        coordinator.start()
        rundir.remember(settings.data_dir, settings.spec, coordinator.invite, coordinator.own_invite)
        _greet(coordinator, settings)
        with announced(coordinator.invite, settings.host, open_on_lan) as announcement:
            say(_announced(announcement, open_on_lan))
            _follow(coordinator, announcement)
    finally:
        for number in lifetime.ending_signals():
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it running
        coordinator.stop()


def _greet(coordinator: Coordinator, settings: Settings) -> None:
    say(f"{settings.spec.run.name} is running; its files are in {settings.data_dir}. Ctrl-C stops it.")
    say(_reach(settings.advertise_host, coordinator.invite.port))
    if coordinator.metrics:
        say(f"Its metrics are at {coordinator.metrics}")
    say("Share this invite; volunteers run: swarm join 'INVITE'. Others: swarm invite new\n")
    share(coordinator.invite)
    typer.echo()
    if page := settings.page:
        from swarm.invite import address_of

        say(f"The run's page: http://{address_of(reachable_host(page.host), coordinator.page_port)}")


def _reach(host: str, port: int) -> str:
    """Who can use an invite with the address `host`."""
    try:
        address = ip_address(host)
    except ValueError:
        return f"Volunteers reach it at {host}:{port}."
    if address.is_loopback:
        return f"The invite names {host}: it works on this machine only; see --advertise-host."
    if address.is_private:
        return (
            f"The invite names {host}: it works in this network. For volunteers elsewhere forward port {port} "
            "and give your public address with --advertise-host."
        )
    return f"Volunteers reach it at {host}, port {port}."


def _announced(announcement: Announcement | None, open_on_lan: bool) -> str:
    """What the local network is told."""
    if announcement is None:
        return "It is not announced on a local network."
    if open_on_lan:
        return "It is announced on the local network, with its invite: everybody there may join, with swarm join."
    return "It is announced on the local network, without its invite."


def _follow(coordinator: Coordinator, announcement: Announcement | None) -> None:
    """Say what happens, a line each, until KeyboardInterrupt; after a hand-over only where to."""
    from swarm.cli.show import news
    from swarm.client import CoordinatorClient

    with CoordinatorClient.connect(coordinator.own_invite) as client, suppress(HandedOverError):
        seen = client.status(brief=True)
        say(f"At round {seen.round} of {seen.total_rounds}.")
        while True:
            time.sleep(_EVERY_SECONDS)
            coordinator.require_lead()
            now = _status(client) or seen
            for line in news(seen, now):
                say(line)
            if announcement:
                announcement.news(now.round, now.finished)
            seen = now
    _point_elsewhere(coordinator)


def _point_elsewhere(coordinator: Coordinator) -> None:
    """Until KeyboardInterrupt: members that come here are told where the run is led."""
    try:
        coordinator.require_lead()
    except HandedOverError as error:
        say(error.what)
        say("This process only says so to those who come here; Ctrl-C ends it.")
    while True:
        time.sleep(_EVERY_SECONDS)


def _status(client: CoordinatorClient) -> pb.Status | None:
    """The status, or None for once: a slow answer must not end a run."""
    with suppress(SwarmError):
        return client.status(brief=True)
    return None
