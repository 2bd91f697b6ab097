"""Which of a machine's network interfaces lead to the local network, and why the others do not."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface
from typing import Any

import psutil

Address = IPv4Interface | IPv6Interface

_KINDS = {
    "of containers or virtual machines": re.compile(
        r"(docker|podman|br-|veth|virbr|vmnet|vboxnet|vnic|lxcbr|lxdbr|cni|flannel|cali|kube|vEthernet|ifb|dummy)"
    ),
    "a VPN": re.compile(r"(tun|tap|utun|ipsec|ppp|wg|tailscale|zt|nebula|nordlynx|proton|ham)"),
    "for Apple's own devices": re.compile(r"(awdl|llw|anpi|ap\d)"),
}


@dataclass(frozen=True)
class Interface:
    """As the system lists it. `flags` are psutil's, empty where the system does not tell."""

    name: str
    addresses: tuple[Address, ...]
    up: bool = True
    flags: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Choice:
    """`addresses` are those at which others on the local network reach this machine; without one, `why` says why."""

    name: str
    addresses: tuple[Address, ...]
    why: str = ""


def choose(interfaces: Iterable[Interface]) -> list[Choice]:
    """What to do with each interface, in their order."""
    return [_choice(interface) for interface in interfaces]


def near(address: str, choices: Iterable[Choice]) -> bool:
    """Whether one of our own addresses is in the same network as `address`."""
    return any(ip_address(address) in own.network for choice in choices for own in choice.addresses)


def here() -> list[Interface]:
    """This machine's interfaces."""
    stats = psutil.net_if_stats()
    return [
        Interface(name, _addresses(found), stats[name].isup, frozenset(filter(None, stats[name].flags.split(","))))
        for name, found in sorted(psutil.net_if_addrs().items())
        if name in stats
    ]


def _choice(interface: Interface) -> Choice:
    usable = tuple(address for address in interface.addresses if not address.ip.is_link_local)
    why = _objection(interface) or ("" if usable else "it has no address of a network")
    return Choice(interface.name, () if why else usable, why)


def _objection(interface: Interface) -> str:
    if "loopback" in interface.flags or any(address.ip.is_loopback for address in interface.addresses):
        return "it leads to this machine only"
    for kind, names in _KINDS.items():
        if names.match(interface.name):
            return f"by its name it is {kind}"
    if not interface.up:
        return "it is down"
    if "pointopoint" in interface.flags:
        return "it leads to one other machine, like a VPN"
    if interface.flags and "multicast" not in interface.flags:
        return "it carries no multicast"
    return ""


def _addresses(found: Iterable[Any]) -> tuple[Address, ...]:
    return tuple(
        ip_interface(f"{item.address.partition('%')[0]}/{_prefix(item.netmask)}")
        for item in found
        if item.family in (socket.AF_INET, socket.AF_INET6) and item.netmask
    )


def _prefix(netmask: str) -> int:
    """ffff:ffff:: as 32: ipaddress itself does not read IPv6 netmasks."""
    return int(ip_address(netmask)).bit_count()
