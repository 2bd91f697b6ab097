"""What the commands about trials share: a model folder of what was named, and the child that examines it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swarm.errors import NotFoundError, UsageError
from swarm.trials.answers import Item

if TYPE_CHECKING:
    from swarm.client import CoordinatorClient
    from swarm.proto import coordinator_pb2 as pb

_FOLDER = "trials"  # in the peer's folder: the model that is looked at


@dataclass(frozen=True)
class Subject:
    """What is looked at: a model folder, its base for an adapter, and the run's held-out samples, when they are known.
    `state` is the checkpoint's digest, empty for a folder that names none.
    """

    folder: Path
    base: Path | None = None
    heldout: Path | None = None
    state: str = ""
    name: str = ""


@dataclass(frozen=True)
class Machine:
    """On what it is computed."""

    device: str = "auto"
    threads: int = 0


def named(checkpoint: str, round_: int | None, base: Path | None, say: Callable[[str], None]) -> Subject:
    """A model folder or a bundle as it is; or a run, by its invite, whose checkpoint of `round_` (the latest, for None)
    is fetched. Raises UsageError, NotFoundError, UnreachableError, …
    """
    if Path(checkpoint).is_dir():
        return of_folder(Path(checkpoint), base)
    from swarm import paths
    from swarm.cli import known
    from swarm.client import CoordinatorClient
    from swarm.invite import Invite, is_given

    if not is_given(checkpoint):
        raise NotFoundError(f"There is no folder {checkpoint}.", "Name a model folder, a bundle, or a run's invite.")
    from swarm.cli.checkpoints import chosen

    with known.connect(CoordinatorClient, Invite.of(checkpoint)) as client:
        return of_run(client, chosen(client.checkpoints(), round_), paths.peer_dir(client.invite.run), say)


def of_folder(folder: Path, base: Path | None) -> Subject:
    """As `swarm export` or a bundle has it."""
    if not (folder / "config.json").is_file() and not (folder / "adapter_config.json").is_file():
        raise UsageError(f"{folder} is no model folder.", "Name one made by `swarm export`, or a bundle.")
    return Subject(folder, base, name=folder.name)


def of_run(
    client: CoordinatorClient,
    checkpoint: pb.Checkpoint,
    home: Path,
    say: Callable[[str], None],
    passed: Callable[[int], None] = lambda _: None,
) -> Subject:
    """The run's checkpoint as a folder below `home`, a peer's, fetched and made once; kept until another one is looked
    at. `passed` is told how many bytes were fetched. Raises UnreachableError, CorruptError, DiskError, ModelError.
    """
    from peer.fetch import Files
    from swarm import runspec

    run = client.get_run()
    files = Files(client, home / "blobs", say, passed)
    model = files.model_folder([*run.model, *run.base])
    target = home / _FOLDER / checkpoint.digest
    if not target.exists():
        state, spec = files.checkpoint(checkpoint), runspec.loads(run.spec_toml, "the coordinator's run spec")
        _exported(spec.to_toml(), model, state, target)
    heldout = files.blob(run.heldout) if run.heldout.sha256 else None
    base = model if run.base else None
    return Subject(target, base, heldout, checkpoint.digest, f"{run.name} at round {checkpoint.round}")


def _exported(spec: str, model: Path, state: Path, target: Path) -> None:
    """A model folder that appears as a whole, in place of an earlier checkpoint's."""
    from swarm import placing
    from swarm.cli.children import run_child

    shutil.rmtree(target.parent, ignore_errors=True)
    with placing.staging(target, 0o755) as stage:
        (stage / "run.toml").write_text(spec)
        where = ["--spec", stage / "run.toml", "--model", model, "--state", state, "--out", stage]
        run_child("peer.export", list(map(str, where)), target.parent / "export.log", lambda _: None)
        placing.sync_all(stage)
        placing.place(stage, target)


def examined(
    subject: Subject,
    machine: Machine,
    log: Path,
    span: tuple[int, int] = (0, 0),
    what: Sequence[object] = (),
    take: Callable[[dict[str, Any]], None] = lambda _: None,
) -> tuple[Item, ...]:
    """The items of a span (first, and how many; 0 for all), computed in a process of its own: the project's own probes,
    or `what` (arguments of `peer.examine`); `take` hears each line.

    Raises UsageError, ModelError, CorruptError, …; SwarmError when it ended in another way.
    """
    from swarm.cli.children import run_child

    found: list[Item] = []

    def heard(line: dict[str, Any]) -> None:
        if "index" in line:
            found.append(Item(line["index"], line["value"], line["weight"], line["digest"]))
            take(line)

    arguments = ["--model", subject.folder, "--first", span[0], "--count", span[1], "--device", machine.device]
    arguments += ["--threads", machine.threads, *(["--base", subject.base] if subject.base else [])]
    run_child("peer.examine", [str(part) for part in (*arguments, *what)], log, heard)
    return tuple(found)


@contextmanager
def scratch(about: str = "trials") -> Iterator[Path]:
    """Where a child's report goes; it stays only after an error, until the next command of that kind."""
    from swarm import paths

    paths.home().mkdir(parents=True, exist_ok=True)
    _tidy(paths.home(), about)
    log = paths.home() / f"{about}-{os.getpid()}.log"
    yield log
    log.unlink(missing_ok=True)


def _tidy(home: Path, about: str) -> None:
    """Remove the reports of commands that have ended."""
    import psutil

    for report in home.glob(f"{about}-*.log"):
        process = report.stem.removeprefix(f"{about}-")
        if process.isdecimal() and not psutil.pid_exists(int(process)):
            report.unlink(missing_ok=True)


def heldout(subject: Subject) -> tuple[str, Path]:
    """For `examined`: the run's held-out samples. Raises UsageError when nobody said where they are."""
    if subject.heldout is None:
        raise UsageError(
            "The suite heldout needs the run's held-out samples, and a folder does not say where they are.",
            "Name them with --heldout (a run's held-out file), or name the run by its invite instead of the folder.",
        )
    return "--heldout", subject.heldout


def rows(figures: Sequence[dict[str, Any]]) -> list[str]:
    """Figures as lines for people."""
    width = max((len(f"{row['suite']}  {row['metric']}") for row in figures), default=0)
    return [
        f"{row['suite'] + '  ' + row['metric']:<{width}}  {row['value']:.4f}  ({row['samples']})" for row in figures
    ]
