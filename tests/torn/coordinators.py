"""What a coordinator writes: keys, the database, files by their SHA-256, notes, and what a preparation makes."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from contextlib import closing, suppress
from functools import cache
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from coordinator import arrivals, handover, tables_at
from coordinator import decisions as d
from coordinator.artefacts import read_artefacts
from coordinator.blobs import Blobs
from coordinator.records import Checkpoint
from coordinator.server import _token
from coordinator.store import SqlStore, open_store
from coordinator.uploads import CheckpointBrought
from peer.artefacts import Workshop
from peer.blocks import Encoder, _block
from peer.exchange.bootstrap import _fresh_folder, _is_key, _kept_key, _kept_port
from peer.formats import plain
from peer.tokenizer import byte_level
from swarm.cli import rundir
from swarm.cli.share import write as share
from swarm.errors import CorruptError
from swarm.identity import server_certificate
from swarm.invite import Invite
from swarm.papers import Papers
from swarm.runspec import loads
from swarm.tensorfile import state_digest
from tests.histories import START, TERMS, History
from tests.small_run import checkpoint
from tests.torn.kinds import Durable, Kind, Must
from tests.unit.test_runspec import spec_text

CONTENT = b"".join(hashlib.sha256(number.to_bytes(4, "big")).digest() for number in range(600))
SHA256 = hashlib.sha256(CONTENT).hexdigest()
WHOSE = hashlib.sha256(b"anna").hexdigest()[:16]
INVITE = Invite("192.0.2.1", 7700, "a-run", "ab" * 16, "h8Vd0q-4Zr_1xYtW3uKb9A")
SPEC = loads(spec_text(training={"rounds": 10_000, "target_batch_size": 64}))
TEXTS = [plain(f"Number {number}. " * 40, f"line {number}") for number in range(20)]


# ── blobs ──────────────────────────────────────────────────────────────────────────────────────


def _upload(folder: Path, size: int = len(CONTENT)) -> bool:
    (folder / "blobs").mkdir(exist_ok=True)
    blobs = Blobs(folder / "blobs")
    arrived = blobs.arrived(SHA256, "anna")
    return blobs.receive(SHA256, len(CONTENT), arrived, [CONTENT[arrived:size]], "anna")


def _uploaded(folder: Path) -> bytes:
    """As a member brings it: it goes on where the coordinator stands, and tries again when that is refused."""
    with suppress(CorruptError):
        _upload(folder)
    _upload(folder)
    return _whole(folder)


def _whole(folder: Path) -> bytes:
    return Blobs(folder / "blobs").verify(SHA256).read_bytes()


def _once(folder: Path) -> bytes:
    blobs = Blobs(folder / "blobs")
    blobs.verify_once(SHA256, len(CONTENT))
    return blobs.path(SHA256).read_bytes()


def _stamped(folder: Path) -> None:
    _upload(folder)
    _once(folder)


# ── checkpoints ──────────────────────────────────────────────────────────────────────────────────


STATE = save({"model/w": np.full(4, 1, np.float32)})
WAITING = hashlib.sha256(STATE).hexdigest()


def _brought(folder: Path) -> None:
    """Two checkpoints, of which one waits for the members' agreement."""
    first, blobs = checkpoint(folder, 0), Blobs(folder / "blobs")
    blobs.receive(WAITING, len(STATE), 0, [STATE], "anna")
    waiting = Checkpoint(1, state_digest(blobs.path(WAITING)), WAITING, len(STATE), 8)
    with closing(open_store(TERMS.run, folder)) as store:
        store.write([d.CheckpointAccepted(first), CheckpointBrought(waiting)], 0.0)


def _waits(folder: Path) -> object:
    """What still waits when the coordinator starts, and the files."""
    with closing(open_store(TERMS.run, folder)) as store:
        found = arrivals.found(store, Blobs(folder / "blobs"), TERMS)
    return len(found.brought), len(list((folder / "blobs").iterdir()))


