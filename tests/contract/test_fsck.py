"""`swarm fsck`: each kind of damage to a data directory is found by name, with what to do."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from coordinator import fsck, invariants
from peer import fsck as peer_fsck
from peer import parting
from peer.outbox import REPORT, Outbox
from swarm.checks import Check, Level, failed
from swarm.cli import app
from swarm.errors import CorruptError
from swarm.proto import coordinator_pb2 as pb
from swarm.tensorfile import state_digest
from tests.small_run import TOKEN, of_artefacts, overwrite, prepared, small_run, sql

Damage = Callable[[Path], None]


def invoke(*words: str) -> tuple[int, str]:
    """The exit code as `swarm` would give it, and what was printed."""
    done = CliRunner().invoke(app, list(words))
    code = getattr(done.exception, "exit_code", done.exit_code)
    return code, done.stdout


# ── a coordinator's folder ─────────────────────────────────────────────────────────────────────


def test_a_run_that_went_well_has_only_lines_that_are_ok(tmp_path: Path) -> None:
    small_run(tmp_path, seed=5)
    checks = fsck.examine(tmp_path)
    assert failed(checks) == []
    names = {check.name for check in checks}
    assert names == {*fsck.FILES, *invariants.HOLDS}


def test_a_run_that_was_prepared_only_says_that_its_tables_are_not_there(tmp_path: Path) -> None:
    prepared(tmp_path)
    checks = fsck.examine(tmp_path)
    assert failed(checks) == []
    assert [check.name for check in checks if check.level is Level.WARNING] == ["database"]


def of_checkpoint(folder: Path) -> Path:
    made = json.loads((folder / "artefacts.json").read_text())
    return folder / "blobs" / str(made["checkpoint"]["sha256"])


def tear_database(folder: Path) -> None:
    path = folder / "coordinator.sqlite"
    content = bytearray(path.read_bytes())
    content[4096 : 3 * 4096] = b"\xff" * (2 * 4096)
    path.write_bytes(content)


NEWEST = "(SELECT max(number) FROM entries WHERE state = 'counted')"
DAMAGES: dict[str, tuple[Damage, str, str]] = {
    "a counted entry twice": (
        lambda at: sql(
            at,
            "INSERT INTO entries (run, start, stop, state, round, member, lease, why, report) "
            f"SELECT run, start, stop, state, round, member, lease, why, report FROM entries WHERE number = {NEWEST}",
        ),
        "positions",
        "are counted in round",
    ),
    "an entry lost": (
        lambda at: sql(at, f"DELETE FROM entries WHERE number = {NEWEST}"),
        "credit",
        "but the ledger says",
    ),
    "what became of a lease lost": (
        lambda at: sql(at, "DELETE FROM entries WHERE state = 'expired'"),
        "positions",
        "does not say what became of",
    ),
    "an entry of no lease": (
        lambda at: sql(at, f"UPDATE entries SET lease = '9-x' WHERE number = {NEWEST}"),
        "leases",
        "name the lease 9-x, which was never given",
    ),
    "an entry outside its lease": (
        lambda at: sql(at, f"UPDATE entries SET stop = stop + 1000 WHERE number = {NEWEST}"),
        "leases",
        "lie outside lease",
    ),
    "a return that nobody heeds": (
        lambda at: sql(at, "INSERT INTO returns (run, first_lease, round) SELECT 'law', max(number), 0 FROM leases"),
        "leases",
        "were undone when the run went back to round 0",
    ),
    "credit that nobody earned": (
        lambda at: sql(at, "UPDATE members SET counted = counted + 1"),
        "credit",
        "but the ledger says",
    ),
    "a report lost": (
        lambda at: sql(at, "DELETE FROM reports"),
        "reports",
        "which was never filed",
    ),
    "a round too many": (
        lambda at: sql(at, "UPDATE votes SET round = 99 WHERE round = (SELECT max(round) FROM votes)"),
        "rounds",
        "rounds that this run does not have: 99",
    ),
    "a checkpoint that waits for nothing": (
        lambda at: sql(
            at,
            "INSERT INTO uploads (run, sha256, stage, round, digest, size, global_samples, created_at, uploaded_by) "
            "SELECT run, sha256, 'aside', 0, digest, size, 0, 0, 'm0' FROM checkpoints",
        ),
        "waiting",
        "the checkpoint of round 0 from m0 waits",
    ),
    "another digest than the state's": (
        lambda at: sql(at, "UPDATE checkpoints SET digest = 'x'"),
        "checkpoints",
        "does not hold the state that it was accepted as",
    ),
    "a row that is none": (
        lambda at: sql(at, "INSERT INTO evaluations VALUES ('law', 1, 'd', 1.0, '{', 'm0', '[]')"),
        "database",
        "holds rows that are none",
    ),
    "a torn database": (tear_database, "database", "coordinator.sqlite"),
    "no database but a file": (
        lambda at: (at / "coordinator.sqlite").write_bytes(b"nothing" * 999) and None,
        "database",
        "is damaged",
    ),
    "a torn blob": (lambda at: overwrite(of_artefacts(at)), "blobs", "its SHA-256 is another"),
    "a blob lost": (lambda at: of_artefacts(at).unlink(), "artefacts", "is missing"),
    "a torn checkpoint": (lambda at: overwrite(of_checkpoint(at)), "checkpoints", "its SHA-256 is another"),
    "a checkpoint lost": (lambda at: of_checkpoint(at).unlink(), "checkpoints", "is missing"),
    "a checkpoint cut short": (
        lambda at: of_checkpoint(at).write_bytes(b"short") and None,
        "checkpoints",
        "has 5 bytes instead of",
    ),
    "torn artefacts": (lambda at: (at / "artefacts.json").write_text("{") and None, "artefacts", "torn"),
    "a torn spec": (lambda at: (at / "run.toml").write_text("[run") and None, "run spec", ""),
    "no certificate": (lambda at: (at / "tls.pem").unlink(), "keys", "tls.pem is missing"),
    "an empty token": (lambda at: (at / "token").write_text("") and None, "keys", "token is empty"),
    "another token": (
        lambda at: (at / "token").write_text(TOKEN[::-1]) and None,
        "keys",
        "invite is of another coordinator",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_each_damage_to_a_run_is_found_by_name(tmp_path: Path, name: str) -> None:
    damage, check, says = DAMAGES[name]
    small_run(tmp_path)
    damage(tmp_path)
    found = failed(fsck.examine(tmp_path))
    assert [item for item in found if item.name == check and says in item.says and item.remedy], found


def test_no_damage_changes_a_file_of_the_folder(tmp_path: Path) -> None:
    small_run(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    fsck.examine(tmp_path)
    assert {path: path.read_bytes() for path in before} == before


# ── a peer's folder ────────────────────────────────────────────────────────────────────────────


def small_peer(folder: Path) -> None:
    outbox = Outbox(folder / "outbox.sqlite")
    (folder / "state").mkdir(parents=True)
    outbox.open()
    outbox.put(REPORT, pb.RoundReport(round=3, digest="d").SerializeToString())
    outbox.close()
    state = folder / "state" / "round-3.safetensors"
    tensors = {"model/w": np.zeros(4, np.float32)}
    save_file(tensors, state)
    save_file(tensors, state, {"digest": state_digest(state)})
    (folder / "blobs").mkdir()
    (folder / "blobs" / "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb").write_bytes(b"a")
    (folder / "blobs" / f"{'f' * 64}.part").write_bytes(b"on its way")
    parting.left(folder, "787ceb89d39eb163", 27)
    (folder / "consent.json").write_text(json.dumps({"terms": "t", "agreed_at": 1.0, "rows": [["What", "x"]]}))


def names(checks: list[Check]) -> list[tuple[str, str]]:
    return [(check.name, check.says) for check in checks]


def test_a_peers_folder_that_is_whole_says_so(tmp_path: Path) -> None:
    small_peer(tmp_path)
    small_peer(tmp_path / "seat-1")
    checks = peer_fsck.examine(tmp_path)
    assert failed(checks) == []
    assert names(checks)[0] == ("outbox", "1 wait for the coordinator")
    assert {name for name, _ in names(checks)} == {
        *("outbox", "blobs", "states", "consent", "session"),
        *("seat-1: outbox", "seat-1: blobs", "seat-1: states", "seat-1: consent", "seat-1: session"),
    }


def put_nonsense(folder: Path, kind: str, body: bytes) -> None:
    with closing(sqlite3.connect(folder / "outbox.sqlite")) as box, box:
        box.execute("INSERT INTO outbox (kind, body) VALUES (?, ?)", (kind, body))


PEER_DAMAGES: dict[str, tuple[Damage, str]] = {
    "an item of no kind": (lambda at: put_nonsense(at, "wish", b""), "outbox"),
    "an item that is no message": (lambda at: put_nonsense(at, REPORT, b"\xff\xff"), "outbox"),
    "a torn outbox": (lambda at: overwrite(at / "outbox.sqlite"), "outbox"),
    "a torn blob": (lambda at: overwrite(next(at.glob("blobs/ca*"))), "blobs"),
    "an altered state": (lambda at: alter_last_byte(next(at.glob("state/*"))), "states"),
    "a torn state": (lambda at: overwrite(next(at.glob("state/*"))), "states"),
    "a torn consent": (lambda at: overwrite(at / "consent.json"), "consent"),
    "an empty session": (lambda at: (at / "session").write_text("") and None, "session"),
    "a torn identity": (lambda at: (at / "identity.pem").write_text("x") and None, "identity"),
}


def alter_last_byte(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")


@pytest.mark.parametrize("name", PEER_DAMAGES)
def test_each_damage_to_a_peers_folder_is_found_by_name(tmp_path: Path, name: str) -> None:
    damage, check = PEER_DAMAGES[name]
    small_peer(tmp_path)
    damage(tmp_path)
    found = failed(peer_fsck.examine(tmp_path))
    assert [item.name for item in found] == [check]
    assert found[0].remedy


# ── the command ────────────────────────────────────────────────────────────────────────────────


def test_the_command_says_what_the_folder_is_and_ends_with_0_or_12(tmp_path: Path) -> None:
    small_run(tmp_path / "run")
    small_peer(tmp_path / "peer")
    assert invoke("fsck", str(tmp_path / "peer"))[0] == 0
    code, said = invoke("fsck", str(tmp_path / "run"), "--json")
    assert (code, json.loads(said)[0]["kind"], json.loads(said)[0]["whole"]) == (0, "coordinator", True)
    of_artefacts(tmp_path / "run").unlink()
    code, said = invoke("fsck", str(tmp_path / "run"))
    assert code == CorruptError.exit_code
    assert "is missing" in said
    assert invoke("fsck", str(tmp_path))[0] == 13


def test_without_a_folder_all_of_the_machine_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARM_HOME", str(tmp_path))
    assert invoke("fsck")[0] == 13
    small_run(tmp_path / "runs" / "law")
    small_peer(tmp_path / "peers" / "other")
    code, said = invoke("fsck", "--json")
    assert (code, [item["kind"] for item in json.loads(said)]) == (0, ["coordinator", "peer"])
