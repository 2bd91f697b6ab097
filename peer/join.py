"""A volunteer's part in a run, from the invite to the goodbye: one supervisor for each worker."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from peer import commands, spawn
from peer.fetch import Files
from peer.seats import JoinOptions, PeerEvent, seats_of
from peer.supervisor import Supervisor
from swarm import control, handover, lifetime, log, metrics, notes
from swarm.client import CoordinatorClient
from swarm.errors import from_os_error

logger = log.get(__name__)


def run(options: JoinOptions) -> None:
    """Take part in a run until it is finished or a signal ends it.

    Raises InviteError, UnreachableError, RefusedError, DiskError, WorkerCrashError, … (swarm.errors).
    """
    with spawn.only_peer(options.data_dir):
        log.setup(options.data_dir / "peer.log", run=options.invite.run)
        note = options.data_dir / handover.NOTE
        client = CoordinatorClient.connect(options.invite, known=handover.kept(note, options.invite))
        client.on_moved = partial(_remember, note)
        try:
            stopping = threading.Event()
            with (
                control.answering(options.data_dir, commands.handler(options.door, stopping)),
                _measured(options) as told,
            ):
                _run_seats(told, client, stopping)
        except OSError as error:
            raise from_os_error(error, "taking part in the run") from error
        finally:
            client.close()


@contextmanager
def _measured(options: JoinOptions) -> Iterator[JoinOptions]:
    """The same, with metrics of what the screen is told served meanwhile, where that is wished."""
    if options.metrics is None:
        yield options
        return
    from peer.metrics import PeerMetrics

    figures = PeerMetrics(options.invite.run, options.devices, options.door)

    def tell(event: PeerEvent) -> None:
        figures.hear(event)
        options.screen(event)

    with metrics.serving(options.metrics, figures) as where:
        options.screen({"event": "note", "text": f"metrics are at {where}"})
        yield replace(options, screen=tell)


def _remember(note: Path, text: str) -> None:
    """Where the run is led now, for the next join; a full disk does not keep this one from following."""
    try:
        notes.keep(note, text)
    except OSError as error:
        logger.warning("where the run is led now could not be kept: %s", error)


def _run_seats(options: JoinOptions, client: CoordinatorClient, stopping: threading.Event) -> None:
    """Fill every seat, each in a thread; when one fails, all leave and its error is raised."""
    lifetime.when_told(stopping.set, *lifetime.ending_signals())
    say = lambda text: options.screen({"event": "note", "text": text})  # noqa: E731
    files = Files(client, options.data_dir / "blobs", say, options.door.passed)
    if sys.platform == "darwin":
        say("macOS: this project's tests run on Linux only. Trying it is welcome; please report what you see.")
    supervisors = [Supervisor(options, client, files, seat, stopping) for seat in seats_of(options)]
    with ThreadPoolExecutor(len(supervisors), thread_name_prefix="seat") as pool:
        ends = [pool.submit(supervisor.run) for supervisor in supervisors]
        wait(ends, return_when=FIRST_EXCEPTION)
        if any(end.done() and end.exception() for end in ends):
            stopping.set()
    for end in ends:
        end.result()
