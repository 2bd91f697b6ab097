"""Whether a coordinator's data directory is whole: its files against each other, and its tables against the invariants.

Nothing is repaired or changed, and the coordinator may be running meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from coordinator import copies, invariants, trialtables
from coordinator.artefacts import Artefacts, read_artefacts
from coordinator.invariants import Found, Named
from coordinator.ledger import Entry
from coordinator.reading import copied, terms_of
from coordinator.records import Filed, Terms
from coordinator.state import State
from swarm import runspec
from swarm.checks import Check, Level, attempt, verdicts
from swarm.errors import CorruptError
from swarm.identity import server_certificate
from swarm.invite import Invite
from swarm.tensorfile import is_sha256, sha256_file, state_digest
from swarm.trials.chain import Entry as PublicEntry

# What a copy must not lack: without one of these no coordinator goes on.
FILES = ("run spec", "artefacts", "keys", "database", "blobs", "checkpoints")
_LOOKS = 3  # a checkpoint may be dropped, file and row, between two looks at a running coordinator
_FROM_BACKUP = "Stop the coordinator and restore a backup, or put the file back from another copy."
_TORN_CHECKPOINT = "Launch the run again: it goes on from an older checkpoint when there is one; else restore a backup."
_NEW_KEYS = "Restore a backup: without it the next launch makes a new one, and the invites that were shared are void."


@dataclass(frozen=True)
class Book:
    """All that the tables hold of a run, at one moment; `named` are the keys of reports that the ledger names."""

    state: State
    entries: list[Entry]
    filed: list[Filed]
    named: set[str]
    record: list[PublicEntry]


def examine(folder: Path) -> list[Check]:
    """One line or more for each thing that must hold; see `swarm.checks.verdicts`."""
    spec, of_spec = attempt("run spec", "run.toml can be read", lambda: runspec.load(folder / "run.toml"))
    made, of_artefacts = attempt("artefacts", "", lambda: read_artefacts(folder / "artefacts.json"))
    checks = [of_spec, *_of_keys(folder)]
    if made is None:
        return [*checks, of_artefacts]
    return [*checks, *_of_run(folder, made, terms_of(spec, made) if spec else None)]


def _of_run(folder: Path, made: Artefacts, terms: Terms | None) -> Iterator[Check]:
    """What artefacts, tables and blobs say together."""
    found: dict[str, Found] = {}
    for _ in range(_LOOKS):
        book, of_database = _tables(folder / copies.FILE, terms)
        named = _checkpoints(book.state) if book else []
        found |= _look(folder / "blobs", named, found)
        if all(item.sha256 in found for item in named):
            break
    yield of_database
    if book is not None:
        yield from _of_book(book)
    yield from _of_files(made, named if book else None, found)


def _tables(tables: Path, terms: Terms | None) -> tuple[Book | None, Check]:
    if not tables.exists():
        says = f"no {tables.name}: the run was never launched, or its store is another database, which is not looked at"
        return None, Check("database", Level.WARNING, says, "For PostgreSQL: pg_amcheck checks it, pg_dump copies it.")
    if terms is None:
        return None, Check("database", Level.WARNING, "not looked at, because the run spec cannot be read")
    return attempt("database", f"{tables.name} is whole", lambda: read(tables, terms))


def _of_book(book: Book) -> Iterator[Check]:
    findings = [
        *invariants.of_ledger(book.state, book.entries),
        *invariants.reports(book.filed, book.named, book.state.votes),
        *invariants.record(book.record),
    ]
    yield from verdicts(invariants.HOLDS, findings)


def _of_files(made: Artefacts, checkpoints: list[Named] | None, found: dict[str, Found]) -> Iterator[Check]:
    """`checkpoints` is None when the tables that name them cannot be read."""
    holds = {"blobs": f"{len(found)} files, each has the bytes that its name says"}
    findings = list(invariants.misnamed(found, _FROM_BACKUP))
    holds["artefacts"] = "artefacts.json names files that are there"
    findings += invariants.files("artefacts", _artefacts(made), found, _FROM_BACKUP)
    if checkpoints is not None:
        holds["checkpoints"] = f"{len(checkpoints)} accepted, each file holds its state"
        findings += _none(checkpoints)
        findings += invariants.files("checkpoints", checkpoints, found, _TORN_CHECKPOINT)
    yield from verdicts(holds, findings)


def _none(checkpoints: list[Named]) -> list[Check]:
    """A run has at least the state that it began with."""
    return [] if checkpoints else [Check("checkpoints", Level.FAILED, "there is none", _FROM_BACKUP)]


def read(tables: Path, terms: Terms) -> Book:
    """The tables as a coordinator would read them now. Raises NotFoundError, CorruptError, DiskError."""
    with copied(tables, terms.run) as store, store.reading() as connection:
        public = [entry for entry, _ in trialtables.entries(connection, terms.run, 0, None)]
        return Book(store.load(terms), store.ledger(0, None), *store.filed(), public)


def _checkpoints(state: State) -> list[Named]:
    kept = sorted(state.checkpoints.items())
    return [Named(f"the checkpoint of round {number}", it.sha256, it.size, it.digest) for number, it in kept]


def _artefacts(made: Artefacts) -> list[Named]:
    return [Named(blob.name, blob.sha256, blob.size) for blob in (*made.blobs, *made.base)]


def _look(folder: Path, named: Iterable[Named], known: dict[str, Found]) -> dict[str, Found]:
    """The blobs that are there and not yet known; a file that vanishes meanwhile is not there."""
    states = {item.sha256 for item in named if item.digest}
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    found = {}
    for path in paths:
        if is_sha256(path.name) and path.name not in known:
            with suppress(FileNotFoundError):
                digest = _digest(path) if path.name in states else ""
                found[path.name] = Found(sha256_file(path), path.stat().st_size, digest)
    return found


def _digest(path: Path) -> str:
    try:
        return state_digest(path)
    except CorruptError:
        return ""


def _of_keys(folder: Path) -> list[Check]:
    """Nothing for a folder that was prepared and not yet launched: the first launch makes them."""
    if not any((folder / name).exists() for name in ("tls.pem", "token", copies.FILE)):
        return []
    return [attempt("keys", "certificate, token and invite belong together", lambda: _check_keys(folder))[1]]


def _check_keys(folder: Path) -> None:
    """Raises CorruptError when what admits volunteers is damaged or is not of one run."""
    for name in ("tls.pem", "token"):
        if not (folder / name).is_file():
            raise CorruptError(f"{folder / name} is missing.", _NEW_KEYS)
    certificate, token = server_certificate(folder), (folder / "token").read_text().strip()
    if not token:
        raise CorruptError(f"{folder / 'token'} is empty.", _NEW_KEYS)
    if (folder / "invite").exists():
        invite = Invite.of(str(folder / "invite"))
        if (invite.fingerprint, invite.token) != (certificate.fingerprint, token):
            raise CorruptError(f"{folder / 'invite'} is of another coordinator.", "Launch the run: it is written anew.")
