"""Invites: written, read back, and refused in words that say what is wrong."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.errors import InviteError
from swarm.invite import Invite

FINGERPRINT = "0123456789abcdef0123456789abcdef"
GOOD = f"swarm://example.org:7700/legal-en-de?fp={FINGERPRINT}&token=abc_-123"

hosts = st.one_of(
    st.from_regex(r"[a-z][a-z0-9-]{0,20}(\.[a-z0-9]{1,8}){0,3}", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
)


@given(
    host=hosts,
    port=st.integers(1, 65535),
    run=st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True),
    fingerprint=st.text("0123456789abcdef", min_size=32, max_size=32),
    token=st.text(string.ascii_letters + string.digits + string.punctuation, min_size=1),
)
def test_text_and_back_is_the_same_invite(host: str, port: int, run: str, fingerprint: str, token: str) -> None:
    invite = Invite(host, port, run, fingerprint, token)
    assert Invite.parse(str(invite)) == invite
    assert Invite.parse(f"  {invite}\n") == invite


def test_ipv6_is_in_brackets() -> None:
    invite = Invite("fe80::1", 7700, "r", FINGERPRINT, "t")
    assert str(invite).startswith("swarm://[fe80::1]:7700/r?")
    assert invite.address == "[fe80::1]:7700"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "starts with swarm://"),
        ("https://example.org", "starts with swarm://"),
        (GOOD.replace("example.org", ""), "no host"),
        (GOOD.replace("example.org", "[fe80::1"), "cannot be read"),
        (GOOD.replace(":7700", ""), "port is missing"),
        (GOOD.replace("7700", "77000"), "port is missing"),
        (GOOD.replace("7700", "x"), "port is missing"),
        (GOOD.replace("7700", "0"), "port is missing"),
        (GOOD.replace("legal-en-de", ""), "no run"),
        (GOOD.replace("legal-en-de", "Legal"), "run is damaged"),
        (GOOD.replace(FINGERPRINT, ""), "no fingerprint"),
        (GOOD.replace(FINGERPRINT, "abc"), "fingerprint (fp=…) is damaged"),
        (GOOD.partition("&")[0], "no token"),  # what a shell makes of an invite without quotes
        (GOOD.replace("abc_-123", "täken"), "token (token=…) is damaged"),
    ],
)
def test_refused(text: str, expected: str) -> None:
    with pytest.raises(InviteError) as caught:
        Invite.parse(text)
    assert expected in caught.value.what
    assert "quotes" in caught.value.remedy


@given(st.text())
def test_any_text_is_an_invite_or_an_invite_error(text: str) -> None:
    for candidate in (text, f"swarm://{text}", GOOD + text):
        try:
            Invite.parse(candidate)
        except InviteError:
            continue
