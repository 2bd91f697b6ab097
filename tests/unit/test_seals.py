"""A sealed update is of its member, run, round, state, payload and sample count, and of nothing else."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from peer.seals import Claim, Notary, nonce_of, signer_of
from swarm.identity import Identity, member_id
from swarm.proto import exchange_pb2 as pb

ONE, OTHER = (Identity.from_seed(hashlib.sha256(name).digest()) for name in (b"one", b"other"))
NOTARY = Notary("run", signer_of(ONE), 100)
CLAIM = Claim(3, "d" * 64, "p" * 64, 8, ONE.member_id, b"peer")


def test_an_honest_update_is_accepted_also_of_another_seat() -> None:
    assert NOTARY.objection(CLAIM, NOTARY.seal(CLAIM)) == ""
    seat = replace(CLAIM, member=member_id(ONE.public_key, 2))
    assert NOTARY.objection(seat, NOTARY.seal(seat)) == ""


@pytest.mark.parametrize(
    "change",
    [
        {"round": 4},
        {"digest": "e" * 64},
        {"payload": "q" * 64},
        {"samples": 9},
        {"peer_id": b"thief"},
        {"client_mode": True},
    ],
    ids=str,
)
def test_a_seal_is_of_one_claim_only(change: dict[str, Any]) -> None:
    """So a stale or replayed update is refused, and one whose sample count was changed on the way."""
    assert "signature" in NOTARY.objection(replace(CLAIM, **change), NOTARY.seal(CLAIM))


def test_nobody_speaks_for_another_member_or_run() -> None:
    forged = Notary("run", signer_of(OTHER), 100).seal(CLAIM)
    assert "not that of" in NOTARY.objection(CLAIM, forged)
    assert "signature" in NOTARY.objection(CLAIM, Notary("other", signer_of(ONE), 100).seal(CLAIM))
    stolen = pb.Seal.FromString(forged)
    stolen.public_key = ONE.public_key
    assert "signature" in NOTARY.objection(CLAIM, stolen.SerializeToString())


@pytest.mark.parametrize("samples", [101, 10**9, 2**64 - 1])
def test_more_samples_than_anybody_makes_are_refused(samples: int) -> None:
    claim = replace(CLAIM, samples=samples)
    assert "at most" in NOTARY.objection(claim, NOTARY.seal(claim))


@pytest.mark.parametrize("seal", [b"", b"\xff\xff", pb.Seal(public_key=b"short", nonce=bytes(16)).SerializeToString()])
def test_nonsense_is_no_seal(seal: bytes) -> None:
    assert NOTARY.objection(CLAIM, seal) == "it is not signed"


def test_every_seal_has_a_nonce_of_its_own() -> None:
    assert nonce_of(NOTARY.seal(CLAIM)) != nonce_of(NOTARY.seal(CLAIM))
    assert nonce_of(b"\xff\xff") == b""


def test_a_reducer_signs_for_one_group_and_never_in_place_of_an_update() -> None:
    seal, signature = NOTARY.seal(CLAIM), NOTARY.sign_share(b"group", "a" * 64)
    assert NOTARY.made(b"group", "a" * 64, signature, seal)
    assert not NOTARY.made(b"other", "a" * 64, signature, seal)
    assert not NOTARY.made(b"group", "b" * 64, signature, seal)
    assert not NOTARY.made(b"group", "a" * 64, signature, b"")
