"""Who was not let in is refused whatever it asks of whom, and the others do not notice."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from peer.exchange.circuit import node_of
from swarm.identity import server_certificate
from swarm.papers import Papers
from tests.harness import ExchangePeers, Program, digests, disputed, exchange_peers
from tests.let_in import pass_for
from tests.outsider import DHT, OURS, SHOWS, Outsider, answered
from tests.rpcs import handlers_of, handlers_of_ours

from hivemind.dht.protocol import DHTProtocol  # isort: skip - after peer.exchange

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]

WAYS: dict[str, dict[str, Any]] = {
    "gradient": {"serves": "Servicer", "codec": "none"},
    "clipped": {"serves": "Reducing", "clipped": True},
    "local": {"serves": "Carrier", "local": "sparse"},
}


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    server_certificate(tmp_path)
    return tmp_path


def test_everything_that_can_be_asked_of_a_node_is_tried() -> None:
    """A handler without a row here makes this fail."""
    assert set(OURS) == handlers_of_ours()
    assert handlers_of(DHTProtocol) == DHT
    assert {name.split(".")[0] for name in OURS} == {way["serves"] for way in WAYS.values()}


def barred(peers: list[Program], members: set[str]) -> None:
    """As the coordinator says it to each of them."""
    for peer in peers:
        file = Path(peer.every("started")[0]["papers"])
        own = Papers.kept(file)
        Papers(own.own, time.time(), own.barred | members).keep(file)


@pytest.mark.parametrize(
    "way", ["clipped", *(pytest.param(way, marks=pytest.mark.long) for way in ("gradient", "local"))]
)
def test_who_was_not_let_in_is_refused_and_the_others_go_on(way: str, authority: Path) -> None:
    settings = {key: value for key, value in WAYS[way].items() if key != "serves"}
    with exchange_peers(**settings, await_others=1, rounds=60, pace=0.3, authority=str(authority)) as swarm:
        peers = [swarm.start(), swarm.start()]
        for peer in peers:
            peer.wait_for(lambda event: event["event"] == "applied")
        barred(peers, {"banned"})
        maddrs, node = peers[0].every("started")[0]["maddrs"], bytes.fromhex(peers[0].every("serves")[0]["id"])
        tried = DHT | {name for name in OURS if name.startswith(WAYS[way]["serves"])}
        assert asyncio.run(answered(maddrs, node, authority, tried)) == {}
        for peer in peers:
            peer.drain()
            assert peer.wait_for(lambda event: event["event"] == "applied")["members"] == 2
            assert not peer.every("not_applied")
            assert all("is refused" in line for line in peer.stderr.splitlines()), peer.stderr
        assert len(peers[0].stderr.splitlines()) <= 5 * len(SHOWS)  # each is named once for each reason, not each time
        assert not disputed(digests(peers))


def test_a_member_that_is_banned_is_out_within_seconds_and_the_others_go_on(authority: Path) -> None:
    with exchange_peers(rounds=1000, pace=0.05, await_others=2, authority=str(authority)) as swarm:
        one, two, banned = peers = [swarm.start() for _ in range(3)]
        for peer in peers:
            peer.wait_for(lambda event: event["event"] == "applied" and event["members"] == 3)
        began = time.monotonic()
        barred([one, two], {banned.every("started")[0]["member"]})
        for peer in (one, two):
            peer.drain()
            peer.wait_for(lambda event: event["event"] == "applied" and event["members"] == 2, 15)
        assert time.monotonic() - began < 15
        banned.drain()
        two.wait_for(lambda event: event["event"] == "applied" and event["members"] == 2)
        assert not [event for event in banned.every("applied")[-1:] if event["members"] == 2]
        assert not disputed(digests([one, two]))


def test_a_member_writes_nothing_in_anothers_place_or_as_the_coordinators_node(authority: Path) -> None:
    async def write(swarm: ExchangePeers) -> list[list[bool]]:
        started = swarm.peers[0].every("started")[0]["maddrs"]
        victim = node_of(started[0]).to_bytes()

        def own(key: Any) -> bytes:
            return pass_for(authority, key.peer_id, member="m")

        async with Outsider.at(started, authority, own) as member:
            tries = [
                member.record(),
                member.record(subkey=victim),
                member.record(kind="relays", value=True),
                member.record(kind="anything"),
                member.record(kind="handover", value="x" * 17_000),
            ]
            return [list((await member.ask_dht("rpc_store", victim, said)).store_ok) for said in tries]

    with exchange_peers(rounds=10_000, pace=1.0, authority=str(authority)) as swarm:
        swarm.start()
        assert asyncio.run(write(swarm)) == [[True], [False], [False], [False], [False]]


@pytest.fixture
def node(authority: Path) -> Iterator[Program]:
    """The coordinator's node, which waits for its pass, with a relay for payloads."""
    command = [sys.executable, "-m", "peer.exchange.bootstrap", "--data-dir", str(authority), "--host", "127.0.0.1"]
    papers = ["--papers", str(authority / "p2p.papers"), "--authority", str(authority / "tls.pem")]
    started = Program([*command, "--run", "test", "--relay", *papers])
    try:
        own = bytes.fromhex(started.wait_for(lambda event: "node" in event)["node"])
        Papers(pass_for(authority, own, role="node"), time.time(), frozenset({"banned"})).keep(authority / "p2p.papers")
        yield started
    finally:
        started.interrupt()
        started.process.wait(10)
        started.clean_up()


def test_the_coordinators_node_carries_for_members_only(node: Program, authority: Path) -> None:
    maddrs = node.wait_for(lambda event: "maddrs" in event)["maddrs"]

    tried = DHT | {name for name in OURS if name.startswith("Carrier")}
    assert asyncio.run(answered(maddrs, node_of(maddrs[0]).to_bytes(), authority, tried)) == {}
    with exchange_peers(local="sparse", await_others=1, rounds=3, authority=str(authority)) as swarm:
        for _ in range(2):
            swarm.start(initial_peers=maddrs)
        peers = swarm.finish(60.0)
        assert not disputed(digests(peers))
        assert [event["members"] for event in peers[0].every("applied")] == [2, 2, 2]
