"""Settings of a stranger's files that make libraries do more than load weights: they are refused before any library
reads them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from swarm.errors import CorruptError, ModelError

# peft's ways to import a module by its name, to read further files, or to change the base; see peft.tuners.lora.
_MORE = ("megatron_config", "corda_config", "lora_ga_config", "eva_config", "loftq_config", "arrow_config")


def require_plain_adapter(folder: Path) -> None:
    """Raises CorruptError unless the adapter in `folder` is one of LoRA that only adds to the base."""
    said = settings(folder / "adapter_config.json")
    more = [name for name in _MORE if said.get(name)]
    if said.get("peft_type") != "LORA" or not isinstance(said.get("init_lora_weights", True), bool) or more:
        what = ", ".join(more) or "its kind or its initialisation"
        raise CorruptError(f"The adapter {folder.name} is no plain LoRA adapter ({what}).", "Get another one.")


def end_tokens(folder: Path) -> list[int]:
    """Those that a model's generation settings name, or its configuration when it has none. Raises ModelError."""
    path = folder / "generation_config.json"
    named = settings(path if path.is_file() else folder / "config.json").get("eos_token_id")
    return [token for token in (named if isinstance(named, list) else [named]) if isinstance(token, int)]


def settings(path: Path) -> dict[str, Any]:
    """A JSON object. Raises ModelError for anything else."""
    try:
        said = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise ModelError(f"{path.name} of the bundle is missing, or no JSON object.", "Get the bundle again.")
    return said
