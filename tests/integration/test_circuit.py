"""Peers that are reached only through the coordinator's node: on loopback, so for every machine that runs the tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import Program, digests, disputed, exchange_peers

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[str]:
    """A bootstrap node's multiaddr."""
    command = [sys.executable, "-m", "peer.exchange.bootstrap", "--data-dir", str(tmp_path), "--host", "127.0.0.1"]
    node = Program(command)
    try:
        yield node.wait_for(lambda event: "maddrs" in event)["maddrs"][0]
    finally:
        node.interrupt()
        node.process.wait(10)
        node.clean_up()


@pytest.mark.parametrize("attempt", [0, *(pytest.param(again, marks=pytest.mark.long) for again in (1, 2))])
def test_relayed_peers_exchange_more_than_libp2ps_own_relay_lets_pass(relay: str, attempt: int) -> None:
    """p2pd starts a second relay that cuts connections after 128 KiB; were it the one that serves, this would fail."""
    with exchange_peers(await_others=1, size=400_000, rounds=4) as swarm:
        for _ in range(2):
            swarm.start(initial_peers=[relay], relay=relay)
        peers = swarm.finish(60.0)
        assert all("/p2p-circuit/" in address for peer in peers for address in peer.every("started")[0]["maddrs"])
        assert not disputed(digests(peers))
        assert all([event["members"] for event in peer.every("applied")][-3:] == [2, 2, 2] for peer in peers)
        assert [peer.every("not_applied") for peer in peers] == [[], []]
        assert [peer.stderr for peer in peers] == ["", ""]
