"""A real peer that fetches and gives one file: `python -m tests.delivery_peer`.

Reads one JSON object from the command line, prints one JSON line per event. What stands for the coordinator is a file
on this disk, read slowly.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from peer.exchange import delivery
from peer.exchange.closing import Rules, SampleTarget
from peer.exchange.node import NodeOptions
from peer.exchange.options import ExchangeOptions
from peer.exchange.swarm import SwarmExchange
from swarm.chunks import Manifest, blob_of
from swarm.errors import SwarmError, UnreachableError
from tests.exchange_peer import count_donors, say


class Source:
    """The coordinator's side: `seconds` for every chunk; without a file it does not answer."""

    def __init__(self, path: str, seconds: float) -> None:
        self._path = path
        self._seconds = seconds

    def __call__(self, sha256: str, offset: int, length: int, path: Path) -> None:
        time.sleep(self._seconds)
        if not self._path:
            raise UnreachableError("The coordinator does not answer.")
        with Path(self._path).open("rb") as file, path.open("r+b") as target:
            file.seek(offset)
            target.seek(offset)
            target.write(file.read(length))


def fetch(exchange: SwarmExchange, settings: dict[str, Any]) -> None:
    gave: Counter[str] = Counter()
    count_donors(gave)
    delivery.PATIENCE_SECONDS = settings.get("patience", 30.0)
    manifest = Manifest.of(blob_of(settings["file"]))
    source = Source(settings.get("source", ""), settings.get("seconds", 0.05))
    tell = lambda advance: say("advance", text=str(advance), done=advance.done)  # noqa: E731
    began = time.perf_counter()
    try:
        [path] = exchange.fetch_files([manifest], Path(settings["folder"]), source, tell)
    except SwarmError as error:
        say("failed", code=error.code, what=error.what)
        return
    say("fetched", path=str(path), gave=gave, seconds=time.perf_counter() - began)


def main() -> None:
    settings = json.loads(sys.argv[1])
    stop = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    client = settings.get("client_mode", False)
    node = NodeOptions("test", settings["initial_peers"], "127.0.0.1", client_mode=client)
    exchange = SwarmExchange.start(node, ExchangeOptions(Rules(SampleTarget(8), 2.0, 10.0)))
    say("started", maddrs=exchange.maddrs(), id=exchange._node.id.hex())
    fetch(exchange, settings)
    stop.wait(60.0)
    exchange.close()
    shutil.rmtree(tempfile.gettempdir(), ignore_errors=True)
    os._exit(0)


if __name__ == "__main__":
    main()
