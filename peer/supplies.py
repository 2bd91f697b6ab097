"""What a worker needs on its disk before and while it trains: the base model, then the shards that its leases touch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peer.base import adopt, manifests, missing, model_folder
from peer.bridge import Bridge
from swarm.chunks import Manifest
from swarm.errors import UsageError
from swarm.sections import Model, is_folder

if TYPE_CHECKING:
    from peer.exchange.delivery import Advance
    from peer.exchange.swarm import SwarmExchange

_CHUNK_SECONDS = 600.0  # for the coordinator's answer; its own calls end before


class Supplies:
    """Fetches files from peers first, then through the supervisor from the coordinator, and says how far it is."""

    def __init__(self, bridge: Bridge, exchange: SwarmExchange) -> None:
        self._bridge = bridge
        self._exchange = exchange

    def fetch(self, files: Sequence[Manifest], folder: Path, what: str) -> list[Path]:
        """The paths of the files in `folder`. Raises CorruptError, DiskError, StalledError."""

        def tell(advance: Advance) -> None:
            self.say(f"fetching {what}: {advance}")

        return self._exchange.fetch_files(files, folder, self._chunk, tell)

    def offer(self, files: Sequence[Manifest], folder: Path) -> None:
        """Let others have those that are there. Raises CorruptError."""
        self._exchange.offer_files(files, folder)

    def say(self, why: str) -> None:
        self._bridge.notify("phase", phase="syncing", why=why)

    def _chunk(self, sha256: str, offset: int, length: int, path: Path) -> None:
        self._bridge.call("chunk", _CHUNK_SECONDS, sha256=sha256, offset=offset, length=length, path=str(path))


class Base:
    """The frozen base of a run: its files are in `cache`, which all runs share."""

    def __init__(self, facts: Sequence[dict[str, Any]], cache: Path, supplies: Supplies) -> None:
        self._files = manifests(facts)
        self._cache = cache
        self._supplies = supplies

    def take_from(self, folder: Path) -> None:
        """Use a copy that the volunteer has. Raises ModelError when it is another base."""
        self._supplies.say(f"comparing the base model in {folder} with the run's")
        adopt(self._files, folder, self._cache)

    def take_from_hub(self, model: Model) -> None:
        """Raises UsageError for a base that is on no hub, ModelError."""
        from peer import hub

        if self._files and (is_folder(model.source) or not model.revision):
            raise UsageError(
                f"This run's base is {model.source}, which is on no hub.", "Join without --from-hub: it is fetched."
            )
        if wanted := missing(self._files, self._cache):
            self._supplies.say(f"fetching the base model {model.source} from the hub")
            hub.fetch(model.source, model.revision, wanted, self._cache)

    def complete(self, folder: Path) -> None:
        """Fetch what is not there yet, and give the files their names in the model's folder."""
        if self._files:
            self._supplies.fetch(self._files, self._cache, "the base model")
            model_folder(folder, self._files, self._cache)
