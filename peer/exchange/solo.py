"""One peer, no network: every update is the round's result. The identity that the swarm is compared with."""

from __future__ import annotations

from pathlib import Path

from peer.codecs import codec_of, encode
from peer.exchange.average import measure, merged
from peer.exchange.base import Applied, Fetched, Phase, Result, StateSource, Update, View
from peer.exchange.closing import Closing, Said
from peer.merge import Contribution
from swarm.sections import Local


class SoloExchange:
    """See `peer.exchange.base.Exchange`; in local mode the update goes through the codec, as in a swarm."""

    def __init__(self, closing: Closing, local: Local | None = None) -> None:
        self._closing = closing
        self._local = local

    def serve_state(self, source: StateSource) -> None:
        """There is nobody to serve."""

    def progress(self, round_: int, samples: int, samples_per_second: float, done: bool = False) -> View:
        said = [Said(samples, done)]
        due = self._closing.due(said, 0.0, 0.0)
        return View(Phase.CLOSING if due else Phase.OPEN, round_, samples, 1, due or self._closing.lacks(said))

    def exchange(self, update: Update) -> Result:
        if self._local is None:
            average = measure(update.tensors)
            return Applied(average.mean, average.norm, update.samples, 1)
        codec = codec_of(self._local)
        shapes = {name: tuple(tensor.shape) for name, tensor in update.tensors.items()}
        payload = encode(codec, {name: tensor.numpy() for name, tensor in update.tensors.items()})
        found = [Contribution(update.samples, payload)]
        average = merged(codec, found, shapes, self._local.clip, payload)
        return Applied(average.mean, average.norm, update.samples, 1, taken=average.taken)

    def leads(self) -> bool:
        return True

    def evaluates(self, round_: int) -> bool:
        return True

    def fetch_state(self, at_least: int, folder: Path) -> Fetched | None:
        return None

    def close(self) -> None:
        """There is nobody to say goodbye to."""
