"""What lies in a bundle's folder: plain files at places that a bundle has. Links and special files are refused."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from swarm.bundle.manifest import FILE, PATH, Kind
from swarm.errors import CorruptError, NotFoundError, from_os_error

_MOST = 20_000  # files, more than any bundle has: a folder may be a stranger's
_TOKENIZERS = {
    *("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "vocab.txt", "merges.txt", "spiece.model", "chat_template.jinja"),
}
_CONFIGS = {"config.json", "generation_config.json", "adapter_config.json", "Modelfile"}
_RECORDS = (".toml", ".json", ".txt", ".md")


def require_bundle(folder: Path) -> None:
    """Raises NotFoundError."""
    if not folder.exists():
        raise NotFoundError(f"There is no folder {folder}.", "Name a bundle's folder.")
    if not (folder / FILE).is_file():
        raise NotFoundError(f"{folder} is no bundle: it has no {FILE}.", "Name a bundle's folder.")


def files(folder: Path) -> list[str]:
    """The paths of all files in `folder`, sorted. Raises CorruptError that names a link, a special file or a place that
    no bundle has, DiskError, NotFoundError.
    """
    try:
        found = list(_walk(folder, ""))
    except OSError as error:
        raise from_os_error(error, "reading a bundle") from error
    return sorted(found)


def kind_of(path: str) -> Kind | None:
    """What the file at this place is; None when a bundle has no place for it: above all for what loaders execute."""
    where, name = PurePosixPath(path), PurePosixPath(path).name
    top = where.parts[0] if len(where.parts) > 1 else ""
    if top in ("plugins", "gguf"):
        fits = len(where.parts) == 2 and where.suffix == (".py" if top == "plugins" else ".gguf")
        return ("plugin" if top == "plugins" else "gguf") if fits else None
    if where.suffix == ".safetensors":
        return "weights"
    if path == "README.md":
        return "card"
    if name in _TOKENIZERS:
        return "tokenizer"
    if name in _CONFIGS or name.endswith(".safetensors.index.json"):
        return "config"
    return "record" if where.suffix in _RECORDS or name in ("LICENSE", "NOTICE") else None


def _walk(folder: Path, prefix: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for number, entry in enumerate(entries):
            path = _within(f"{prefix}{entry.name}")
            if number >= _MOST:
                raise refused(f"{prefix or 'it'} holds more than {_MOST} files")
            if entry.is_symlink():
                raise refused(f"{path} is a symbolic link, and a bundle has none: it might lead anywhere")
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path), f"{path}/")
            elif entry.is_file(follow_symlinks=False):
                yield path
            else:
                raise refused(f"{path} is neither a file nor a folder")


def _within(path: str) -> str:
    if not re.fullmatch(PATH, path):
        raise refused(f"{path!r} is no name of a bundle's file or folder")
    return path


def refused(why: str) -> CorruptError:
    """The bundle is not as it was released; nothing of it was loaded."""
    return CorruptError(
        f"The bundle is refused: {why}. Nothing of it was loaded.", "Get it again from its publisher; keep no part."
    )
