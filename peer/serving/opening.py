"""From a bundle's folder to something that answers: verify, read plugins, load the model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers.utils import logging as transformers_logging

from peer.adapters import quieten
from peer.serving import engine
from peer.serving.answering import Answering
from peer.serving.opened import Opened, opened
from peer.serving.plugins import Plugins, granted, sandbox_for
from swarm.bundle.caps import Plugin
from swarm.bundle.manifest import Bundle
from swarm.bundle.policy import Policy
from swarm.errors import CorruptError


@dataclass(frozen=True)
class Wishes:
    """Machine-local facts: the base of an adapter, the device, rights of plugins (`plugins.granted`), whether plugins
    run at all, and whether they may run where nothing keeps them in; and signers who are trusted besides those known.
    """

    base: Path | None = None
    device: str = "auto"
    allow: Sequence[str] = ()
    plugins: bool = True
    unsandboxed: bool = False
    signers: Sequence[str] = ()


@dataclass(frozen=True)
class Ready:
    """A bundle at work."""

    bundle: Bundle
    answering: Answering


def ready(folder: Path, wishes: Wishes) -> Ready:
    """Verified, then loaded. Raises CorruptError, UntrustedError, RecalledError, ModelError, NotFoundError,
    RefusedError, UsageError, DiskError.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    quieten()
    before = _facts(folder)
    found = opened(folder, wishes.base, wishes.signers)
    plugins = _plugins(found, wishes)
    loaded = engine.load(found, wishes.device)
    if _facts(folder) != before:
        raise CorruptError(f"{folder} was changed while it was read; nothing of it is run.", "Start again.")
    policy = Policy(found.bundle.caps)
    return Ready(found.bundle, Answering(policy, loaded, found.tokenizer, plugins, tuple(found.personalities)))


def _facts(folder: Path) -> list[tuple[str, int, int, int]]:
    """Of every file: its path, which one it is, its size, and when anything of it changed last (Unix ns), which nobody
    can set back. The same before and after: nobody changed a file that was verified while it was read again.
    """
    found = ((path, path.lstat()) for path in sorted(folder.rglob("*")))
    return [(str(path), it.st_ino, it.st_size, it.st_ctime_ns) for path, it in found]


def _plugins(found: Opened, wishes: Wishes) -> Plugins:
    known = {plugin.name: plugin for plugin in found.bundle.caps.plugins} if wishes.plugins else {}
    sandbox = sandbox_for(known, wishes.unsandboxed)
    programs = {name: _program(found, plugin) for name, plugin in known.items()}
    return Plugins(known, programs, granted(list(wishes.allow), known), sandbox)


def _program(found: Opened, plugin: Plugin) -> bytes:
    """Kept in memory: what runs later is what was verified. Raises CorruptError."""
    named = {part.path: part.sha256 for part in found.bundle.parts}
    data = (found.folder / plugin.file).read_bytes() if plugin.file in named else b""
    if hashlib.sha256(data).hexdigest() != named.get(plugin.file):
        raise CorruptError(f"The plugin {plugin.file} is missing or was altered.", "Get the bundle again.")
    return data
