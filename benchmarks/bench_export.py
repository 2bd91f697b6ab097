"""Exported models against the run's own: logits on 100 prompts, in transformers, peft and llama.cpp.

    python benchmarks/bench_export.py [--quick]

A base made here (10 million parameters, taught a little) stands for the run's model: once trained whole, once with an
adapter. Compared are the largest differences of any logit: the exported folder in plain transformers (or peft) with
what a peer computes; GGUF files of it in llama.cpp (fp32 cache) with transformers; and how often the likeliest token is
the same. llama.cpp is left out where llama-cpp-python is not installed.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from benchmarks.results import record
from peer.adapters import initial
from peer.checkpoint import state_digest, write_state
from peer.device import Hardware, place
from peer.export import export
from peer.model import load_tokenizer, trainable
from peer.trained import blank_adapted, trained_model, untrained
from swarm.runspec import RunSpec, loads
from tests.swarm_run import text
from tests.tiny_base import make_base

LARGE = {"hidden_size": 320, "intermediate_size": 896, "num_hidden_layers": 8, "num_attention_heads": 5, "teach": 20}
SMALL = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4, "teach": 10}
KINDS = ("f32", "f16", "q8_0")
PROMPTS, LETTERS, TOKENS = 100, 200, 64
SPEC = """
[run]
name = "bench"
[model]
source = "{base}"
tokenizer = "model"
method = "{method}"
[data]
source = "builtin:pydoc-topics"
sequence_length = 64
[training]
rounds = 1
target_batch_size = 8
"""

Floats = np.ndarray[Any, Any]
Logits = Callable[[list[int]], Floats]  # tokens -> [tokens, vocabulary]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smaller model and 10 prompts")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    sizes = {**(SMALL if quick else LARGE)}
    with tempfile.TemporaryDirectory() as name:
        base = make_base(Path(name) / "base", text(200_000).split("\n\n"), sizes.pop("teach"), **sizes)
        prompts = [text(400_000)[at * 1000 :][:LETTERS] for at in range(10 if quick else PROMPTS)]
        figures = {method: one_method(base, method, prompts) for method in ("full", "lora")}
    record("export", {"prompts": len(prompts), "tokens_each": TOKENS, **figures}, quick)


def one_method(base: Path, method: str, prompts: list[str]) -> dict[str, Any]:
    """What a run of that method exports, against what its peers hold."""
    spec = loads(SPEC.format(base=base, method=method))
    values = trained(spec, base)
    state, out = base.parent / f"{method}.state", base.parent / method
    named = {f"model/{name}": value for name, value in values.items()}
    write_state(state, named, {"digest": state_digest(named)})
    tokens = [load_tokenizer(base)(prompt).input_ids[:TOKENS] for prompt in prompts]
    held = of_torch(peer_model(spec, base, values))
    ours = [held(ids) for ids in tokens]
    found: dict[str, Any] = {}
    if method == "lora":
        export(spec, base, state, base.parent / "adapter", merged=False)
        plain = AutoModelForCausalLM.from_pretrained(base)
        found["peft"] = difference(of_torch(PeftModel.from_pretrained(plain, base.parent / "adapter")), tokens, ours)
    for kind in KINDS:
        export(spec, base, state, out / kind, merged=method == "lora", gguf=kind)
    theirs = of_torch(AutoModelForCausalLM.from_pretrained(out / "f32"))
    found["transformers"] = difference(theirs, tokens, ours)
    if find_spec("llama_cpp"):
        exact = [theirs(ids) for ids in tokens]
        for kind in KINDS:
            found[f"llama.cpp {kind}"] = of_llama(out / kind / "gguf" / f"bench-{kind}.gguf", prompts, tokens, exact)
    return found


def trained(spec: RunSpec, base: Path) -> dict[str, Tensor]:
    """The base as it was taught; an adapter that does something."""
    if not spec.model.adapts:
        return untrained(spec, base, base)[1]
    draw = torch.Generator().manual_seed(5)
    blank = initial(blank_adapted(spec, base), 0)
    return {name: value + 0.05 * torch.randn(value.shape, generator=draw) for name, value in blank.items()}


def peer_model(spec: RunSpec, base: Path, values: dict[str, Tensor]) -> nn.Module:
    model = trained_model(spec, base, place(spec, "cpu", Hardware()))
    with torch.no_grad():
        for name, parameter in trainable(model).items():
            parameter.copy_(values[name])
    return model


def of_torch(model: Any) -> Logits:
    model.eval()

    @torch.no_grad()
    def logits(ids: list[int]) -> Floats:
        found: Floats = model(input_ids=torch.tensor([ids])).logits[0].float().numpy()
        return found

    return logits


def of_llama(path: Path, prompts: list[str], tokens: list[list[int]], expected: list[Floats]) -> dict[str, float]:
    import llama_cpp

    options = {"n_ctx": 128, "logits_all": True, "n_threads": 1, "type_k": 0, "type_v": 0, "verbose": False}
    with contextlib.closing(llama_cpp.Llama(str(path), **options)) as model:

        def logits(ids: list[int]) -> Floats:
            model.reset()
            model.eval(ids)
            return np.array(model.scores[: len(ids)])

        found = difference(logits, tokens, expected)
        split = [model.tokenize(prompt.encode(), add_bos=False, special=False)[:TOKENS] for prompt in prompts]
    return {**found, "prompts_split_alike": sum(one == other for one, other in zip(split, tokens, strict=True))}


def difference(logits: Logits, tokens: list[list[int]], expected: list[Floats]) -> dict[str, float]:
    """The largest and the mean one of any logit, and the part of positions with the same likeliest token."""
    pairs = [(logits(ids), right) for ids, right in zip(tokens, expected, strict=True)]
    apart = np.concatenate([np.abs(one - other).ravel() for one, other in pairs])
    same = np.concatenate([one.argmax(-1) == other.argmax(-1) for one, other in pairs])
    return {
        "largest": float(f"{apart.max():.2g}"),
        "mean": float(f"{apart.mean():.2g}"),
        "same_top": round(same.mean(), 4),
    }


if __name__ == "__main__":
    main()
