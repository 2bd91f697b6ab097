"""A run's files on this machine: fetched from the coordinator once, verified, kept for the next evening."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from peer.base import link
from swarm.chunks import require_data, require_sha256
from swarm.client import CoordinatorClient
from swarm.errors import from_os_error
from swarm.proto import coordinator_pb2 as pb
from swarm.tensorfile import sha256_file
from swarm.units import size

CHECKPOINTS = "checkpoints"  # the folder of them
_KEPT_BESIDE = 1

Progress = Callable[[str], None]


class Files:
    """Blobs by their SHA-256 in `folder`, checkpoints beside it; a file that is there and whole is not fetched again.

    Several threads may ask at once: one fetches, the others wait for it.
    """

    def __init__(
        self, client: CoordinatorClient, folder: Path, say: Progress, passed: Callable[[int], None] = lambda _: None
    ) -> None:
        self._client = client
        self._folder = folder
        self._say = say
        self._passed = passed  # is told how many bytes were fetched
        self._lock = threading.RLock()

    def blob(self, blob: pb.Blob) -> Path:
        """The path of a blob, fetched if need be. Raises UnreachableError, CorruptError, DiskError."""
        return self._fetched(blob, self._folder)

    def _fetched(self, blob: pb.Blob, folder: Path) -> Path:
        require_sha256(blob)
        path = folder / blob.sha256
        with self._lock:
            if not _whole(path, blob.size, blob.sha256):
                self._say(f"fetching {blob.name or 'a file'} ({size(blob.size)})")
                folder.mkdir(parents=True, exist_ok=True)
                self._client.download(blob.sha256, blob.size, path)
                self._passed(blob.size)
        return path

    def model_folder(self, blobs: list[pb.Blob]) -> Path:
        """A folder with the model's configuration and tokenizer under their own names, as transformers reads it."""
        folder = self._folder.parent / "model"
        folder.mkdir(parents=True, exist_ok=True)
        for blob in blobs:
            require_data(blob.name)
            with self._lock:
                link(self.blob(blob), folder / blob.name)
        return folder

    def chunk(self, sha256: str, offset: int, length: int, path: str) -> None:
        """Put a part of a blob in its place in the file `path`, which another process fills. Raises UnreachableError,
        NotFoundError, CorruptError, DiskError.
        """
        data = self._client.download_range(sha256, offset, length)
        self._passed(length)
        try:
            with Path(path).open("r+b") as file:
                file.seek(offset)
                file.write(data)
        except OSError as error:
            raise from_os_error(error, "fetching the run's files") from error

    def checkpoint(self, checkpoint: pb.Checkpoint) -> Path:
        """The file of a checkpoint. Those of earlier evenings go."""
        name = f"the model at round {checkpoint.round}"
        blob = pb.Blob(name=name, sha256=checkpoint.sha256, size=checkpoint.size)
        with self._lock:
            path = self._fetched(blob, self._folder.parent / CHECKPOINTS)
            path.touch()  # a worker begins with it in a moment: states that are kept meanwhile must not drive it out
            _drop_all_but(path)
        return path

    def keep_checkpoint(self, path: Path, sha256: str) -> None:
        """Keep a state that the coordinator has now, too: it need not be fetched again. Raises OSError."""
        kept = self._folder.parent / CHECKPOINTS / sha256
        with self._lock:  # nobody reads, fetches or drops one meanwhile
            kept.parent.mkdir(exist_ok=True)
            path.replace(kept)
            _drop_all_but(kept)


def _drop_all_but(newest: Path) -> None:
    """The last one before it may just be read for another GPU."""
    others = [other for other in newest.parent.iterdir() if other != newest]
    for old in sorted(others, key=lambda other: other.stat().st_mtime)[:-_KEPT_BESIDE]:
        old.unlink(missing_ok=True)


def _whole(path: Path, size: int, sha256: str) -> bool:
    return path.exists() and path.stat().st_size == size and sha256_file(path) == sha256
