"""A bundle before its model is loaded: verified, then found complete, then its tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peer.model import load_tokenizer
from peer.serving.base import base_of
from peer.serving.plain import end_tokens, require_plain_adapter
from swarm.bundle.manifest import Bundle
from swarm.bundle.verify import verified
from swarm.errors import ModelError

_ADAPTER = "adapter_model.safetensors"
_MODEL = (".safetensors", ".gguf")


@dataclass(frozen=True)
class Opened:
    """`folder` holds the bundle; `weights` the whole model below its adapters, another folder when the bundle is only
    an adapter. `personalities`: adapters by their names; `root` is that of a bundle that is an adapter itself.
    """

    bundle: Bundle
    folder: Path
    weights: Path
    tokenizer: Any
    personalities: dict[str, Path]
    root: Path | None = None

    @property
    def gguf(self) -> Path | None:
        """The first GGUF file of the bundle."""
        found = [self.folder / part.path for part in self.bundle.parts if part.kind == "gguf"]
        return found[0] if found and self.root is None else None

    @property
    def ends(self) -> frozenset[int]:
        """Tokens that end an answer: the tokenizer's, and those that the bundle's generation settings name."""
        own = self.tokenizer.eos_token_id
        return frozenset((*end_tokens(self.weights), *([] if own is None else [own])))


def opened(folder: Path, base: Path | None = None, signers: Sequence[str] = ()) -> Opened:
    """The bundle in `folder`, every byte of it checked, and signed by whom the user trusts, `signers` included; `base`
    is where the model of an adapter lies.

    Raises CorruptError, UntrustedError, RecalledError, ModelError, NotFoundError, DiskError.
    """
    bundle = verified(folder, signers)
    paths = {part.path for part in bundle.parts}
    root = folder if _ADAPTER in paths else None
    weights = base_of(bundle, folder, base) if root else folder
    named = sorted(
        path.split("/")[1] for path in paths if path.startswith("adapters/") and path.endswith(f"/{_ADAPTER}")
    )
    if root is None and not any(path.endswith(_MODEL) and not path.startswith("adapters/") for path in paths):
        raise ModelError(f"{folder} holds no model: no safetensors, no GGUF.", "Get the bundle again.")
    personalities = {name: folder / "adapters" / name for name in named}
    for adapter in (*personalities.values(), *([root] if root else [])):
        require_plain_adapter(adapter)
    tokenizer = load_tokenizer(folder if "tokenizer.json" in paths else weights)
    return Opened(bundle, folder, weights, tokenizer, personalities, root)
