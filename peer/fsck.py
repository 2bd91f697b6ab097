"""Whether a peer's folder is whole: what waits for the coordinator, fetched files, states, and small files.

Nothing is repaired or changed, and the peer may be running meanwhile.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from google.protobuf.message import DecodeError, Message

from peer.fetch import CHECKPOINTS
from peer.outbox import AGAIN, CHECKPOINT, EVALUATION, LEASE, REPORT, VOID
from swarm import notes
from swarm.checks import Check, Level, attempt, verdicts
from swarm.errors import CorruptError, SwarmError
from swarm.identity import FILE, Identity
from swarm.proto import coordinator_pb2 as pb
from swarm.sqlitefile import read_only
from swarm.tensorfile import is_sha256, read_header, sha256_file, state_digest

_VOTE = re.compile("[0-9]{1,18}")
_SESSION = re.compile(r"[0-9a-zA-Z]{1,64}( [0-9]{1,18})?")  # and in which round it said goodbye
_MESSAGES: dict[str, type[Message]] = {
    REPORT: pb.RoundReport,
    AGAIN: pb.RoundReport,
    CHECKPOINT: pb.Checkpoint,
    EVALUATION: pb.Evaluation,
    LEASE: pb.LeasedRange,
    VOID: pb.LeasedRange,
}
_FETCH = "Stop the peer and delete the file; it is fetched again."
_STATE = "Stop the peer and delete the file; the state is taken from the other members."
_OUTBOX = "Stop the peer and move outbox.sqlite away; what it held is not reported any more, and its samples expire."


def examine(folder: Path) -> list[Check]:
    """One line or more for each thing that must hold, also in the folders of further seats."""
    checks = [
        *_of_outbox(folder),
        *_of_files("blobs", "fetched files, each has the bytes that its name says", _blobs(folder), _blob_flaw, _FETCH),
        *_of_files("states", "state files, each holds the state that it names", _states(folder), _state_flaw, _STATE),
        *_of_notes(folder),
    ]
    for seat in sorted(folder.glob("seat-*")):
        checks += [Check(f"{seat.name}: {it.name}", it.level, it.says, it.remedy) for it in examine(seat)]
    return checks


def _of_outbox(folder: Path) -> list[Check]:
    if not (folder / "outbox.sqlite").exists():
        return []
    count, check = attempt("outbox", "", lambda: _read_outbox(folder / "outbox.sqlite"))
    waiting = "nothing waits" if not count else f"{count} wait"
    return [check if count is None else Check("outbox", Level.OK, f"{waiting} for the coordinator")]


def _read_outbox(path: Path) -> int:
    """How many things wait. Raises CorruptError when the box cannot be opened, or something in it cannot be read."""
    told = []
    try:
        with closing(read_only(path)) as box:
            said = [row[0] for row in box.execute("PRAGMA integrity_check(5)")]
            items = box.execute("SELECT id, kind, body FROM outbox").fetchall()
            if box.execute("SELECT 1 FROM sqlite_master WHERE name = 'told'").fetchone():  # not in an older peer's
                told = box.execute("SELECT id, kind, body FROM told").fetchall()
    except sqlite3.Error as error:
        raise CorruptError(f"{path} cannot be read: {error}.", _OUTBOX) from error
    if said != ["ok"]:
        raise CorruptError(f"{path} is damaged: {'; '.join(said)}.", _OUTBOX)
    for number, kind, body in [*items, *told]:
        _parse(path, number, kind, body)
    return len(items)


def _parse(path: Path, number: int, kind: str, body: bytes) -> None:
    """Raises CorruptError when it is nothing that a peer sends."""
    try:
        _MESSAGES[kind].FromString(body)
    except (KeyError, TypeError, DecodeError) as error:
        raise CorruptError(f"{path} holds an item ({number}, {kind!r}) that cannot be read.", _OUTBOX) from error


def _of_files(name: str, holds: str, paths: list[Path], flaw: Callable[[Path], str], remedy: str) -> Iterator[Check]:
    found = [Check(name, Level.FAILED, f"{path} {why}", remedy) for path in paths if (why := _why(path, flaw))]
    yield from verdicts({name: f"{len(paths)} {holds}"} if paths else {}, found)


def _why(path: Path, flaw: Callable[[Path], str]) -> str:
    """What is wrong with a file; a running peer may have removed it since, which is nothing wrong."""
    try:
        return flaw(path)
    except FileNotFoundError:
        return ""
    except (SwarmError, OSError) as error:
        return f"cannot be read: {error}"


def _blobs(folder: Path) -> list[Path]:
    """Also the states that the coordinator has: they are named like all that is fetched."""
    found = sorted([*folder.glob("blobs/*"), *folder.glob(f"{CHECKPOINTS}/*")])
    return [path for path in found if is_sha256(path.name)]


def _blob_flaw(path: Path) -> str:
    return "" if sha256_file(path) == path.name else "is torn or was altered: its SHA-256 is another"


def _states(folder: Path) -> list[Path]:
    return sorted([*folder.glob("state/round-*.safetensors"), *folder.glob("outbox/round-*.safetensors")])


def _state_flaw(path: Path) -> str:
    same = read_header(path).metadata.get("digest") == state_digest(path)
    return "" if same else "is torn or was altered: its digest is another"


def _of_notes(folder: Path) -> Iterator[Check]:
    """Identity, consent, session and vote; each is there from some moment on."""
    looks: list[tuple[str, str, str, Callable[[Path], object]]] = [
        ("identity", FILE, "this folder has a key of its own", lambda path: Identity.load_or_create(path.parent)),
        ("consent", "consent.json", "the terms that were agreed to are known", _read_consent),
        ("session", "session", "the last process in this folder is known", _read_session),
        ("vote", "vote", "the last round that this member voted on is known", _read_vote),
    ]
    for name, file, holds, read in looks:
        if (folder / file).exists():
            yield attempt(name, holds, partial(read, folder / file))[1]


def _read_consent(path: Path) -> None:
    """Raises CorruptError."""
    try:
        kept = json.loads(path.read_text())
        str(kept["terms"]), float(kept["agreed_at"]), dict(kept["rows"])
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptError(f"{path} cannot be read.", "Delete it; swarm join asks again.") from error


def _read_session(path: Path) -> None:
    """Raises CorruptError."""
    if not _SESSION.fullmatch(notes.kept(path)):
        raise CorruptError(f"{path} names no session.", "Delete it; the next join may get another seat at first.")


def _read_vote(path: Path) -> None:
    """Raises CorruptError."""
    if not _VOTE.fullmatch(notes.kept(path)):
        what = f"{path} names no round."
        raise CorruptError(what, "Leave it: the coordinator is asked at the next round, and the file is written anew.")
