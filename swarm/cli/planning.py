"""What a rehearsal begins with, from the spec, the run's folder and this machine. Writes nothing that stays, opens no
port, asks nobody.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from swarm.cli.children import Line, run_child
from swarm.cli.rehearsal.plan import Plan, Speed, Swarm
from swarm.errors import SwarmError, from_os_error
from swarm.proto import coordinator_pb2 as pb
from swarm.runspec import RunSpec, load

if TYPE_CHECKING:
    from peer.sizing import Pace, Sizes

# Seconds for each trained value, where they were not measured: a round's end, and one more member's update (one core,
# docs/results/codec.json).
_SETTLE, _MERGE = 2e-8, 5e-9
_WORD = 60  # bytes of a vocabulary's entry in a tokenizer's files
_TOKEN, _MARK = 4, 2  # bytes in a shard


@dataclass(frozen=True)
class Place:
    """The run spec's file, and the folder that the run has, or would have."""

    spec: Path
    folder: Path


def plan_of(place: Place, swarm: Swarm, rate: float | None) -> Plan:
    """`rate` is a usual peer's speed in samples per second; None: it is measured here. Raises SpecError, ModelError,
    DataError, UsageError, DiskError.
    """
    spec = load(place.spec)
    sizes, pace = _looked_at(place, measure=rate is None)
    run, epoch = _files(place, spec, sizes)
    return Plan(
        spec=spec,
        run=run,
        payload=sizes.payload,
        epoch=epoch,
        speed=_speed(spec, sizes, pace, rate or 0.0),
        swarm=swarm,
        prepared=sizes.prepared,
        disk_free=_free(place.folder),
        config=sizes.config,
    )


def _looked_at(place: Place, measure: bool) -> tuple[Sizes, Pace | None]:
    """In a process of its own, which loads torch."""
    from peer.sizing import Pace, Sizes

    lines: list[Line] = []
    where = ["--spec", str(place.spec), "--folder", str(place.folder), *(["--measure"] if measure else [])]
    try:
        with tempfile.TemporaryDirectory(prefix="rehearsal-") as scratch:
            run_child("peer.sizing", where, Path(scratch) / "sizing.log", lines.append)
    except OSError as error:
        raise from_os_error(error, "looking at the run") from error
    found = next((line for line in reversed(lines) if "sizes" in line), None)
    if found is None:
        raise SwarmError("The run could not be looked at.", "Run the command again with --debug after `swarm`.")
    return Sizes(**found["sizes"]), Pace(**found["pace"]) if found["pace"] else None


def _speed(spec: RunSpec, sizes: Sizes, pace: Pace | None, rate: float) -> Speed:
    if pace:
        return Speed(pace.rate, pace.micro_batch, pace.settle, pace.merge, pace.why)
    settle = _SETTLE * sizes.trained
    merge = _MERGE * sizes.trained * (spec.training.mode == "local")
    return Speed(rate, spec.training.micro_batch_size, settle, merge, "as given with --speed")


def _files(place: Place, spec: RunSpec, sizes: Sizes) -> tuple[pb.Run, int]:
    """The run's files by their sizes, and its samples; estimates where it was not prepared."""
    if not sizes.prepared:
        return _estimated(spec, sizes), sizes.samples
    from coordinator.artefacts import read_artefacts

    made = read_artefacts(place.folder / "artefacts.json")
    latest = pb.Checkpoint(size=int(made.checkpoint["size"]))
    run = pb.Run(
        model=made.model, base=made.base, shards=made.shards, heldout=made.heldout, layout=made.layout, latest=latest
    )
    return run, made.epoch_samples


def _estimated(spec: RunSpec, sizes: Sizes) -> pb.Run:
    from peer.needs import state_bytes
    from peer.packing import SHARD_SAMPLES

    length = spec.data.sequence_length
    each = (length + 1) * (_TOKEN + _MARK * spec.data.whole)
    full, rest = divmod(sizes.samples, SHARD_SAMPLES)
    shards = [pb.Blob(size=count * each) for count in (*[SHARD_SAMPLES] * full, rest) if count]
    heldout = int(each * sizes.samples * spec.data.heldout_fraction)
    return pb.Run(
        model=[pb.Blob(size=_WORD * sizes.config["vocab_size"])],
        base=[pb.Blob(size=sizes.base)] if spec.model.adapts else [],
        shards=shards,
        heldout=pb.Blob(size=min(heldout, SHARD_SAMPLES * each)),
        layout=pb.DataLayout(sequence_length=length),
        latest=pb.Checkpoint(size=state_bytes(sizes.trained, spec)),
    )


def _free(folder: Path) -> int:
    """Bytes on the disk where the folder is, or would be."""
    here = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(here).free
