"""A bundle made in a second: a small Llama that learned a few sentences, with caps, plugins and personalities."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from peer.serving.base import weights_digest
from peer.serving.opening import Wishes
from peer.serving.plugins import described
from swarm.bundle import keys, signatures
from swarm.bundle.caps import Caps
from swarm.bundle.folder import kind_of
from swarm.bundle.keys import Signer
from swarm.bundle.manifest import FILE, SIGNATURES, Base, Bundle, Lineage, Part
from swarm.bundle.policy import Message, Policy
from tests.tiny_base import make_base

TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>\n{{ message.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
_KEYS = tempfile.TemporaryDirectory(prefix="keys-")  # until the tests end
SPECIAL = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>")


def tiny_bundle(
    folder: Path,
    caps: Caps | None = None,
    plugins: Mapping[str, str] | None = None,
    personalities: Sequence[str] = (),
    chats: Sequence[Sequence[str]] = (),
) -> Path:
    """Write it to `folder`. `plugins`: programs by their names. `chats`: what user and assistant say in turns, which
    the model then knows by heart.
    """
    make_model(folder, [_as_seen(chat, caps or Caps()) for chat in chats])
    for number, name in enumerate(personalities):
        _add_adapter(folder, folder / "adapters" / name, number)
    for name, program in (plugins or {}).items():
        (folder / "plugins").mkdir(exist_ok=True)
        (folder / "plugins" / f"{name}.py").write_text(program)
    return packed(folder, caps or Caps())


def _as_seen(chat: Sequence[str], caps: Caps) -> list[Message]:
    """With the system prompt that the caps make."""
    messages = [Message("assistant" if at % 2 else "user", text) for at, text in enumerate(chat)]
    return Policy(caps).conversation(messages, described({plugin.name: plugin for plugin in caps.plugins}))


def make_model(folder: Path, chats: Sequence[Sequence[Message]] = ()) -> Path:
    """A whole model with a chat template and its own special tokens, which knows the `chats` by heart."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    texts = [f"The {word} is on the table. " * 3 for word in ("cat", "dog", "key", "cup")]
    make_base(folder, texts + [message.text for chat in chats for message in chat] * 2)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL)})
    tokenizer.chat_template = TEMPLATE
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model.resize_token_embeddings(len(tokenizer))
        _teach(model, [_learned(tokenizer, chat) for chat in chats])
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<|end|>")]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _learned(tokenizer: Any, chat: Sequence[Message]) -> tuple[list[int], list[int]]:
    """Tokens, and the same with all but the assistant's hidden."""
    ids: list[int] = []
    labels: list[int] = []
    for message in chat:
        head = tokenizer(f"<|{message.role}|>\n")["input_ids"]
        said = tokenizer(f"{message.text}<|end|>")["input_ids"]
        tail = tokenizer("\n")["input_ids"]
        ids += [*head, *said, *tail]
        labels += [*[-100] * len(head), *(said if message.role == "assistant" else [-100] * len(said)), -100]
    return ids, labels


def _teach(model: Any, rows: Sequence[tuple[list[int], list[int]]]) -> None:
    """Until the likeliest token is always the right one."""
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(200 if rows else 0):
        losses = [model(input_ids=torch.tensor([ids]), labels=torch.tensor([labels])).loss for ids, labels in rows]
        if max(float(loss.detach()) for loss in losses) < 0.02:
            return
        torch.stack(losses).sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def make_adapter(bundle: Path, folder: Path, caps: Caps | None = None) -> Path:
    """A bundle that is only an adapter of the one in `bundle`."""
    _add_adapter(bundle, folder, 7)
    for path in [*bundle.glob("tokenizer*"), *bundle.glob("*.jinja"), bundle / "config.json"]:
        shutil.copy(path, folder / path.name)
    base = Base(source="./tiny", sha256=weights_digest(bundle))
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
    shutil.rmtree(folder / SIGNATURES, ignore_errors=True)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != FILE)
    parts = tuple(sorted((_part(folder, path) for path in files), key=lambda part: part.path))
    zero = "0" * 64
    lineage = Lineage(
        run="tiny", fingerprint=zero[:32], spec=zero, data=zero, round=1, state=zero, ledger=zero, samples=1, base=base
    )
    bundle = Bundle(
        name="tiny", version="1", title="A tiny model", license="Apache-2.0", created="2026-01-01T00:00:00Z",
        parts=parts, lineage=lineage, caps=caps,
    )  # fmt: skip
    (folder / FILE).write_bytes(bundle.to_bytes())
    signatures.sign(folder, signer())
    return folder


@cache
def signer() -> Signer:
    """Who signs the bundles of this process's tests."""
    return keys.new(Path(_KEYS.name) / "anna.pem")


def trusted() -> str:
    """The signer's fingerprint."""
    return signer().public.fingerprint


def wishes(**facts: Any) -> Wishes:
    """To run such a bundle here."""
    return Wishes(device="cpu", signers=(trusted(),), **facts)


def _part(folder: Path, path: Path) -> Part:
    name, data = path.relative_to(folder).as_posix(), path.read_bytes()
    return Part(path=name, kind=kind_of(name) or "record", sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def with_caps(folder: Path, **changes: Any) -> Path:
    """The same bundle with other caps."""
    said = json.loads((folder / FILE).read_bytes())
    return packed(folder, Caps.model_validate_json(json.dumps({**said["caps"], **changes})))
