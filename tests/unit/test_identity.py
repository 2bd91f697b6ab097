"""Keys and certificates: made once, kept private, refused when damaged."""

from __future__ import annotations

import hashlib
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from swarm.errors import CorruptError, UsageError
from swarm.identity import Identity, member_id, server_certificate
from swarm.phrase import identity_of, phrase_of


def test_an_identity_is_made_once(tmp_path: Path) -> None:
    first = Identity.load_or_create(tmp_path / "new" / "folder")
    again = Identity.load_or_create(tmp_path / "new" / "folder")
    assert first.public_key == again.public_key
    assert len(first.public_key) == 32
    assert first.member_id == member_id(first.public_key) == hashlib.sha256(first.public_key).hexdigest()[:16]
    assert Identity.load_or_create(tmp_path).member_id != first.member_id


def test_private_files_are_private_and_alone(tmp_path: Path) -> None:
    Identity.load_or_create(tmp_path)
    server_certificate(tmp_path)
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {
        "identity.pem": 0o600,
        "tls.pem": 0o600,
    }


def test_many_at_once_agree_on_one_identity(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: Identity.load_or_create(tmp_path).member_id, range(16)))
    assert len(set(found)) == 1


def test_a_certificate_is_made_once_and_names_its_fingerprint(tmp_path: Path) -> None:
    first = server_certificate(tmp_path)
    assert server_certificate(tmp_path) == first
    certificate = x509.load_pem_x509_certificate(first.certificate_pem)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["garage-swarm"]
    der = certificate.public_bytes(Encoding.DER)
    assert first.fingerprint == hashlib.sha256(der).hexdigest()[:32]
    assert b"PRIVATE KEY" in first.key_pem
    assert b"PRIVATE KEY" not in first.certificate_pem


@pytest.mark.parametrize("content", [b"", b"torn", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_damaged_files_are_refused_by_name(tmp_path: Path, content: bytes) -> None:
    for name in ("identity.pem", "tls.pem"):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CorruptError, match=r"identity\.pem"):
        Identity.load_or_create(tmp_path)
    with pytest.raises(CorruptError, match=r"tls\.pem"):
        server_certificate(tmp_path)


def test_a_key_of_the_wrong_kind_is_refused(tmp_path: Path) -> None:
    server_certificate(tmp_path)
    (tmp_path / "identity.pem").write_bytes((tmp_path / "tls.pem").read_bytes())
    with pytest.raises(CorruptError):
        Identity.load_or_create(tmp_path)


def test_a_certificate_of_another_key_is_refused(tmp_path: Path) -> None:
    ours, theirs = server_certificate(tmp_path / "a"), server_certificate(tmp_path / "b")
    (tmp_path / "a" / "tls.pem").write_bytes(ours.key_pem + theirs.certificate_pem)
    with pytest.raises(CorruptError):
        server_certificate(tmp_path / "a")


def test_seats_of_a_key_are_members_of_their_own() -> None:
    key = b"k" * 32
    ids = [member_id(key, seat) for seat in range(64)]
    assert len(set(ids)) == 64
    assert (ids[0], ids[2]) == (member_id(key), f"{member_id(key)}-2")
    with pytest.raises(UsageError, match="there is no seat 64"):
        member_id(key, 64)


def test_one_identity_for_all_runs_unless_a_folder_has_its_own(tmp_path: Path) -> None:
    home = tmp_path / "home"
    old = Identity.load_or_create(tmp_path / "old")
    assert Identity.of(tmp_path / "old", home).public_key == old.public_key
    shared = Identity.of(tmp_path / "new", home)
    assert Identity.of(tmp_path / "newer", home).public_key == shared.public_key != old.public_key
    assert not (tmp_path / "new" / "identity.pem").exists()


SEEDS = st.binary(min_size=32, max_size=32)


@given(SEEDS)
def test_the_words_are_the_identity(seed: bytes) -> None:
    identity = Identity.from_seed(seed)
    phrase = phrase_of(identity)
    assert len(phrase.split()) == 24
    assert identity_of(f"  {phrase.upper()} ").public_key == identity.public_key


def test_the_words_are_those_of_the_standard() -> None:
    """Trezor's vectors for BIP-39."""
    assert phrase_of(Identity.from_seed(bytes(32))) == "abandon " * 23 + "art"
    assert phrase_of(Identity.from_seed(b"\xff" * 32)) == "zoo " * 23 + "vote"


@given(SEEDS, st.integers(0, 23))
def test_a_wrong_word_is_named(seed: bytes, place: int) -> None:
    words = phrase_of(Identity.from_seed(seed)).split()
    words[place] = "garagen"
    with pytest.raises(UsageError, match=f"number {place + 1}\\."):
        identity_of(" ".join(words))


@pytest.mark.parametrize(("phrase", "why"), [("", "are 0"), ("abandon " * 23, "are 23"), ("abandon " * 24, "checksum")])
def test_words_that_are_no_backup(phrase: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        identity_of(phrase)
