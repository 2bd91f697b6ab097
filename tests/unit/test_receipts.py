"""Receipts are the coordinator's word: verified without it, and nothing can be altered or added."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate, load_pem_x509_certificate
from typer.testing import CliRunner

from swarm import paths, receipts
from swarm.cli import app
from swarm.errors import CorruptError
from swarm.identity import ServerCertificate, server_certificate
from swarm.invite import Invite
from swarm.proto import coordinator_pb2 as pb


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> ServerCertificate:
    return server_certificate(tmp_path_factory.mktemp("own"))


def receipt(round_: int, counted: int = 8, rejected: int = 0, lineage: int = 0) -> pb.RoundReceipt:
    parts = [pb.Receipt(round=round_, range=pb.Range(start=0, stop=counted), counted=True)]
    if rejected:
        late = pb.Range(start=counted, stop=counted + rejected)
        parts.append(pb.Receipt(round=round_, range=late, why="late by 4 s"))
    return pb.RoundReceipt(run="run", member_id="ab", round=round_, digest="d" * 64, lineage=lineage, parts=parts)


@pytest.fixture
def book(own: ServerCertificate, tmp_path: Path) -> Path:
    """Two rounds, kept one after the other."""
    path = tmp_path / receipts.FILE
    for one in (receipt(0), receipt(1, rejected=4)):
        receipts.keep(path, own.certificate_pem, [receipts.signed(one, own)])
    return path


def test_they_prove_what_counted(book: Path, own: ServerCertificate) -> None:
    found = receipts.verified(book, own.fingerprint)
    assert [one.round for one in found.found] == [0, 1]
    assert [receipts.samples(one, counted=True) for one in found.found] == [8, 8]
    assert receipts.samples(found.found[1], counted=False) == 4
    assert receipts.why(found.found[1]) == "late by 4 s"


def test_the_newest_word_on_a_round_counts(book: Path, own: ServerCertificate) -> None:
    """A report whose answer was lost is sent, and answered, again."""
    again = receipt(1, counted=12)
    receipts.keep(book, own.certificate_pem, [receipts.signed(again, own), receipts.signed(receipt(1, lineage=1), own)])
    found = receipts.verified(book).found
    assert [(one.round, one.lineage) for one in found] == [(0, 0), (1, 0), (1, 1)]
    assert receipts.samples(found[1], counted=True) == 12


def test_what_another_signed_or_altered_is_refused_by_its_line(book: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = server_certificate(tmp_path / "other")
    with pytest.raises(CorruptError, match="line 1: it is of another coordinator"):
        receipts.verified(book, other.fingerprint)
    lines = book.read_text().splitlines()
    said = json.loads(lines[2])
    forged = receipts.signed(receipt(1, counted=800), other)
    said["receipt"] = json.loads(lines[1])["receipt"]
    book.write_text("\n".join([*lines[:2], json.dumps(said), lines[2]]) + "\n")
    with pytest.raises(CorruptError, match="line 3: the run's coordinator did not sign it"):
        receipts.verified(book)
    book.write_text("\n".join(lines[:2]) + "\n")
    receipts.keep(book, b"", [forged])
    with pytest.raises(CorruptError, match="line 3: the run's coordinator did not sign it"):
        receipts.verified(book)


def test_a_line_that_a_crash_cut_off_costs_that_receipt_only(book: Path, own: ServerCertificate) -> None:
    whole = book.read_text()
    for end in range(whole.index("\n") + 1, len(whole)):
        book.write_text(whole[:end])
        receipts.keep(book, own.certificate_pem, [receipts.signed(receipt(7), own)])
        assert receipts.verified(book).found[-1].round == 7


def test_a_pass_or_a_handover_is_no_receipt(book: Path, own: ServerCertificate) -> None:
    """What the coordinator signs for other ends counts for nothing here."""
    words = receipt(3).SerializeToString(deterministic=True)
    receipts.keep(book, b"", [pb.SignedReceipt(receipt=words, signature=own.sign(words))])
    with pytest.raises(CorruptError, match="did not sign it"):
        receipts.verified(book)


def test_a_certificate_with_a_key_of_a_kind_that_nobody_knows_proves_nothing(book: Path) -> None:
    """Fuzzing found one whose curve was altered."""
    lines = book.read_text().splitlines()
    der = bytearray(load_pem_x509_certificate(json.loads(lines[0])["certificate"].encode()).public_bytes(Encoding.DER))
    curve = bytes.fromhex("06082a8648ce3d030107")  # prime256v1
    at = der.index(curve)
    der[at + len(curve) - 1] = 1
    pem = load_der_x509_certificate(bytes(der)).public_bytes(Encoding.PEM).decode()
    book.write_text("\n".join([json.dumps({"certificate": pem}), *lines[1:]]) + "\n")
    with pytest.raises(CorruptError, match="did not sign it"):
        receipts.verified(book)


def test_a_certificate_of_a_version_that_nobody_knows_proves_nothing(book: Path) -> None:
    """Fuzzing found it, too: that is no ValueError."""
    lines = book.read_text().splitlines()
    der = load_pem_x509_certificate(json.loads(lines[0])["certificate"].encode()).public_bytes(Encoding.DER)
    version = bytes.fromhex("a003020102")  # 3
    assert der.count(version) == 1
    altered = base64.encodebytes(der.replace(version, bytes.fromhex("a003020135"))).decode()
    pem = f"-----BEGIN CERTIFICATE-----\n{altered}-----END CERTIFICATE-----\n"
    book.write_text("\n".join([json.dumps({"certificate": pem}), *lines[1:]]) + "\n")
    with pytest.raises(CorruptError, match="does not begin with a coordinator's certificate"):
        receipts.verified(book)


def test_the_commands_show_and_verify(
    book: Path, own: ServerCertificate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SWARM_HOME", str(tmp_path))
    paths.peer_dir("run").mkdir(parents=True)
    book.rename(paths.peer_dir("run") / receipts.FILE)
    shown = CliRunner().invoke(app, ["receipts", "show", "run"])
    assert "16 samples counted in 2 rounds, 4 did not." in shown.output
    invite = str(Invite("h", 1, "run", own.fingerprint, "t" * 43))
    proven = CliRunner().invoke(app, ["receipts", "verify", "run", "--invite", invite])
    assert "2 receipts are genuine; 16 samples counted, 4 did not." in proven.output
    assert "fingerprint" not in proven.output
    facts = json.loads(CliRunner().invoke(app, ["receipts", "verify", "run", "--json"]).output)
    assert facts[0]["counted"] == 16
