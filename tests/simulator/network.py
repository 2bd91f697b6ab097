"""A network between virtual hosts: calls take a moment, and fail where a line is cut or a host is gone."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from hivemind.p2p import P2PDaemonError, P2PHandlerError, PeerID

COORDINATOR = b"coordinator"
_TIMEOUT = 5.0
_LOOK = 0.1


@dataclass
class Host:
    """A machine: its process may be gone or frozen; `servicer` answers calls; `records` is its part of the DHT."""

    id: bytes
    servicer: Any = None
    up: bool = True
    frozen: bool = False
    records: dict[tuple[str, bytes], tuple[float, float, Any]] = field(default_factory=dict)  # stored, expires, value


class Network:
    """Who reaches whom."""

    def __init__(self, seed: int) -> None:
        self.hosts: dict[bytes, Host] = {COORDINATOR: Host(COORDINATOR)}
        self.sides: dict[bytes, int] = {}  # hosts of different sides do not reach each other
        self.cuts: set[frozenset[bytes]] = set()
        self.slow: set[bytes] = set()
        self._rng = random.Random(seed)

    def reaches(self, one: bytes, other: bytes) -> bool:
        """Whether a message from `one` arrives at `other` now."""
        there = self.hosts.get(other)
        same_side = self.sides.get(one, 0) == self.sides.get(other, 0)
        return bool(there and there.up and same_side and frozenset((one, other)) not in self.cuts)

    async def travel(self, one: bytes, other: bytes) -> None:
        """The time that a message takes, and as long as one of both is frozen."""
        await asyncio.sleep(self._rng.uniform(0.005, 0.05) + 0.5 * bool({one, other} & self.slow))
        while any(host and host.frozen for host in (self.hosts.get(one), self.hosts.get(other))):
            await asyncio.sleep(_LOOK)

    async def call(self, one: bytes, other: bytes, method: str, message: Any, timeout: float | None) -> Any:
        """`other`'s answer. Raises TimeoutError, P2PDaemonError when nobody listens there, P2PHandlerError."""
        async with asyncio.timeout(timeout or _TIMEOUT):
            await self.travel(one, other)
            await self._require(one, other)
            host = self.hosts[other]
            handler = getattr(host.servicer, method)
            answer = await handler(message, SimpleNamespace(remote_id=PeerID(one)))
            await self.travel(other, one)
            if self.hosts.get(other) is not host:
                raise P2PHandlerError("the process ended")
            await self._require(other, one)
            return answer

    async def _require(self, one: bytes, other: bytes) -> None:
        there = self.hosts.get(other)
        if there is None or not there.up:
            raise P2PDaemonError("nobody listens there")
        while not self.reaches(one, other):  # lost: until the caller's patience ends
            await asyncio.sleep(_LOOK)


class Stub:
    """What `hivemind.p2p.ServicerBase.get_stub` gives."""

    def __init__(self, network: Network, one: bytes, other: bytes) -> None:
        self._network = network
        self._ends = one, other

    def __getattr__(self, method: str) -> Any:
        def call(message: Any, timeout: float | None = None) -> Awaitable[Any]:
            return self._network.call(*self._ends, method, message, timeout)

        return call


class Dht:
    """A host's node: every record goes to all nodes that it reaches, and is asked of all of them."""

    def __init__(self, network: Network, host: bytes) -> None:
        self._network = network
        self._host = host

    def is_alive(self) -> bool:
        return True

    async def store(
        self, key: str, value: Any, expires: float, subkey: bytes, return_future: bool, exclude_self: bool
    ) -> bool:
        """Whether any node took it."""
        now = asyncio.get_running_loop().time()
        await self._network.travel(self._host, COORDINATOR)
        nodes = [host for host in self._network.hosts.values() if self._takes(host, exclude_self)]
        for host in nodes:
            host.records[key, subkey] = now, expires, value
        return bool(nodes)

    async def get(self, key: str, latest: bool, return_future: bool) -> Any:
        """The newest unexpired records of `key` by their subkeys."""
        await self._network.travel(self._host, COORDINATOR)
        now = asyncio.get_running_loop().time()
        newest: dict[bytes, tuple[float, float, Any]] = {}
        for host in self._network.hosts.values():
            for (name, subkey), record in host.records.items() if self._takes(host, exclude_self=False) else ():
                if name == key and record[1] > now and record[0] >= newest.get(subkey, record)[0]:
                    newest[subkey] = record
        return SimpleNamespace(value={subkey: SimpleNamespace(value=value) for subkey, (_, _, value) in newest.items()})

    def _takes(self, host: Host, exclude_self: bool) -> bool:
        if host.id == self._host:
            return not exclude_self
        return not host.frozen and self._network.reaches(self._host, host.id)
