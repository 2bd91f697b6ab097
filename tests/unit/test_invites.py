"""Who may call: invites, pure and in their file."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.invites import Invites, judge
from swarm.errors import CorruptError, NotFoundError, RefusedError, UsageError

DAY = 86400.0


def test_the_first_invite_is_let_in_until_it_is_revoked(tmp_path: Path) -> None:
    invites = Invites(tmp_path)
    invites.first("secret", 1.0)
    invites.first("another start", 2.0)
    assert invites.check("secret", 1e12).role == "volunteer"
    with pytest.raises(RefusedError, match="not valid"):
        invites.check("another start", 2.0)
    invites.revoke("first", 3.0)
    with pytest.raises(RefusedError, match="was revoked") as caught:
        invites.check("secret", 4.0)
    assert "new invite" in caught.value.remedy
    Invites(tmp_path).first("secret", 5.0)
    with pytest.raises(RefusedError, match="was revoked"):
        Invites(tmp_path).check("secret", 6.0)


def test_another_process_makes_and_revokes_and_a_running_one_sees_it(tmp_path: Path) -> None:
    running, command = Invites(tmp_path), Invites(tmp_path)
    running.first("secret", 0.0)
    entry, token = command.make("validator", "Ada", 2, 0.0)
    assert running.check(token, DAY).note == "Ada"
    with pytest.raises(RefusedError, match="has expired"):
        running.check(token, 2 * DAY)
    command.revoke(entry.id, DAY)
    assert command.revoke(entry.id, 2 * DAY).revoked_at == DAY
    with pytest.raises(RefusedError, match="was revoked"):
        running.check(token, DAY)
    assert running.check("secret", DAY).id == "first"


def test_tokens_are_not_in_the_file_and_it_is_private(tmp_path: Path) -> None:
    invites = Invites(tmp_path)
    _, token = invites.make("volunteer", "", 0, 0.0)
    assert token not in (tmp_path / "invites.json").read_text()
    assert stat.S_IMODE((tmp_path / "invites.json").stat().st_mode) == 0o600


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    invites = Invites(tmp_path)
    with pytest.raises(UsageError, match="no role 'king'"):
        invites.make("king", "", 1, 0.0)
    with pytest.raises(NotFoundError, match="no invite 'abc'"):
        invites.revoke("abc", 0.0)
    (tmp_path / "invites.json").write_text("[{}]")
    with pytest.raises(CorruptError, match="nobody is let in"):
        invites.check("secret", 0.0)


@given(
    made=st.lists(st.tuples(st.floats(0, 100), st.booleans()), max_size=6),
    now=st.floats(0, 200),
    asked=st.integers(0, 5),
)
def test_a_token_is_let_in_exactly_while_its_own_invite_is_valid(
    made: list[tuple[float, bool]], now: float, asked: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    invites, tokens = Invites(tmp_path_factory.mktemp("invites")), []
    for ends, revoked in made:
        entry, token = invites.make("volunteer", "", ends / DAY, 0.0)
        tokens.append(token)
        if revoked:
            invites.revoke(entry.id, 1.0)
    if asked >= len(made):
        return
    ends, revoked = made[asked]
    if not revoked and (not ends or now < invites.all()[asked].expires_at):
        assert judge(invites.all(), tokens[asked], now).id == invites.all()[asked].id
    else:
        with pytest.raises(RefusedError):
            judge(invites.all(), tokens[asked], now)
