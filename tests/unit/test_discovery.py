"""Which interfaces lead to people nearby, and what an announcement says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zeroconf import ServiceInfo

from swarm.discovery import choose, read

TYPE = "_garage-swarm._tcp.local."
GOOD = {"run": "law", "title": "Law\x1b[2J", "fp": "ab" * 16, "protocol": "1"}


def test_home_networks_are_taken_and_others_are_left_out_with_a_reason() -> None:
    choice = choose(
        {
            "lo": ["127.0.0.1", "::1"],
            "eth0": ["192.168.1.5", "fe80::1", "2001:db8::5"],
            "wlan0": ["10.0.0.7"],
            "docker0": ["172.17.0.1"],
            "br-1a2b": ["172.18.0.1"],
            "tailscale0": ["100.64.0.1"],
            "wg0": ["10.9.0.2"],
            "eth1": ["169.254.3.4"],
            "eth2": ["192.168.9.9"],
        },
        up={"lo", "eth0", "wlan0", "docker0", "br-1a2b", "tailscale0", "wg0", "eth1"},
    )
    assert choice.addresses == ("192.168.1.5", "2001:db8::5", "10.0.0.7")
    assert set(choice.left_out) == {"lo", "docker0", "br-1a2b", "tailscale0", "wg0", "eth1", "eth2"}
    assert choice.left_out["docker0"] == "of containers"
    assert choice.left_out["wg0"] == "a VPN"
    assert choice.left_out["eth2"] == "it is down"


def announcement(facts: dict[str, str], address: str = "192.168.1.5", port: int = 7700) -> ServiceInfo:
    return ServiceInfo(TYPE, f"x.{TYPE}", port=port, properties=facts, parsed_addresses=[address])


def test_a_run_is_read_with_and_without_its_invite() -> None:
    closed = read(announcement(GOOD))
    assert closed
    assert (closed.run, closed.host, closed.port, closed.open) == ("law", "192.168.1.5", 7700, False)
    assert closed.title == "Law[2J", "no control characters reach the terminal"
    found = read(announcement({**GOOD, "token": "secret"}, "2001:db8::5"))
    assert found
    assert found.invite
    assert str(found.invite) == f"swarm://[2001:db8::5]:7700/law?fp={'ab' * 16}&token=secret"


@pytest.mark.parametrize("change", [{"protocol": "99"}, {"run": "../etc"}, {"fp": "short"}, {"token": "a b"}])
def test_nonsense_is_nothing(change: dict[str, str]) -> None:
    assert read(announcement({**GOOD, **change})) is None


@given(st.dictionaries(st.sampled_from([*GOOD, "token"]), st.text(max_size=40)))
def test_whatever_is_sent_is_read_or_left(facts: dict[str, str]) -> None:
    found = read(announcement({**GOOD, **facts}))
    assert found is None or found.title.isprintable()
