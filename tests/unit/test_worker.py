"""What the supervisor says while its worker is still starting."""

from __future__ import annotations

import socket
from typing import Any, cast

import pytest

from peer import worker
from peer.bridge import Bridge
from peer.orders import Orders
from swarm.errors import ModelError, UnreachableError


class Exchange:
    """Hears what the swarm is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def announce_handover(self, text: str) -> None:
        self.told.append(text)


@pytest.mark.parametrize("early", [True, False])
def test_the_swarm_hears_of_a_hand_over_whenever_the_worker_did(early: bool) -> None:
    exchange, orders, jobs = Exchange(), Orders(), list[worker.Job]()
    job = worker.Job(*cast(Any, (None, None, None, exchange)))
    if early:
        worker._announce(jobs, orders, "led elsewhere")
    worker._begin(job, jobs, orders)
    if not early:
        worker._announce(jobs, orders, "led elsewhere")
    assert exchange.told == ["led elsewhere"]


def test_a_worker_that_fails_ends_although_its_supervisor_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(worker, "_end", ended.append)
    ours, theirs = socket.socketpair()
    bridge = Bridge(ours, {}, lambda: None)
    theirs.close()
    with pytest.raises(UnreachableError):  # where the process does not end at once
        worker._give_up(bridge, ModelError("The model is none.", "Look."))
    assert ended == [worker.TOLD]
    bridge.close()
