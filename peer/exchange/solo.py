"""One peer, no network: every update is the round's result. The identity that the swarm is compared with."""

from __future__ import annotations

from pathlib import Path

from peer.exchange.average import measure
from peer.exchange.base import Applied, Fetched, Phase, Result, StateSource, Update, View


class SoloExchange:
    """See `peer.exchange.base.Exchange`; closes a round as soon as `target` samples are there."""

    def __init__(self, target: int) -> None:
        self._target = target

    def serve_state(self, source: StateSource) -> None:
        """There is nobody to serve."""

    def progress(self, round_: int, samples: int, samples_per_second: float) -> View:
        phase = Phase.CLOSING if samples >= self._target else Phase.OPEN
        return View(phase, round_, samples, 1, "")

    def exchange(self, update: Update) -> Result:
        average = measure(update.tensors)
        return Applied(average.mean, average.norm, update.samples, 1)

    def leads(self) -> bool:
        return True

    def evaluates(self, round_: int) -> bool:
        return True

    def fetch_state(self, at_least: int, folder: Path) -> Fetched | None:
        return None

    def close(self) -> None:
        """There is nobody to say goodbye to."""
