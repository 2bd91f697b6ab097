"""Runs on the local network, found by multicast DNS (zeroconf, RFC 6762 and 6763).

A coordinator announces its run's name, fingerprint and address; its token only where the maintainer says that everyone
on the network may join.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil
import zeroconf
from zeroconf import IPVersion, ServiceBrowser, ServiceInfo, ServiceListener, Zeroconf

from swarm import log
from swarm.errors import InviteError, UnreachableError
from swarm.invite import Invite
from swarm.version import PROTOCOL_VERSION

logger = log.get(__name__)

_TYPE = "_garage-swarm._tcp.local."
_ASK_MS = 1500
_VIRTUAL = {  # what such an interface's name begins with -> what it is
    **dict.fromkeys(("docker", "br-", "veth", "podman", "cni", "flannel", "cali", "lxc", "lxd"), "of containers"),
    **dict.fromkeys(("virbr", "vmnet", "vboxnet", "vnet"), "of virtual machines"),
    **dict.fromkeys(("tun", "tap", "utun", "wg", "tailscale", "zt", "ppp", "ipsec", "nordlynx", "proton"), "a VPN"),
}


@dataclass(frozen=True)
class Choice:
    """Addresses to speak at, and why other interfaces are left out, by their names."""

    addresses: tuple[str, ...]
    left_out: Mapping[str, str]


@dataclass(frozen=True)
class FoundRun:
    """A run on the local network. Without an `invite` one is needed from the maintainer."""

    run: str
    title: str
    host: str
    port: int
    fingerprint: str
    invite: Invite | None

    @property
    def open(self) -> bool:
        """Whether everyone on this network may join."""
        return self.invite is not None


def choose(interfaces: Mapping[str, Sequence[str]], up: set[str]) -> Choice:
    """Which of the interfaces, by name with their addresses, lead to people nearby. Pure."""
    addresses: list[str] = []
    left_out: dict[str, str] = {}
    for name, own in sorted(interfaces.items()):
        usable = [address for address in own if _is_local(address)]
        if why := _unfit(name, usable, name in up):
            left_out[name] = why
        else:
            addresses += usable
    return Choice(tuple(addresses), left_out)


def own_choice() -> Choice:
    """`choose` for this machine."""
    families = (socket.AF_INET, socket.AF_INET6)
    interfaces = {
        name: [item.address.partition("%")[0] for item in items if item.family in families]
        for name, items in psutil.net_if_addrs().items()
    }
    return choose(interfaces, {name for name, facts in psutil.net_if_stats().items() if facts.isup})


@contextmanager
def announced(invite: Invite, title: str, everyone: bool) -> Iterator[Choice]:
    """Tell the local network of a run until the block ends; with `everyone` its invite, too.

    Raises UnreachableError.
    """
    choice = own_choice()
    if not choice.addresses:
        yield choice
        return
    with _speaking(choice) as speaker:
        try:
            speaker.register_service(_service(invite, title, everyone, choice.addresses), allow_name_change=True)
        except (OSError, zeroconf.Error) as error:
            raise _silent(error) from error
        yield choice


def discover(seconds: float) -> tuple[list[FoundRun], Choice]:
    """The runs that answer within so long, and where they were looked for.

    Raises UnreachableError without a network.
    """
    choice = own_choice()
    if not choice.addresses:
        reasons = "; ".join(f"{name}: {why}" for name, why in choice.left_out.items())
        raise UnreachableError(f"There is no local network to look at ({reasons}).", "Connect to it, or use an invite.")
    listener = _Listener()
    with _speaking(choice) as speaker:
        browser = ServiceBrowser(speaker, _TYPE, listener)
        threading.Event().wait(seconds)
        browser.cancel()
    return [found for _, found in sorted(listener.found.items())], choice


@contextmanager
def _speaking(choice: Choice) -> Iterator[Zeroconf]:
    try:
        speaker = Zeroconf(interfaces=list(choice.addresses), ip_version=_versions(choice.addresses))
    except (OSError, zeroconf.Error) as error:
        raise _silent(error) from error
    try:
        yield speaker
    finally:
        speaker.close()


def _versions(addresses: Sequence[str]) -> IPVersion:
    kinds = {":" in address for address in addresses}
    return IPVersion.All if len(kinds) == 2 else IPVersion.V6Only if True in kinds else IPVersion.V4Only


def _silent(error: Exception) -> UnreachableError:
    return UnreachableError(
        f"The local network cannot be spoken to: {error or type(error).__name__}.", "Use an invite."
    )


@dataclass
class _Listener(ServiceListener):
    found: dict[str, FoundRun] = field(default_factory=dict)

    def add_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        info = zc.get_service_info(type_, name, _ASK_MS)
        if info is not None and (found := read(info)):
            self.found[name] = found

    def update_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        self.add_service(zc, type_, name)

    def remove_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        self.found.pop(name, None)


def read(info: ServiceInfo) -> FoundRun | None:
    """What an announcement says; None for nonsense, which anyone on the network may send."""
    facts = {_text(key): _text(value or b"") for key, value in info.properties.items()}
    addresses = info.parsed_addresses()
    if facts.get("protocol") != str(PROTOCOL_VERSION) or not addresses or not info.port:
        return None
    host, token = _best(addresses), facts.get("token", "")
    try:
        invite = Invite(host, info.port, facts.get("run", ""), facts.get("fp", ""), token or "none")
        known = Invite.parse(str(invite))
    except InviteError as error:
        logger.info("an announcement on the local network is nonsense: %s", error)
        return None
    title = "".join(filter(str.isprintable, facts.get("title", "")))[:80]
    return FoundRun(known.run, title, host, info.port, known.fingerprint, known if token else None)


def _text(sent: bytes) -> str:
    return sent.decode(errors="replace")


def _service(invite: Invite, title: str, everyone: bool, addresses: Sequence[str]) -> ServiceInfo:
    facts = {"run": invite.run, "title": title[:80], "fp": invite.fingerprint, "protocol": str(PROTOCOL_VERSION)}
    if everyone:
        facts["token"] = invite.token
    return ServiceInfo(
        _TYPE,
        f"{invite.run[:40]}-{invite.fingerprint[:8]}.{_TYPE}",
        port=invite.port,
        properties=facts,
        parsed_addresses=list(addresses),
        server=f"garage-swarm-{invite.fingerprint[:8]}.local.",
    )


def _best(addresses: Sequence[str]) -> str:
    """IPv4 first: it is dialled without a zone."""
    return min(addresses, key=lambda address: (":" in address, address))


def _is_local(address: str) -> bool:
    """Link-local IPv6 needs a zone that an invite cannot carry; 169.254 means that no router gave an address."""
    parsed = ipaddress.ip_address(address)
    return not (parsed.is_loopback or parsed.is_link_local or parsed.is_unspecified)


def _unfit(name: str, usable: Sequence[str], up: bool) -> str:
    for beginning, what in _VIRTUAL.items():
        if name.startswith(beginning):
            return what
    if not up:
        return "it is down"
    return "" if usable else "it has no address in a local network"
