"""Before anything large is fetched: what a run asks, what this machine has, and whether both fit."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from peer import reach, speed
from peer.checkup import Measured, of_clock, of_line, of_machine, of_speed
from peer.fetch import CHECKPOINTS
from peer.machine import Machine, look
from peer.needs import Needs, needs_of
from swarm import paths
from swarm.checks import Check, Level, failed
from swarm.client import CoordinatorClient
from swarm.errors import CorruptError, RefusedError, UnfitError
from swarm.neighbour import load
from swarm.proto import coordinator_pb2 as pb
from swarm.runspec import RunSpec, loads

_CALLS = 5
_CONFIG = 1 << 20  # bytes of a config.json
_PROBE_SECONDS = 1.5  # each way


@dataclass(frozen=True)
class Prospect:
    """A run as it looks from this machine. `clock_ahead` is this machine's clock against the coordinator's, seconds."""

    run: pb.Run
    spec: RunSpec
    needs: Needs
    machine: Machine
    clock_ahead: float


def prospect(client: CoordinatorClient, folder: Path, has_base: bool = False) -> Prospect:
    """Ask the coordinator, and look around. `folder` is where the files will lie; `has_base` says that the base is
    on this machine already. Raises UnreachableError, UsageError for wrong settings, …
    """
    began = time.time()
    run = client.get_run()
    ahead = (began + time.time()) / 2 - run.server_time
    spec = loads(run.spec_toml, "the coordinator's run spec")
    here = _here(folder) | ({blob.sha256 for blob in run.base} if has_base else set())
    machine, limit = look(folder), load(paths.config()).limits.disk_gigabytes * 1e9
    if limit:
        machine = replace(machine, disk_free=min(machine.disk_free, int(limit)))
    return Prospect(run, spec, needs_of(run, spec, _config(client, run), here), machine, ahead)


def require_fit(found: Prospect, devices: Sequence[str]) -> list[Check]:
    """The warnings about this machine. Raises UnfitError when it cannot take part."""
    checks = [*of_machine(found.machine, found.needs, devices), of_clock(found.clock_ahead)]
    if vain := failed(checks):
        says = "; ".join(f"{check.name}: {check.says}" for check in vain)
        raise UnfitError(f"This machine does not fit the run. {says[:1].upper()}{says[1:]}.", vain[0].remedy)
    return [check for check in checks if check.level is Level.WARNING]


def examine(client: CoordinatorClient, folder: Path, device: str) -> tuple[list[Check], dict[str, Any]]:
    """Everything the doctor looks at, and the figures behind it; takes about ten seconds."""
    found = prospect(client, folder)
    line = _line(client, found)
    port, answer = reach.ask(client)
    reached = reach.decide(reach.own_addresses(), port, answer)
    measured = speed.measure(device)
    checks = [
        *of_machine(found.machine, found.needs, [device]),
        *of_line(line, reached),
        of_speed(measured, found.needs),
    ]
    facts = {
        "coordinator": client.invite.address,
        **vars(line),
        "addresses": sorted(reach.own_addresses()),
        "seen_as": answer.observed_host,
        "port": port,
        "case": reached.case.value,
        "relayed": reached.relayed,
        "needs": vars(found.needs),
        "operations_per_second": measured.operations,
    }
    return checks, facts


def _line(client: CoordinatorClient, found: Prospect) -> Measured:
    round_trip = min(_seconds(client) for _ in range(_CALLS))
    try:
        up, down = client.send_probe(_PROBE_SECONDS), client.receive_probe(_PROBE_SECONDS)
    except RefusedError:
        up, down = 0.0, 0.0
    return Measured(round_trip, found.clock_ahead, up, down)


def _seconds(client: CoordinatorClient) -> float:
    began = time.perf_counter()
    client.list_runs()
    return time.perf_counter() - began


def _here(folder: Path) -> set[str]:
    """The files of earlier evenings, by their SHA-256. Whether they are whole is looked at when they are used."""
    folders = (folder / "blobs", folder / CHECKPOINTS, paths.cache() / "blobs")
    return {path.name for blobs in folders for path in blobs.glob("*")}


def _config(client: CoordinatorClient, run: pb.Run) -> dict[str, Any]:
    """The model's config.json, a small file."""
    for blob in run.model:
        if blob.name == "config.json":
            return _read(client.download_range(blob.sha256, 0, min(blob.size, _CONFIG)))
    return {}


def _read(data: bytes) -> dict[str, Any]:
    """Raises CorruptError."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise CorruptError("The run's config.json cannot be read.", "Do not join this run; tell its maintainer.")
    return found
