"""Hosts in network namespaces, each at the end of a link of its own, all on one bridge.

    host: wan ══ relay (delay, loss) ══ port<i> on the bridge `street`
    host: lan ── router: wan ══ relay ══ port<i>                            behind NAT
    host: wan ── port<i>                                                    without a link

The rate up is that of wan's queue, the rate down that of the port's queue; the queues are the kernel's (tc tbf).
The bridge lies in a namespace of its own; one pair of devices leads to the test itself, so that it can ask hosts. When
the namespaces go, all devices go.
"""

from __future__ import annotations

import itertools
import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab import kernel

_NUMBERS = itertools.count(1)
_RELAY = Path(__file__).with_name("relay.py")
_READY_SECONDS = 20.0
# libp2p treats what it holds for a private address unlike others, so the street has addresses that look public.
_STREETS = [f"11.77.{number}" for number in range(256)]
_HOME = "192.168.7"  # behind every NAT the same, as at home
_LARGEST_PACKET = 16_384  # bytes; several segments in one, but short on the slowest of our links
_BURST = 20_000  # bytes that may pass at once: one of the largest packets
_QUEUE_SECONDS = 0.1  # what a home router keeps before it drops
_SHORTEST_QUEUE = 65_536  # bytes

_NAT = """
table ip home {
    chain out { type nat hook postrouting priority srcnat; oifname "wan" masquerade; }
    chain through { type filter hook forward priority filter; iifname "wan" ct state != { established, related } drop; }
    chain here { type filter hook input priority filter; iifname "wan" ct state != { established, related } drop; }
}
"""
_STREET = """
table bridge street {
    set apart { type ipv4_addr . ipv4_addr; }
    chain between { type filter hook forward priority filter; ip saddr . ip daddr @apart drop; }
}
"""


@dataclass(frozen=True)
class Link:
    """A home link. Rates in Mbit/s on the wire. Each packet waits `delay_ms` on the link, up and down alike, and is
    lost with the probability `loss`; so a round trip between two hosts takes 2 × (one's delay + the other's).
    """

    up_mbit: float
    down_mbit: float
    delay_ms: float = 0.0
    loss: float = 0.0
    nat: bool = False  # behind a router: nobody can dial this host


@dataclass(frozen=True)
class Host:
    """`address` is the host's own; `public` is what others see: its router's behind NAT, else the same."""

    name: str
    number: int
    link: Link | None
    namespace: str
    router: str  # the namespace that holds the end of the link: behind NAT another one
    address: str
    public: str

    @property
    def behind_nat(self) -> bool:
        return self.router != self.namespace


class Lab:
    """A built lab; see `lab`. Changes hold when the call returns."""

    def __init__(self, hub: str, hosts: Mapping[str, Host]) -> None:
        self._hub = hub
        self._hosts = hosts
        self._rates = {name: (host.link.up_mbit, host.link.down_mbit) for name, host in hosts.items() if host.link}

    def host(self, name: str) -> Host:
        return self._hosts[name]

    def command(self, name: str, command: list[str]) -> list[str]:
        """The command line that runs `command` on a host, as the same process: a signal to it reaches the command."""
        return kernel.inside(self.host(name).namespace, *command)

    def processes(self, name: str) -> list[int]:
        """The process ids on a host."""
        return kernel.processes(self.host(name).namespace)

    def cut(self, name: str) -> None:
        """Nothing passes a host's link; the host itself does not notice it otherwise."""
        kernel.ip(self._hub, f"link set {_port(self.host(name))} down")

    def heal(self, name: str) -> None:
        """End `cut`."""
        kernel.ip(self._hub, f"link set {_port(self.host(name))} up")

    def cut_between(self, one: str, other: str) -> None:
        """Nothing passes between two hosts; both still reach all others."""
        self._apart("add", one, other)

    def heal_between(self, one: str, other: str) -> None:
        """End `cut_between`."""
        self._apart("delete", one, other)

    def _apart(self, verb: str, one: str, other: str) -> None:
        first, second = self.host(one).public, self.host(other).public
        elements = f"{{ {first} . {second}, {second} . {first} }}"
        kernel.run(*kernel.inside(self._hub, "nft", verb, "element", "bridge", "street", "apart", elements))

    def slow(self, name: str, up_mbit: float | None = None, down_mbit: float | None = None) -> None:
        """Give a link other rates; None keeps the one it has."""
        up, down = self._rates[name]
        self._rates[name] = up_mbit or up, down_mbit or down
        _shape(self._hub, self.host(name), *self._rates[name])

    def bytes(self, name: str) -> tuple[int, int]:
        """What a host's link sent and received so far. A packet of several segments counts with one header."""
        (device,) = kernel.shown(self.host(name).router, "-s", "link", "show", "dev", "wan")
        stats = device["stats64"]
        return int(stats["tx"]["bytes"]), int(stats["rx"]["bytes"])


@contextmanager
def lab(links: Mapping[str, Link | None], seed: int = 0) -> Iterator[Lab]:
    """A host for each name; None is a host without a link, as in a data centre. `seed` decides which packets are lost.

    The names are [a-z0-9-]; inside this process's own namespace hosts are reached by their `public` address. When the
    block ends, whatever runs on the hosts is killed and everything is removed. Raises LabError.
    """
    kernel.reap()
    prefix = f"lab-{os.getpid()}-{next(_NUMBERS)}-"
    relay: subprocess.Popen[str] | None = None
    try:
        kernel.add(hub := f"{prefix}street")
        street = _open_street(hub, prefix)
        hosts = {name: _host(prefix, street, item) for item in enumerate(links.items()) for name in [item[1][0]]}
        relay = _start_relay(hub, hosts, seed)
        for host in hosts.values():
            _build(hub, host, street)
        yield Lab(hub, hosts)
    finally:
        if relay:
            _end(relay)
        for namespace in kernel.namespaces():
            if namespace.startswith(prefix):
                kernel.remove(namespace)


