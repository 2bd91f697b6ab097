"""A bundle as a torrent with web seeds: who downloads it helps to spread it, and the seeds' owner carries the rest.

Sources: https://www.bittorrent.org/beps/bep_0003.html, bep_0019 (web seeds), bep_0052 (version 2; it is a hybrid).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from swarm import extras
from swarm.bundle.push import Cargo
from swarm.errors import CorruptError, UsageError
from swarm.tensorfile import atomic_write


def write(folder: Path, cargo: Cargo, seeds: Sequence[str], out: Path) -> str:
    """Write the torrent file `out`; its magnet link. The same bundle and seeds give the same bytes.

    Files are below NAME-VERSION/; a seed is the address of the folder that holds it (…/models/ for
    …/models/NAME-VERSION/config.json). Raises UsageError without the library or for seeds that are no web addresses,
    CorruptError for files that cannot be read, OSError.
    """
    for seed in seeds:
        _require_web(seed)
    library = _library()
    name = f"{cargo.bundle.name}-{cargo.bundle.version}"
    with tempfile.TemporaryDirectory() as parent:
        (Path(parent) / name).symlink_to(folder.resolve())  # the torrent's name, whatever the folder is called here
        content = _hashed(library, name, Path(parent), cargo)
    content.set_creator("garage-swarm")
    content.set_creation_date(int(datetime.fromisoformat(cargo.bundle.created).timestamp()))
    for seed in seeds:
        content.add_url_seed(f"{seed.rstrip('/')}/")
    data: bytes = library.bencode(content.generate())
    with atomic_write(out) as file:
        file.write(data)
    return str(library.make_magnet_uri(library.load_torrent_buffer(data)))


def _hashed(library: Any, name: str, parent: Path, cargo: Cargo) -> Any:
    content = library.create_torrent(
        [library.create_file_entry(f"{name}/{file.path}", file.size) for file in cargo.files]
    )
    try:
        library.set_piece_hashes(content, str(parent))
    except RuntimeError as error:
        raise CorruptError(f"A file of the bundle cannot be read: {error}.", "Check it with swarm verify.") from error
    return content


def _require_web(seed: str) -> None:
    if not seed.startswith(("https://", "http://")):
        raise UsageError(
            f"{seed!r} is no web seed.", "Give the address of a folder, such as https://example.org/models/."
        )


def _library() -> Any:
    extras.require("torrent", "Writing a torrent", "libtorrent")
    import libtorrent

    return libtorrent
