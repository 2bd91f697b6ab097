"""Every file that the product writes, torn at every 4 kB boundary: refused by name or repaired, never loaded."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarm.errors import SwarmError
from tests.torn import coordinators, volunteers
from tests.torn.kinds import Durable, Kind, Must, torn

ROOT = Path(__file__).parents[2]
KINDS = [*coordinators.KINDS, *volunteers.KINDS]


class Log(logging.Handler):
    """What the log says, whatever other tests set up."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def text(self) -> str:
        return "\n".join(record.getMessage() for record in self.records)


@pytest.fixture
def log() -> Iterator[Log]:
    handler, root = Log(), logging.getLogger("garage-swarm")
    root.addHandler(handler)
    yield handler
    root.removeHandler(handler)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_torn_file_is_never_used(kind: Kind, tmp_path: Path, log: Log) -> None:
    (tmp_path / "whole").mkdir()
    kind.write(tmp_path / "whole")
    right = kind.read(_another(kind, tmp_path, "untouched"))
    bad = [
        f"{how}: {why}"
        for number, (how, content) in enumerate(torn((tmp_path / "whole" / kind.file).read_bytes()))
        if (why := _judge(kind, _damaged(kind, tmp_path, number, content), right, log))
    ]
    assert not bad, "\n".join(bad)


def _another(kind: Kind, tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name
    if kind.fresh:
        folder.mkdir()
        kind.write(folder)
    else:
        shutil.copytree(tmp_path / "whole", folder)
    return folder


def _damaged(kind: Kind, tmp_path: Path, number: int, content: bytes) -> Path:
    """In the place of the file, whose mode may forbid to write to it."""
    folder = _another(kind, tmp_path, str(number))
    path = folder / kind.file
    path.unlink()
    path.write_bytes(content)
    return folder


def _judge(kind: Kind, folder: Path, right: object, log: Log) -> str:
    """What is wrong with what the product makes of a torn file; empty when nothing is."""
    log.records.clear()
    name = kind.named or Path(kind.file).name
    try:
        found = kind.read(folder)
    except SwarmError as error:
        named = kind.must is Must.REFUSED and name in error.what and error.remedy
        return "" if named else f"{type(error).__name__}: {error}"
    finally:
        shutil.rmtree(folder)
    if any(record.exc_info for record in log.records):
        return f"a stack trace in the log: {log.text}"
    if found == right:
        return ""
    if kind.must is Must.ANEW and found == kind.new:
        return "" if name in log.text else f"begun anew without a word: {log.text!r}"
    return f"used as {found!r:.200}"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.durable is Durable.ATOMIC], ids=str)