# ── the database ───────────────────────────────────────────────────────────────────────────────


def _work(store: SqlStore, seed: int, steps: int) -> None:
    history = History(seed, state=store.load(TERMS))
    for _, made, _, now in history.steps(steps):
        store.write(made, now)


@cache
def _databases() -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The files of a coordinator that was stopped, and later of one that was killed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with closing(open_store(TERMS.run, folder)) as store:
            store.write([d.CheckpointAccepted(START)], 0.0)
            _work(store, 1, 150)
        stopped = _files(folder)
        with closing(open_store(TERMS.run, folder)) as store:
            _work(store, 2, 12)
            killed = {name: content for name, content in _files(folder).items() if not name.endswith("-shm")}
    return stopped, killed


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _stopped(folder: Path) -> None:
    for name, content in _databases()[0].items():
        (folder / name).write_bytes(content)


def _killed(folder: Path) -> None:
    for name, content in _databases()[1].items():
        (folder / name).write_bytes(content)


def _state(folder: Path) -> object:
    with closing(open_store(TERMS.run, folder)) as store:
        return store.load(TERMS), store.ledger(0, None), store.recent_decisions()


# ── the bootstrap node's notes ─────────────────────────────────────────────────────────────────


def _keep_key(folder: Path) -> None:
    shutil.copy(_kept_key(folder / "p2p.key"), folder / "key")


def _node(folder: Path) -> str:
    found = Path(_kept_key(folder / "p2p.key")).read_bytes()
    assert _is_key(folder / "p2p.key")
    return "the same" if found == (folder / "key").read_bytes() else "another"


def _keep_port(folder: Path) -> None:
    (folder / "port").write_text(str(_kept_port(folder, "127.0.0.1")))


def _port(folder: Path) -> str:
    return "the same" if _kept_port(folder, "127.0.0.1") == int((folder / "port").read_text()) else "another"