def _open_street(hub: str, prefix: str) -> str:
    """The bridge, and the test's own way to it; the first three bytes of the addresses."""
    kernel.run(*kernel.inside(hub, "nft", "-f", "-"), feed=_STREET)
    kernel.ip(hub, "link add street type bridge stp_state 0 mcast_snooping 0", "link set street up")
    outside = prefix.rstrip("-").replace("-", "", 1)  # lab<pid>-<number>: at most 15 letters
    kernel.ip(hub, f"link add test type veth peer name {outside} netns {os.getpid()}", "link set test master street up")
    street = _free_street(outside)
    kernel.ip(hub, f"address add {street}.1/24 dev street", "route add unreachable default")
    kernel.set_(hub, "net.ipv4.ip_forward=1")  # so that hosts are told at once that there is no way elsewhere
    return street


def _free_street(device: str) -> str:
    """Give our end an address in a range that no other lab has: the kernel takes a route only once."""
    kernel.ip("", f"link set {device} up gso_max_size {_LARGEST_PACKET}")
    for street in _STREETS:
        try:
            kernel.ip("", f"route add {street}.0/24 dev {device}")
        except kernel.LabError as error:
            if "File exists" not in str(error):
                raise
            continue
        kernel.ip("", f"address add {street}.254/32 dev {device}")
        return street
    raise kernel.LabError(f"all {len(_STREETS)} ranges of addresses are taken: too many labs at once")


def _host(prefix: str, street: str, item: tuple[int, tuple[str, Link | None]]) -> Host:
    number, (name, link) = item
    namespace, public = f"{prefix}{name}", f"{street}.{number + 2}"
    if link is not None and link.nat:
        return Host(name, number, link, namespace, f"{namespace}.router", f"{_HOME}.2", public)
    return Host(name, number, link, namespace, namespace, public, public)


def _start_relay(hub: str, hosts: Mapping[str, Host], seed: int) -> subprocess.Popen[str]:
    """All links' delays and losses; its TAP devices are there when this returns."""
    links = [_relayed(host, host.link, seed) for host in hosts.values() if host.link]
    command = kernel.inside(hub, sys.executable, "-S", str(_RELAY), json.dumps(links))
    relay = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert relay.stdout
    heard, _, _ = select.select([relay.stdout], [], [], _READY_SECONDS)
    if not heard or relay.stdout.readline() != "ready\n":
        _end(relay)
        raise kernel.LabError(f"the relay of the links was not ready within {_READY_SECONDS:g} s")
    return relay


def _relayed(host: Host, link: Link, seed: int) -> dict[str, object]:
    return {
        "number": host.number,
        "name": host.name,
        "delay": link.delay_ms / 1000,
        "loss": link.loss,
        "seed": seed,
    }


def _end(relay: subprocess.Popen[str]) -> None:
    relay.kill()
    relay.wait()
    for stream in (relay.stdin, relay.stdout):
        if stream:
            stream.close()


def _build(hub: str, host: Host, street: str) -> None:
    """Put a host at the end of its link."""
    port = _port(host)
    for namespace in dict.fromkeys([host.router, host.namespace]):
        kernel.add(namespace)
    if host.link:
        kernel.ip(hub, f"link set host{host.number} netns {host.router} name wan")
    else:
        kernel.ip(hub, f"link add {port} type veth peer name wan netns {host.router}")
    kernel.ip(hub, f"link set {port} master street up gso_max_size {_LARGEST_PACKET}")
    kernel.ip(
        host.router,
        f"link set wan up gso_max_size {_LARGEST_PACKET}",
        f"address add {host.public}/24 dev wan",
        f"route add default via {street}.1",
    )
    if host.behind_nat:
        _build_home(host)
    if host.link:
        _shape(hub, host, host.link.up_mbit, host.link.down_mbit)


def _build_home(host: Host) -> None:
    """The router's side and the host's side of a home."""
    kernel.ip(
        host.router,
        f"link add lan type veth peer name lan netns {host.namespace}",
        f"link set lan up gso_max_size {_LARGEST_PACKET}",
        f"address add {_HOME}.1/24 dev lan",
    )
    kernel.set_(host.router, "net.ipv4.ip_forward=1")
    kernel.run(*kernel.inside(host.router, "nft", "-f", "-"), feed=_NAT)
    kernel.ip(
        host.namespace,
        f"link set lan up gso_max_size {_LARGEST_PACKET}",
        f"address add {host.address}/24 dev lan",
        f"route add default via {_HOME}.1",
    )


def _shape(hub: str, host: Host, up_mbit: float, down_mbit: float) -> None:
    for namespace, device, mbit in ((host.router, "wan", up_mbit), (hub, _port(host), down_mbit)):
        limit = max(int(mbit * 1e6 / 8 * _QUEUE_SECONDS), _SHORTEST_QUEUE)
        shape = ["rate", f"{mbit}mbit", "burst", str(_BURST), "limit", str(limit)]
        kernel.run("tc", "-n", namespace, "qdisc", "replace", "dev", device, "root", "tbf", *shape)


def _port(host: Host) -> str:
    return f"port{host.number}"