def test_what_must_survive_is_written_as_a_whole(kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bytes are synced before the folder that holds its name, and under that name it never was half there."""
    synced: list[int] = []
    real = os.fsync

    def fsync(opened: int) -> None:
        synced.append(os.fstat(opened).st_ino)
        real(opened)

    monkeypatch.setattr(os, "fsync", fsync)
    kind.write(tmp_path)
    path = tmp_path / kind.file
    assert path.stat().st_ino in synced, "its bytes are not synced"
    first = synced.index(path.stat().st_ino)
    assert path.parent.stat().st_ino in synced[first:], "its name is not synced after its bytes"


# Where the product writes files, and which kinds they are; or why a torn one harms nobody.
WRITERS = {
    "coordinator/backup.py": "a backup, whole or not there: tests/contract/test_backup.py",
    "coordinator/bootstrap.py": "the members' addresses: a note like the session's; without it the node asks nobody",
    "coordinator/blobs.py": "blob, upload on its way",
    "coordinator/audit.py": "a log; what is torn in it is left out",
    "coordinator/copies.py": "a backup's tables",
    "coordinator/reading.py": "reads only",
    "coordinator/handover.py": "hand-over",
    "coordinator/history.py": "history: a note like the session's; without it a new one begins",
    "coordinator/seal.py": "seal of the database",
    "coordinator/server.py": "token",
    "coordinator/store.py": "database",
    "coordinator/tables_at.py": "store",
    "peer/artefacts.py": "artefacts, blob of a preparation; the model's folder is made anew by each preparation",
    "peer/base.py": "shard or base",
    "peer/blocks.py": "block of documents",
    "peer/checkpoint.py": "state, checkpoint that waits",
    "peer/crashes.py": "a report for people, never read again",
    "peer/desk.py": "checkpoint that waits",
    "peer/exchange/ballot.py": "vote",
    "peer/exchange/bootstrap.py": "key, port and folder of the bootstrap node",
    "peer/exchange/snapshot.py": "state on its way",
    "peer/export.py": "an adapter in a folder of the user's, never read again",
    "peer/fetch.py": "shard on its way",
    "peer/held.py": "shard on its way",
    "peer/join.py": "hand-over: a note like the session's; without it the invite's address counts",
    "peer/outbox.py": "outbox",
    "peer/parting.py": "session",
    "peer/reach.py": "port",
    "peer/repeats.py": "near-duplicates.json, a report for people, never read again",
    "peer/serving/base.py": "a folder of links into the blobs, made anew each time",
    "peer/sending.py": "history: a note like the session's; without it nothing is recalled",
    "peer/spawn.py": "worker; worker.out is a log",
    "peer/traffic.py": "count of the traffic",
    "swarm/bundle/keys.py": "a signer's public key; a torn one is refused by name",
    "swarm/bundle/making.py": "a bundle: every file is read again before it is signed, and whenever it is used",
    "swarm/bundle/recall.py": "notices, refused by name: tests/unit/test_bundle_recall.py; and a note",
    "swarm/bundle/release.py": "a bundle gets its name",
    "swarm/bundle/signatures.py": "a signature's key; a torn one is refused by name",
    "swarm/bundle/trust.py": "known signers, refused by name: tests/unit/test_bundle_verify.py",
    "swarm/bundle/pull.py": "a bundle on its way: tests/integration/test_registry.py",
    "swarm/bundle/torrent.py": "a torrent in a file of the user's, never read again",
    "swarm/bundle/push.py": "an upload's address: a note like the session's; without it the upload begins anew",
    "peer/modelfile.py": "a file for Ollama in a folder of the user's, never read again",
    "swarm/cli/card.py": "consent",
    "swarm/cli/children.py": "a log",
    "swarm/cli/demo.py": "the demo's spec, written anew by each demo",
    "swarm/cli/export.py": "a model in a folder of the user's, never read again",
    "swarm/cli/identity.py": "identity",
    "swarm/cli/run_spec.py": "an example in a file of the user's",
    "swarm/cli/recall.py": "a notice for others, signed",
    "swarm/cli/report.py": "a report for people, never read again",
    "swarm/cli/rundir.py": "spec of the run",
    "swarm/cli/service.py": "a file of the system's service manager",
    "swarm/cli/share.py": "invite",
    "swarm/cli/trialing.py": "a model folder: synced, then renamed as a whole; the run spec in it is for its child",
    "swarm/identity.py": "identity, certificate",
    "swarm/lock.py": "a number for a message",
    "swarm/log.py": "a log",
    "swarm/neighbour.py": "settings",
    "swarm/notes.py": "session, port, worker, vote",
    "swarm/papers.py": "papers: a note like the session's; without it nobody is let in until they are renewed",
    "swarm/placing.py": "a backup's files, a bundle's",
    "swarm/receipts.py": "a proof for people: a line that was cut off is left out, another is refused by name",
    "swarm/sqlitefile.py": "reads only",
    "swarm/stamps.py": "stamp",
    "swarm/tensorfile.py": "for all others",
    "swarm/transfer.py": "file of the run on its way",
}
_WRITES = re.compile(
    r"atomic_write\(|\.write_text\(|\.write_bytes\(|publish\(|open\(\"[wax]|\"r\+b\"|O_CREAT|O_RDWR|os\.link\(|notes\.keep\(|"
    r"sqlite3\.connect\(|create_engine\(|save_file\(|save_pretrained\(|FileHandler[()]|\.replace\(target|shutil\.move\(|\.rename\("
)


def test_everything_that_writes_files_was_looked_at() -> None:
    """A new writer belongs into WRITERS, and what it writes into a table of kinds."""
    sources = [path for part in ("swarm", "peer", "coordinator") for path in (ROOT / part).rglob("*.py")]
    writing = {str(path.relative_to(ROOT)) for path in sources if _WRITES.search(path.read_text())}
    assert writing == set(WRITERS)
