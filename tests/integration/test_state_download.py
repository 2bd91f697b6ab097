"""The agreed state from several donors at once, between real processes: deaths, stalls, lies."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from tests.harness import ExchangePeers, Program, exchange_peers

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120), pytest.mark.long]

SIZE = 3_000_000  # numbers: 11.4 MiB, 12 chunks
CHUNKS = 12
SLOW = 2_000_000  # bytes per second


def donors(swarm: ExchangePeers, count: int, **settings: Any) -> list[Program]:
    """Peers that hold the same state and give it slowly."""
    asked = {"donor": True, "rounds": 0, "linger": 60.0, "settle": 0.0, "upload": SLOW, "size": SIZE, **settings}
    found = [swarm.start(**asked) for _ in range(count)]
    for peer in found:
        peer.named("serves")
    return found


def fetcher(swarm: ExchangePeers) -> Program:
    return swarm.start(fetch=True, rounds=0, linger=0.0, settle=0.0, size=SIZE)


def assert_whole(fetched: dict[str, Any], donor: Program) -> None:
    assert fetched["digest"] == donor.every("serves")[-1]["digest"]
    assert sum(fetched["gave"].values()) == CHUNKS


def test_three_donors_give_at_once_and_none_gives_all() -> None:
    with exchange_peers() as swarm:
        three = donors(swarm, 3)
        fetched = fetcher(swarm).named("fetched", 40)
        assert_whole(fetched, three[0])
        assert len(fetched["gave"]) == 3
        assert max(fetched["gave"].values()) <= CHUNKS - 4
        assert fetched["seconds"] < 0.8 * 4 * SIZE / SLOW  # of what one of them would take


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["kill -9", "stall"])
def test_a_donor_that_dies_or_stalls_in_the_middle_is_left(how: signal.Signals) -> None:
    with exchange_peers() as swarm:
        three = donors(swarm, 3)
        newcomer = fetcher(swarm)
        newcomer.named("kept", 40)
        three[1].process.send_signal(how)
        assert_whole(newcomer.named("fetched", 60), three[0])


def test_a_donor_of_wrong_bytes_is_left_and_the_others_go_on() -> None:
    with exchange_peers() as swarm:
        honest = donors(swarm, 2)
        [liar] = donors(swarm, 1, lie="other_state")
        fetched = fetcher(swarm).named("fetched", 60)
        assert_whole(fetched, honest[0])
        assert liar.every("serves")[-1]["id"] not in fetched["gave"]
