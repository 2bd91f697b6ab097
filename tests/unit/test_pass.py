"""Passes: only the run's coordinator makes them, and they end unless the coordinator cannot be heard."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm import passes
from swarm.identity import ServerCertificate, server_certificate
from swarm.passes import Authority
from swarm.proto import coordinator_pb2 as pb

NOW = 1_700_000_000.0
PASS = pb.Pass(run="run", member="ab", public_key=b"k" * 32, peer_id=b"p", issued_at=NOW, expires_at=NOW + 900)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> list[ServerCertificate]:
    def made(name: str) -> ServerCertificate:
        folder: Path = tmp_path_factory.mktemp(name)
        return server_certificate(folder)

    return [made("own"), made("other")]


def authority(certificate: ServerCertificate, run: str = "run") -> Authority:
    return Authority.of(run, certificate.certificate_pem)


def test_a_pass_says_what_the_coordinator_signed(certificates: list[ServerCertificate]) -> None:
    own, other = certificates
    data = passes.signed(PASS, own)
    assert passes.opened(data, authority(own)) == PASS
    assert passes.opened(data, authority(other)) is None
    assert passes.opened(data, authority(own, "another-run")) is None
    assert len(data) < passes.LARGEST


def test_a_pass_that_was_altered_is_none(certificates: list[ServerCertificate]) -> None:
    own, _ = certificates
    data = passes.signed(PASS, own)
    forged = pb.SignedPass.FromString(data)
    changed = pb.Pass.FromString(getattr(forged, "pass"))
    changed.member = "cd"
    altered = pb.SignedPass(**{"pass": changed.SerializeToString(), "signature": forged.signature})
    assert passes.opened(altered.SerializeToString(), authority(own)) is None
    assert passes.opened(bytes(passes.LARGEST + 1), authority(own)) is None


@settings(deadline=None)
@given(data=st.binary(max_size=2 * passes.LARGEST))
def test_no_bytes_are_a_pass_by_chance(data: bytes, certificates: list[ServerCertificate]) -> None:
    assert passes.opened(data, authority(certificates[0])) is None


def test_it_ends_for_who_hears_the_coordinator_and_counts_on_for_who_does_not() -> None:
    late = NOW + 900 + 3600
    assert not passes.expired(PASS, NOW + 899, heard_at=NOW + 899)
    assert passes.expired(PASS, late, heard_at=late)
    assert not passes.expired(PASS, late, heard_at=NOW + 600)


def test_a_login_is_for_one_coordinator_run_seat_and_session() -> None:
    words = passes.answer("run", "fp", b"nonce", 0, "session")
    others = [
        passes.answer("runf", "p", b"nonce", 0, "session"),
        passes.answer("run", "fp", b"nonce", 1, "session"),
        passes.answer("run", "fp", b"nonce0", 0, "session"),
        passes.answer("run", "fp", b"nonce", 0, "other"),
    ]
    assert words not in others
