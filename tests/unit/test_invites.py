"""Invites at the coordinator: who gets in, who does not any more, and why."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator import decisions as d
from coordinator import events as e
from coordinator.invites import admitted, hashed, require
from coordinator.records import IssuedInvite
from coordinator.state import State
from coordinator.tick import tick
from swarm.errors import InviteExpiredError, InviteRevokedError, InviteUnknownError, RefusedError
from swarm.passes import Role
from tests.histories import fresh

moments = st.floats(0, 2e9)


def issued(token: str, role: Role = Role.VOLUNTEER, expires: float = 0.0) -> IssuedInvite:
    return IssuedInvite(hashed(token), role, 100.0, expires, note=f"for {token}")


def run(state: State, *events: e.Event, now: float = 1000.0) -> tuple[State, list[d.Decision]]:
    return tick(state, events, now, seed=1)


def with_invites(*tokens: str) -> State:
    return run(fresh(), *(e.MakeInvite(issued(token)) for token in tokens))[0]


def refusal(state: State, token: str, now: float = 1000.0) -> str:
    with pytest.raises(RefusedError) as caught:
        admitted(state.invites, token, now)
    assert caught.value.remedy
    return caught.value.code


@given(st.lists(st.text(min_size=1), unique=True, min_size=2), moments)
def test_whoever_has_a_token_gets_in_and_nobody_else(tokens: list[str], now: float) -> None:
    stranger, *known = tokens
    invites = {found.id: found for found in map(issued, known)}
    assert [admitted(invites, token, now).note for token in known] == [f"for {token}" for token in known]
    with pytest.raises(InviteUnknownError):
        admitted(invites, stranger, now)


@given(st.floats(1, 2e9), moments)
def test_an_invite_is_good_until_its_last_moment(expires: float, now: float) -> None:
    invites = {issued("t").id: issued("t", expires=expires)}
    if now < expires:
        assert admitted(invites, "t", now).expires_at == expires
    else:
        with pytest.raises(InviteExpiredError, match=r"expired on \d{4}"):
            admitted(invites, "t", now)


def test_a_token_whose_id_is_another_ones_is_unknown() -> None:
    other = IssuedInvite(hashed("t")[:8] + "0" * 56, Role.VOLUNTEER, 0.0)
    with pytest.raises(InviteUnknownError):
        admitted({other.id: other}, "t", 0.0)


def test_a_revoked_invite_lets_nobody_in_and_ends_its_members_only() -> None:
    state = with_invites("anna", "ben")
    ids = {token: issued(token).id for token in ("anna", "ben")}
    state, _ = run(state, *(e.Join(who, b"k" * 32, who, "1", invite=ids[who]) for who in ids), e.TakeLease("anna", 8))
    state, made = run(state, e.RevokeInvite(ids["anna"]))
    assert {who: member.live for who, member in state.members.items()} == {"anna": False, "ben": True}
    assert [type(item) for item in made] == [d.InviteRevoked, d.MemberLeft, d.LeaseExpired]
    assert "its invite was revoked" in str(made[1])
    assert refusal(state, "anna") == InviteRevokedError.code
    assert admitted(state.invites, "ben", 1000.0).id == ids["ben"]
    assert run(state, e.RevokeInvite(ids["anna"]), now=1001.0) == (state, [])


def test_the_same_invite_made_again_changes_nothing_not_even_a_revocation() -> None:
    state, _ = run(with_invites("anna"), e.RevokeInvite(issued("anna").id))
    assert run(state, e.MakeInvite(issued("anna"))) == (state, [])


def test_each_refusal_has_a_code_of_its_own() -> None:
    state, _ = run(with_invites("anna"), e.RevokeInvite(issued("anna").id), e.MakeInvite(issued("old", expires=5.0)))
    codes = [refusal(state, token) for token in ("anna", "old", "never made")]
    assert codes == ["INVITE_REVOKED", "INVITE_EXPIRED", "INVITE_UNKNOWN"]


@pytest.mark.parametrize("role", list(Role))
def test_only_maintainers_maintain(role: Role) -> None:
    if role is Role.MAINTAINER:
        require(issued("t", role), Role.MAINTAINER)
        return
    with pytest.raises(RefusedError, match=f"for a {role}"):
        require(issued("t", role), Role.MAINTAINER)
