"""Finding runs on the local network: a coordinator announces its run by multicast DNS, others listen for it.

What is heard is a stranger's word: it names an address and a fingerprint, and only the run's own certificate proves it.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from ipaddress import ip_address

from zeroconf import Error as ZeroconfError
from zeroconf import IPVersion, ServiceBrowser, ServiceInfo, Zeroconf

from swarm import log
from swarm.errors import InviteError, SwarmError, UnreachableError
from swarm.interfaces import Choice, choose, here, near
from swarm.invite import Invite
from swarm.texts import whole_number
from swarm.tls import certificate
from swarm.version import PROTOCOL_VERSION

logger = log.get(__name__)

SERVICE = "_garage-swarm._tcp.local."
_NEWS_SECONDS = 30.0  # between announcements of a new round: each goes to the whole network
_ASK_MILLISECONDS = 1000
_DIAL_SECONDS = 2.0
_NO_TOKEN = "?"  # stands for a token where there is none
_ANY = {"0.0.0.0": 4, "::": 0}  # listening everywhere: the version of addresses then, 0 for both


@dataclass(frozen=True)
class Found:
    """A run that somebody announced. `invites` has one for each of its addresses, the likeliest first; their token is
    usable only when the run is `open`.
    """

    run: str
    fingerprint: str
    invites: tuple[Invite, ...]
    round: int
    state: str
    protocol: str
    open: bool

    @property
    def compatible(self) -> bool:
        """Whether this version can take part."""
        return self.protocol == str(PROTOCOL_VERSION)


@dataclass(frozen=True)
class Search:
    """What was found, and where was looked."""

    found: tuple[Found, ...]
    choices: tuple[Choice, ...]


class Announcement:
    """A run's entry on the local network."""

    def __init__(self, zeroconf: Zeroconf, info: ServiceInfo) -> None:
        self._zeroconf = zeroconf
        self._info = info
        self._said = float("-inf")

    def news(self, round_: int, finished: bool) -> None:
        """The run's round now; said at most every 30 s."""
        if time.monotonic() - self._said < _NEWS_SECONDS:
            return
        self._said = time.monotonic()
        properties = {**self._info.decoded_properties, "round": str(round_), "state": _state(finished)}
        self._info = _info(self._info.name, self._info.parsed_addresses(), self._info.port or 0, properties)
        with suppress(ZeroconfError, OSError):
            self._zeroconf.update_service(self._info)


@contextmanager
def announced(invite: Invite, listening: str, open_on_lan: bool) -> Iterator[Announcement | None]:
    """Announce the run until the block ends, at the addresses of this machine that lead to the local network, if the
    coordinator is `listening` there; None when there is none. The token goes along only when `open_on_lan`.
    """
    choices = choose(here())
    addresses = announced_addresses(choices, listening)
    if not addresses:
        yield None
        return
    properties = {"run": invite.run, "fp": invite.fingerprint, "round": "0", "state": "starting"}
    properties |= {"protocol": str(PROTOCOL_VERSION)} | ({"token": invite.token} if open_on_lan else {})
    name = f"{invite.run[:40]}-{invite.fingerprint[:8]}.{SERVICE}"
    try:
        zeroconf = _zeroconf(choices)
    except (OSError, RuntimeError) as error:
        logger.warning("the run is not announced on the local network: %s", error)
        yield None
        return
    with zeroconf:
        info = _info(name, addresses, invite.port, properties)
        zeroconf.register_service(info, allow_name_change=True)
        yield Announcement(zeroconf, info)


def announced_addresses(choices: Iterable[Choice], listening: str) -> list[str]:
    """Where others on the local network reach a server that listens at `listening`: an address, 0.0.0.0 or ::."""
    found = [address.ip for choice in choices for address in choice.addresses]
    if listening not in _ANY:
        return [str(address) for address in found if str(address) == listening]
    return [str(address) for address in found if _ANY[listening] in (0, address.version)]


def search(seconds: float) -> Search:
    """Listen for so long on all interfaces that lead to the local network."""
    choices = tuple(choose(here()))
    if not any(choice.addresses for choice in choices):
        return Search((), choices)
    heard: dict[str, ServiceInfo] = {}

    def listen(zeroconf: Zeroconf, service_type: str, name: str, **_: object) -> None:
        info = zeroconf.get_service_info(service_type, name, _ASK_MILLISECONDS)
        if info:
            heard[name] = info

    with _zeroconf(choices) as zeroconf:
        ServiceBrowser(zeroconf, SERVICE, handlers=[listen])
        time.sleep(seconds)
    read = [entry(info.decoded_properties, info.parsed_addresses(), info.port or 0) for info in heard.values()]
    found = [_nearest_first(item, choices) for item in read if item]
    return Search(tuple(sorted(found, key=lambda item: (item.run, item.fingerprint))), choices)


def entry(properties: Mapping[str, str | None], addresses: Iterable[str], port: int) -> Found | None:
    """What an announcement says; None when it makes no sense, for anybody may send one."""
    run, fingerprint, token = (properties.get(key) or "" for key in ("run", "fp", "token"))
    round_ = whole_number(properties.get("round") or "", 0)
    made = [Invite(address, port, run, fingerprint, token or _NO_TOKEN) for address in addresses]
    try:
        invites = tuple(Invite.parse(str(invite)) for invite in made)
    except InviteError:
        return None
    state = "finished" if properties.get("state") == "finished" else "running"
    if not invites:
        return None
    run, fingerprint = invites[0].run, invites[0].fingerprint  # as they were understood, without what URLs leave out
    return Found(run, fingerprint, invites, round_, state, properties.get("protocol") or "?", bool(token))


def answering(found: Found) -> Invite:
    """The first of the run's addresses at which its own coordinator answers. Raises UnreachableError."""
    reasons = []
    for invite in found.invites:
        try:
            certificate(invite, _DIAL_SECONDS)
        except SwarmError as error:
            reasons.append(error.what)
            continue
        return invite
    raise UnreachableError(f"{found.run} was announced, but: {' '.join(reasons)}", "Ask its maintainer for an invite.")


def _nearest_first(found: Found, choices: Iterable[Choice]) -> Found:
    order = sorted(found.invites, key=lambda invite: (not near(invite.host, choices), ":" in invite.host))
    return replace(found, invites=tuple(order))


def _zeroconf(choices: Iterable[Choice]) -> Zeroconf:
    """Multicast DNS on these interfaces only. Raises OSError."""
    logging.getLogger("zeroconf").setLevel(logging.CRITICAL)  # an interface that goes away is no news for the screen
    used = [choice for choice in choices if choice.addresses]
    four = [str(address.ip) for choice in used for address in choice.addresses if address.version == 4]
    six = [
        socket.if_nametoindex(choice.name)
        for choice in used
        if any(address.version == 6 for address in choice.addresses)
    ]
    version = IPVersion.All if four and six else IPVersion.V6Only if six else IPVersion.V4Only
    return Zeroconf(interfaces=[*four, *six], ip_version=version)


def _info(name: str, addresses: Iterable[str], port: int, properties: Mapping[str, str | None]) -> ServiceInfo:
    packed = [ip_address(address).packed for address in addresses]
    host = f"{name.removesuffix('.' + SERVICE)}.local."
    return ServiceInfo(SERVICE, name, addresses=packed, port=port, properties=dict(properties), server=host)


def _state(finished: bool) -> str:
    return "finished" if finished else "running"
