"""Bans: of a key in all its seats, until they are lifted; others hear whom to drop as long as a pass might count."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator import bans
from coordinator import decisions as d
from coordinator import events as e
from coordinator.invites import hashed
from coordinator.membership import require
from coordinator.records import IssuedInvite, Pulse
from coordinator.state import State
from coordinator.tick import tick
from swarm.errors import BannedError, NotFoundError, RefusedError, UsageError
from swarm.identity import SEATS, member_id
from swarm.passes import Role
from tests.histories import fresh

NOW = 1_700_000_000.0
ANNA, BEN = (member_id(letter * 32) for letter in (b"a", b"b"))
SECOND = member_id(b"a" * 32, 1)
INVITE = IssuedInvite(hashed("t"), Role.VOLUNTEER, NOW)
MEANT = e.Ban(ANNA, "anna", "sends nonsense")


def join(member: str, key: bytes, name: str = "") -> e.Join:
    return e.Join(member, key * 32, name or member, "1", invite=INVITE.id, session=f"s{member}")


def run(state: State, *events: e.Event, now: float = NOW) -> tuple[State, list[d.Decision]]:
    return tick(state, events, now, seed=1)


def together() -> State:
    """Two seats of Anna's, and Ben."""
    events = [join(ANNA, b"a", "anna"), join(SECOND, b"a", "anna"), join(BEN, b"b", "ben")]
    return run(fresh(), e.MakeInvite(INVITE), *events)[0]


def test_a_ban_ends_all_seats_of_a_key_and_frees_what_they_were_lent() -> None:
    state, _ = run(together(), e.TakeLease(SECOND, 8, f"s{SECOND}"), e.TakeLease(BEN, 8, f"s{BEN}"))
    state, made = run(state, MEANT)
    assert {member.id for member in state.live} == {BEN}
    assert [type(item) for item in made] == [d.MemberBanned, d.MemberLeft, d.MemberLeft, d.LeaseExpired]
    assert "banned: sends nonsense" in str(made[1])
    assert {lease.member for lease in state.ledger.leases.values()} == {BEN}
    assert run(state, MEANT, now=NOW + 1) == (state, [])


@given(st.integers(0, SEATS - 1))
def test_no_seat_of_a_banned_key_gets_in_and_it_hears_why(seat: int) -> None:
    state, _ = run(together(), MEANT)
    member = member_id(b"a" * 32, seat)
    for event in (join(member, b"a"), e.Heartbeat(member, Pulse(), f"s{member}")):
        after, [refused] = run(state, event)
        assert after == state
        assert isinstance(refused, d.Refused)
        assert refused.code == BannedError.code
        assert "sends nonsense" in refused.what
    with pytest.raises(BannedError, match="sends nonsense"):
        require(state, member, f"s{member}", INVITE.id)


def test_a_lifted_ban_lets_it_in_again() -> None:
    state, _ = run(together(), MEANT)
    state, made = run(state, e.Unban(ANNA))
    assert [type(item) for item in made] == [d.MemberUnbanned]
    assert bans.barred(state, NOW) == []
    state, [joined] = run(state, join(ANNA, b"a"))
    assert isinstance(joined, d.MemberJoined)
    assert run(state, e.Unban(ANNA)) == (state, [])


def test_others_hear_whom_to_drop_as_long_as_a_pass_might_count() -> None:
    state, _ = run(together(), MEANT)
    assert bans.barred(state, NOW) == bans.barred(state, NOW + bans.LIVES - 1) == sorted([ANNA, SECOND])
    assert bans.barred(state, NOW + bans.LIVES) == []


def test_who_was_gone_long_before_its_ban_has_no_pass() -> None:
    state, _ = run(together(), e.Leave(ANNA, "tired", f"s{ANNA}"))
    state, _ = run(state, *(e.Heartbeat(key, Pulse(), f"s{key}") for key in (SECOND, BEN)), now=NOW + 5)
    state, _ = run(state, MEANT, now=NOW + 5)
    assert bans.barred(state, NOW + bans.LIVES) == [SECOND]


def test_a_revoked_invite_bars_its_members_until_they_come_with_another() -> None:
    other = IssuedInvite(hashed("other"), Role.VOLUNTEER, NOW)
    state, _ = run(together(), e.RevokeInvite(INVITE.id), e.MakeInvite(other))
    assert bans.barred(state, NOW) == sorted([ANNA, SECOND, BEN])
    state, _ = run(state, e.Join(BEN, b"b" * 32, "ben", "1", invite=other.id, session="new"))
    assert bans.barred(state, NOW) == sorted([ANNA, SECOND])


def test_a_member_speaks_with_the_invite_that_let_it_in() -> None:
    state = together()
    assert require(state, BEN, f"s{BEN}", INVITE.id).name == "ben"
    with pytest.raises(RefusedError, match="another invite"):
        require(state, BEN, f"s{BEN}", "c0ffee42")


def test_a_member_is_meant_by_id_its_beginning_or_its_name() -> None:
    state = together()
    for text in (ANNA, ANNA[:4], SECOND, "anna"):
        assert bans.member_named(state, text) == (ANNA, "anna")
    with pytest.raises(NotFoundError, match="no member 'nobody'"):
        bans.member_named(state, "nobody")
    with pytest.raises(NotFoundError):
        bans.member_named(state, ANNA[:3])


def test_a_name_never_decides_over_somebody_else() -> None:
    """Names are the members' own: a liar takes the name, or the id, of somebody else."""
    liar = member_id(b"c" * 32)
    for name in ("anna", ANNA[:6], ANNA):
        state, _ = run(together(), join(liar, b"c", name))
        if name == ANNA:
            assert bans.member_named(state, name)[0] == ANNA
            continue
        with pytest.raises(UsageError, match=f"{ANNA}.*{liar}|{liar}.*{ANNA}"):
            bans.member_named(state, name)
    assert bans.member_named(state, liar)[0] == liar


def test_a_ban_is_meant_like_a_member() -> None:
    state, _ = run(together(), MEANT)
    assert [bans.ban_named(state, text) for text in (ANNA, ANNA[:5], "anna")] == [ANNA] * 3
    with pytest.raises(NotFoundError, match="no ban"):
        bans.ban_named(state, "ben")
