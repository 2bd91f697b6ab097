"""What the supervisor says while its worker is still starting."""

from __future__ import annotations

from typing import Any, cast

import pytest

from peer import worker
from peer.orders import Orders


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
