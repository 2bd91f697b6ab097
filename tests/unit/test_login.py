"""Logging in: nobody joins with another's key, no answer counts twice, and challenges take no more than their room."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator import login
from coordinator.login import Login
from coordinator.records import IssuedInvite, Member
from swarm import passes
from swarm.errors import LoginError, UsageError
from swarm.identity import Identity, ServerCertificate, server_certificate
from swarm.passes import Authority, Role
from swarm.proto import coordinator_pb2 as pb

ANNA, BEN = (Identity.from_seed(letter * 32) for letter in (b"a", b"b"))
NOW = 1_700_000_000.0
SESSION = "one"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ServerCertificate:
    folder: Path = tmp_path_factory.mktemp("coordinator")
    return server_certificate(folder)


class Desk:
    """A login whose clock is set by hand, and who asks there."""

    def __init__(self, certificate: ServerCertificate) -> None:
        self.now = NOW
        self.certificate = certificate
        self.login = Login("run", certificate, lambda: self.now)

    def answer(self, who: Identity = ANNA, nonce: bytes = b"", seat: int = 0) -> pb.JoinRequest:
        nonce = nonce or self.login.challenge(who.public_key)
        words = passes.answer("run", self.certificate.fingerprint, nonce, seat, SESSION)
        return pb.JoinRequest(public_key=who.public_key, seat=seat, nonce=nonce, signature=who.sign(words))

    def refuses(self, request: pb.JoinRequest, session: str = SESSION) -> None:
        with pytest.raises(LoginError, match="has the key"):
            self.login.require(request, session)


@pytest.fixture
def desk(certificate: ServerCertificate) -> Desk:
    return Desk(certificate)


def test_who_has_the_key_gets_in_once(desk: Desk) -> None:
    request = desk.answer()
    desk.login.require(request, SESSION)
    desk.refuses(request)


def test_a_challenge_is_answered_within_a_minute(desk: Desk) -> None:
    in_time, late = desk.answer(), desk.answer()
    desk.now += login.LIFE
    desk.login.require(in_time, SESSION)
    desk.now += 0.1
    desk.refuses(late)


def test_nobody_joins_with_anothers_key(desk: Desk) -> None:
    for_ben = desk.login.challenge(BEN.public_key)
    stolen = desk.answer(ANNA)
    stolen.public_key = BEN.public_key
    desk.refuses(stolen)
    forged = desk.answer(ANNA, for_ben)
    forged.public_key = BEN.public_key
    desk.refuses(forged)
    desk.refuses(desk.answer(ANNA, desk.login.challenge(BEN.public_key)))


def test_an_answer_is_for_one_seat_and_one_process(desk: Desk) -> None:
    elsewhere = desk.answer(seat=1)
    elsewhere.seat = 2
    desk.refuses(elsewhere)
    desk.refuses(desk.answer(), "another")


@settings(deadline=None)
@given(nonce=st.binary(max_size=40), signature=st.binary(max_size=70), key=st.binary(max_size=40))
def test_no_bytes_are_an_answer_by_chance(
    nonce: bytes, signature: bytes, key: bytes, certificate: ServerCertificate
) -> None:
    Desk(certificate).refuses(pb.JoinRequest(public_key=key, nonce=nonce, signature=signature))


def test_challenges_are_bounded_and_the_oldest_go_first(desk: Desk) -> None:
    first, second = desk.answer(), desk.answer()
    for _ in range(login.MOST - 1):
        desk.login.challenge(BEN.public_key)
    desk.refuses(first)
    desk.login.require(second, SESSION)


def test_a_key_has_32_bytes(desk: Desk) -> None:
    with pytest.raises(UsageError, match="32 bytes"):
        desk.login.challenge(b"short")


MEMBER = Member("ab", "anna", ANNA.public_key, "1", NOW)


def opened(desk: Desk, invite: IssuedInvite, probation: bool = False) -> pb.Pass:
    found = passes.opened(
        desk.login.issue(MEMBER, b"node", invite, probation), Authority.of("run", desk.certificate.certificate_pem)
    )
    assert found
    return found


def test_a_pass_says_who_was_let_in_with_what(desk: Desk) -> None:
    invite = IssuedInvite("c0ffee42" * 8, Role.VALIDATOR, NOW)
    assert opened(desk, invite) == pb.Pass(
        run="run",
        member="ab",
        public_key=ANNA.public_key,
        peer_id=b"node",
        role="validator",
        invite="c0ffee42",
        issued_at=NOW,
        expires_at=NOW + passes.LIFETIME,
        since=NOW,
    )


def test_a_pass_says_that_its_member_is_on_probation(desk: Desk) -> None:
    assert opened(desk, IssuedInvite("0" * 64, Role.VOLUNTEER, NOW), probation=True).probation


def test_a_node_is_as_old_as_its_first_pass_and_nobody_can_make_it_older(desk: Desk) -> None:
    """Who leads goes by it: a member that was started anew has a new node, and others are senior to it."""
    invite = IssuedInvite("c0ffee42" * 8, Role.VOLUNTEER, 0.0)

    def since(after: float, peer_id: bytes, earlier: bytes) -> float:
        desk.now = NOW + after
        issued = desk.login.issue(MEMBER, peer_id, invite, earlier=earlier)
        return passes.opened(issued, desk.login._authority).since  # type: ignore[union-attr]

    desk.now = NOW
    first = desk.login.issue(MEMBER, b"node", invite)
    assert since(300, b"node", first) == NOW
    assert since(300, b"node", b"") == since(300, b"other", first) == since(300, b"node", first[:-1]) == NOW + 300
    assert since(passes.LIFETIME + 61, b"node", first) == NOW + passes.LIFETIME + 61


def test_a_pass_ends_with_its_invite(desk: Desk) -> None:
    invite = IssuedInvite("c0ffee42" * 8, Role.VOLUNTEER, NOW, expires_at=NOW + 5)
    assert opened(desk, invite).expires_at == NOW + 5


@pytest.mark.parametrize("peer_id", [b"", bytes(65)])
def test_a_pass_is_for_a_node(desk: Desk, peer_id: bytes) -> None:
    with pytest.raises(UsageError, match="peer id"):
        desk.login.issue(MEMBER, peer_id, IssuedInvite("0" * 64, Role.VOLUNTEER, NOW), False)
