"""Metrics for Prometheus: an address, and an HTTP endpoint there that answers every path with what the collectors say.

Nothing is counted in globals: each endpoint has a registry of its own. What there is to read: docs/metrics.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from swarm.errors import PortInUseError, UsageError

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

PHASES = (
    "starting",
    "syncing",
    "training",
    "waiting",
    "exchanging",
    "evaluating",
    "checking",
    "leaving",
)  # of a member
_LOOPBACK = "127.0.0.1"


class Address(NamedTuple):
    """Where an endpoint listens; port 0 takes a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}/metrics"


def address(text: str) -> Address:
    """`text` is PORT, on this machine alone, or HOST:PORT. Raises UsageError."""
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) < 1 << 16):
        raise UsageError(
            f"{text!r} is no address for metrics.",
            "Right would be a port, such as 9400 (for this machine only), or 0.0.0.0:9400, or [::]:9400.",
        )
    return Address(host.strip("[]") or _LOOPBACK, int(port))


@contextmanager
def serving(where: Address, *collectors: Collector) -> Iterator[Address]:
    """Answer scrapes until the block ends, also with what this process takes of its machine. Raises PortInUseError."""
    from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server

    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    for collector in collectors:
        registry.register(collector)
    try:
        server, thread = start_http_server(where.port, where.host, registry)
    except OSError as error:
        raise PortInUseError(
            f"Metrics cannot be served at {where.host}, port {where.port}: {error.strerror or error}.",
            "Stop the program that listens there, or take another port with --metrics (0 takes a free one).",
        ) from error
    try:
        yield Address(where.host, server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
