"""A bundle made in a second: a small Llama that learned a few sentences, with caps, plugins and personalities."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from swarm.bundle.caps import Caps
from swarm.bundle.manifest import FILE, Base, Bundle, Kind, Lineage, Part
from tests.tiny_base import make_base

TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>\n{{ message.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
SPECIAL = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
_KINDS: tuple[tuple[str, Kind], ...] = (
    ("*.safetensors", "weights"),
    ("tokenizer*", "tokenizer"),
    ("gguf/*", "gguf"),
    ("plugins/*", "plugin"),
    ("README.md", "card"),
)


def tiny_bundle(
    folder: Path,
    caps: Caps | None = None,
    plugins: Mapping[str, str] | None = None,
    personalities: Sequence[str] = (),
    **sizes: int,
) -> Path:
    """Write it to `folder`. `plugins`: programs by their names."""
    make_model(folder, **sizes)
    for number, name in enumerate(personalities):
        _add_adapter(folder, folder / "adapters" / name, number)
    for name, program in (plugins or {}).items():
        (folder / "plugins").mkdir(exist_ok=True)
        (folder / "plugins" / f"{name}.py").write_text(program)
    return packed(folder, caps or Caps())


def make_model(folder: Path, **sizes: int) -> Path:
    """A whole model with a chat template and its own special tokens."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    make_base(folder, [f"The {word} is on the table. " * 3 for word in ("cat", "dog", "key", "cup")], **sizes)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL)})
    tokenizer.chat_template = TEMPLATE
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_adapter(bundle: Path, folder: Path, caps: Caps | None = None) -> Path:
    """A bundle that is only an adapter of the one in `bundle`."""
    _add_adapter(bundle, folder, 7)
    for path in [*bundle.glob("tokenizer*"), *bundle.glob("*.jinja"), bundle / "config.json"]:
        shutil.copy(path, folder / path.name)
    weights = bundle / "model.safetensors"
    base = Base(source="./tiny", sha256=hashlib.sha256(weights.read_bytes()).hexdigest())
    return packed(folder, caps or Caps(), base)


def _add_adapter(base: Path, folder: Path, seed: int) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any = AutoModelForCausalLM.from_pretrained(base)
        adapted: Any = get_peft_model(model, LoraConfig(r=4, init_lora_weights=False, target_modules="all-linear"))
        adapted.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)


def packed(folder: Path, caps: Caps, base: Base | None = None) -> Path:
    """Write the manifest of what is in `folder`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != FILE)
    parts = tuple(sorted((_part(folder, path) for path in files), key=lambda part: part.path))
    zero = "0" * 64
    lineage = Lineage(
        run="tiny", fingerprint=zero, spec=zero, data=zero, round=1, state=zero, ledger=zero, samples=1, base=base
    )
    bundle = Bundle(
        name="tiny", version="1", title="A tiny model", license="Apache-2.0", created="2026-01-01T00:00:00Z",
        parts=parts, lineage=lineage, caps=caps,
    )  # fmt: skip
    (folder / FILE).write_bytes(bundle.to_bytes())
    return folder


def _part(folder: Path, path: Path) -> Part:
    name, data = path.relative_to(folder).as_posix(), path.read_bytes()
    kind = next((kind for pattern, kind in _KINDS if Path(name).match(pattern)), "config")
    return Part(path=name, kind=kind, sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def with_caps(folder: Path, **changes: Any) -> Path:
    """The same bundle with other caps."""
    said = json.loads((folder / FILE).read_bytes())
    return packed(folder, Caps.model_validate({**said["caps"], **changes}))
