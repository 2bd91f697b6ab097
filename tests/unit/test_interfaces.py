"""Which interfaces lead to the local network: never those of containers, virtual machines and VPNs."""

from __future__ import annotations

from ipaddress import ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.interfaces import Choice, Interface, choose, here, near

LAN = frozenset(["up", "broadcast", "running", "multicast"])


def interface(name: str, *addresses: str, up: bool = True, flags: frozenset[str] = LAN) -> Interface:
    return Interface(name, tuple(map(ip_interface, addresses)), up, flags)


def choice(name: str, *addresses: str, up: bool = True, flags: frozenset[str] = LAN) -> Choice:
    return choose([interface(name, *addresses, up=up, flags=flags)])[0]


@pytest.mark.parametrize("name", ["eth0", "enp3s0", "wlan0", "wlp2s0", "en0", "wan", "Wi-Fi", "bond0", "br0"])
def test_cables_and_wifi_are_used_with_both_versions(name: str) -> None:
    found = choice(name, "192.168.1.7/24", "fd00::7/64", "fe80::7/64")
    assert (found.why, [str(address) for address in found.addresses]) == ("", ["192.168.1.7/24", "fd00::7/64"])


@pytest.mark.parametrize(
    ("name", "why"),
    [
        *((name, "containers or virtual machines") for name in ("docker0", "br-1a2b3c", "veth12", "virbr0", "vmnet8")),
        *((name, "containers or virtual machines") for name in ("podman1", "cni0", "lxdbr0", "vboxnet0", "kube-ipvs0")),
        *((name, "a VPN") for name in ("tun0", "tap1", "wg0", "tailscale0", "utun3", "zt5u4", "ppp0", "ipsec0")),
        ("awdl0", "Apple"),
    ],
)
def test_what_leads_elsewhere_is_left_out_by_its_name(name: str, why: str) -> None:
    found = choice(name, "172.17.0.1/16")
    assert found.addresses == ()
    assert why in found.why


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (choice("lo", "127.0.0.1/8", flags=frozenset(["up", "loopback"])), "this machine only"),
        (choice("lo0", "127.0.0.1/8", flags=frozenset()), "this machine only"),
        (choice("eth1", "10.0.0.1/8", up=False), "is down"),
        (choice("corp", "10.0.0.1/8", flags=LAN | {"pointopoint"}), "one other machine"),
        (choice("ib0", "10.0.0.1/8", flags=frozenset(["up", "broadcast"])), "no multicast"),
        (choice("eth2"), "no address"),
        (choice("eth3", "169.254.3.4/16", "fe80::1/64"), "no address"),
    ],
)
def test_other_reasons(found: Choice, why: str) -> None:
    assert found.addresses == ()
    assert why in found.why


addresses = st.lists(st.ip_addresses().map(str), max_size=3)


@given(st.lists(st.builds(interface, st.text(min_size=1), up=st.booleans()), max_size=5), addresses)
def test_each_interface_is_used_or_left_out_with_a_reason(interfaces: list[Interface], more: list[str]) -> None:
    interfaces = [*interfaces, interface("eth0", *more)]
    made = choose(interfaces)
    assert [item.name for item in made] == [item.name for item in interfaces]
    assert all(bool(item.why) != bool(item.addresses) for item in made)


def test_near_is_the_same_network_and_the_same_version() -> None:
    ours = [choice("eth0", "192.168.1.7/24", "fd00::7/64"), choice("docker0", "172.17.0.1/16")]
    assert [near(it, ours) for it in ("192.168.1.9", "fd00::9", "192.168.2.9", "172.17.0.9", "fd01::1")] == [
        True, True, False, False, False,
    ]  # fmt: skip


def test_this_machine_has_a_loopback_that_is_left_out() -> None:
    found = choose(here())
    assert any("this machine only" in item.why for item in found)
    assert not any(address.ip.is_loopback for item in found for address in item.addresses)
