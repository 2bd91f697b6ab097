"""The shards that a peer's leases touch: from its disk, from the hub when the run keeps them there, from the swarm."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from peer.base import manifests
from peer.data import Batches, Samples
from peer.held import found
from peer.setup import Setup
from peer.supplies import Supplies
from swarm.chunks import Manifest
from swarm.errors import DataError
from swarm.ranges import Layout, Range, locate

_HUB_AGAIN_SECONDS = 600.0  # after it failed; the swarm gives the shards until then

Say = Callable[[str], None]


class Shards:
    """Samples by position; a missing shard is fetched. Those of last time are given to others at once."""

    def __init__(self, setup: Setup, supplies: Supplies, say: Say) -> None:
        self._supplies = supplies
        self._say = say
        self._hub = setup.spec.data.shards.removeprefix("hf:")
        self._hub_from = 0.0  # monotonic; before that the hub is not asked
        self._shards = manifests(setup.shards)
        self._folder = Path(setup.folder) / "blobs"
        layout = setup.layout
        self._layout = Layout.received(layout["shard_samples"], layout["sequence_length"], layout["seed"])
        self._batches = Batches(self._layout, tuple(shard.sha256 for shard in self._shards), self._fetch)

    def offer(self) -> None:
        """Let others have the shards that are here from an earlier join."""
        self._supplies.offer(self._shards, self._folder)

    def fetch(self, positions: Range) -> None:
        """See `peer.feed.Shelf`."""
        for index in sorted({locate(self._layout, position).shard for position in range(*positions)}):
            self._fetch(index)

    def load(self, positions: Range) -> Samples:
        """See `peer.feed.Shelf`."""
        return self._batches.load(positions)

    def _fetch(self, index: int) -> Path:
        shard = self._shards[index]
        if self._hub and found(shard, self._folder) is None:
            self._ask_hub(shard)
        [path] = self._supplies.fetch([shard], self._folder, shard.name)
        return path

    def _ask_hub(self, shard: Manifest) -> None:
        if time.monotonic() < self._hub_from:
            return
        from peer import hub

        try:
            hub.fetch_shard(self._hub, shard, self._folder)
        except DataError as error:
            self._hub_from = time.monotonic() + _HUB_AGAIN_SECONDS
            self._say(str(error))
