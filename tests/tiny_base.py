"""A base model made on this machine: small, Llama-like, with a tokenizer of its own, as a folder that a run names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from peer.tokenizer import byte_level


def make_base(folder: Path, texts: list[str], steps: int = 0, **sizes: int) -> Path:
    """Write the base to `folder`; with `steps`, it has learned `texts` a little (batches of 8, 64 tokens each)."""
    tokenizer = byte_level(512, texts)
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, **sizes}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        end = tokenizer.eos_token_id
        config = LlamaConfig(**shape, vocab_size=512, bos_token_id=end, eos_token_id=end, pad_token_id=end)
        model = LlamaForCausalLM(config)
        _teach(model, tokenizer, texts, steps)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _teach(model: Any, tokenizer: Any, texts: list[str], steps: int) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    ids = torch.tensor(tokenizer("\n".join(texts))["input_ids"])
    for _ in range(steps):
        starts = torch.randint(0, len(ids) - 65, (8,))
        batch = torch.stack([ids[start : start + 65] for start in starts])
        model(input_ids=batch, labels=batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