def _keep_folder(folder: Path) -> None:
    """Sockets' folder, below one that a part of its name leads to."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder / "swarm-home")
    try:
        (folder / "swarm-home" / "swarm-").mkdir(parents=True)
        _fresh_folder(folder / "p2p.folder")
    finally:
        tempfile.tempdir = before


def _cleaned(folder: Path) -> list[str]:
    """What a restart leaves; its own new folder is not counted."""
    shutil.rmtree(_fresh_folder(folder / "p2p.folder"))
    return sorted(path.name[:6] for path in folder.rglob("swarm-*"))


# ── preparation ────────────────────────────────────────────────────────────────────────────────


def _prepare(folder: Path) -> None:
    workshop = Workshop(folder)
    workshop.open()
    one = {"name": "one", "sha256": SHA256, "size": len(CONTENT)}
    workshop.put("one", CONTENT)
    layout = {"shard_samples": [600] * 100, "sequence_length": 8, "seed": 1, "targets_per_sample": 8.0}
    checkpoint = {"round": 0, "digest": "0" * 64, "sha256": SHA256, "size": len(CONTENT), "global_samples": 0}
    made = {"model": [one], "shards": [one] * 99, "heldout": one, "base": [], "checkpoint": checkpoint}
    workshop.finish({**made, "layout": layout, "facts": {"documents": 1}, "spec_sha256": "key"})


def _prepared(folder: Path) -> object:
    """What is not finished is made anew."""
    if not Workshop(folder).finished("key"):
        _prepare(folder)
    return Workshop(folder).finished("key"), read_artefacts(folder / "artefacts.json")


def _block_path(folder: Path) -> Path:
    return folder / "block"


def _make_block(folder: Path) -> None:
    Encoder(byte_level(257, ()), "key", False, 0).make(TEXTS, _block_path(folder))


def _block_again(folder: Path) -> object:
    block = _block(Encoder(byte_level(257, ()), "key", False, 0).make, TEXTS, _block_path(folder))
    return block.array("tokens").tolist(), block.array("signatures").tolist(), block.shown()


def _hand_over(folder: Path) -> None:
    handover.close(folder, handover.Last("run", 3, "d" * 64), ("192.0.2.2", 7700), 1000.0)


def _store(at: Path) -> str:
    return tables_at.require(at, "postgresql://ada@db.example.org/runs")


KINDS = [
    Kind("certificate", "tls.pem", server_certificate, server_certificate, Must.REFUSED),
    Kind("hand-over", "handed-over", _hand_over, lambda at: handover.closed_to(at, "run"), Must.REFUSED),
    Kind("store", tables_at.NOTE, _store, _store, Must.REFUSED),
    Kind("token", "token", _token, _token, Must.REFUSED),
    Kind(
        "spec of the run",
        "run.toml",
        lambda at: rundir.remember(at, SPEC, INVITE, INVITE),
        rundir._begun,
        Must.REFUSED,
    ),
    Kind(
        "invite",
        "first-invite",
        lambda at: share(INVITE, at / "first-invite"),
        lambda at: Invite.of(str(at / "first-invite")),
        Must.REFUSED,
    ),
    Kind("artefacts", "artefacts.json", _prepare, lambda at: read_artefacts(at / "artefacts.json"), Must.REFUSED),
    Kind(
        "artefacts of a preparation",
        "artefacts.json",
        _prepare,
        _prepared,
        Must.REPAIRED,
    ),
    Kind(
        "blob of a preparation",
        f"blobs/{SHA256}",
        _prepare,
        lambda at: [Workshop(at).put("one", CONTENT), (at / "blobs" / SHA256).read_bytes()],
        Must.REPAIRED,
    ),
    Kind("block of documents", "block", _make_block, _block_again, Must.REPAIRED),
    Kind("blob", f"blobs/{SHA256}", _upload, _whole, Must.REFUSED),
    Kind("large blob with its stamp", f"blobs/{SHA256}", _stamped, _once, Must.REFUSED),
    Kind("stamp", f"blobs/{SHA256}.stamp", _stamped, _once, Must.REPAIRED),
    Kind(
        "upload on its way",
        f"blobs/{SHA256}.{WHOSE}.part",
        lambda at: _upload(at, 15_000),
        _uploaded,
        Must.REPAIRED,
        Durable.LOOSE,
    ),
    Kind("checkpoint that waits", f"blobs/{WAITING}", _brought, _waits, Must.ANEW, new=(0, 1)),
    Kind("database", "coordinator.sqlite", _stopped, _state, Must.REFUSED, Durable.SQLITE),
    Kind("database after a crash", "coordinator.sqlite", _killed, _state, Must.REFUSED, Durable.SQLITE),
    Kind(
        "log of the database",
        "coordinator.sqlite-wal",
        _killed,
        _state,
        Must.REFUSED,
        Durable.SQLITE,
        named="coordinator.sqlite",
    ),
    Kind("seal of the database", "coordinator.sqlite.seal", _killed, _state, Must.REPAIRED, Durable.LOOSE),
    Kind("key of the bootstrap node", "p2p.key", _keep_key, _node, Must.ANEW, new="another"),
    Kind("port of the bootstrap node", "p2p.port", _keep_port, _port, Must.ANEW, new="another", fresh=True),
    Kind(
        "papers of the bootstrap node",
        "p2p.papers",
        lambda at: Papers(b"own", 1.0, frozenset({"m"})).keep(at / "p2p.papers"),
        lambda at: Papers.kept(at / "p2p.papers"),
        Must.ANEW,
        new=Papers(),
    ),
    Kind(
        "folder of the bootstrap node",
        "p2p.folder",
        _keep_folder,
        _cleaned,
        Must.ANEW,
        new=["swarm-", "swarm-", "swarm-"],
        fresh=True,
    ),
]
