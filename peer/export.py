"""Turn a state file into a folder that transformers and peft load: `python -m peer.export`, a child of `swarm export`.

full and --merged: weights for transformers. lora and qlora: an adapter for peft. The tokenizer is beside them. On an
error the last line is {"error", "what", "remedy"} and the exit status the error's own.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from peer.checkpoint import read_state
from peer.model import built, load_model, load_tokenizer, trainable
from peer.telling import errors_told
from peer.trained import blank_adapted
from swarm import lifetime, runspec
from swarm.runspec import RunSpec

_PREFIX = "model/"


def export(spec: RunSpec, folder: Path, state: Path, out: Path, merged: bool, gguf: str = "") -> None:
    """Write the model of the state file `state` to `out`; with `gguf`, a kind of `peer.gguf`, that file beside it, too.

    `folder` holds configuration and tokenizer and, for adapters, the base's weights. Raises ModelError, CorruptError.
    """
    values = {name.removeprefix(_PREFIX): t for name, t in read_state(state)[0].items() if name.startswith(_PREFIX)}
    out.mkdir(parents=True, exist_ok=True)
    if not spec.model.adapts:
        _write_whole(folder, values, out)
    else:
        _write_adapter(spec, folder, values, out)
        if merged:
            _merge(folder, out)
    load_tokenizer(folder).save_pretrained(out)
    if gguf:
        _write_gguf(spec, out, gguf)


def _write_gguf(spec: RunSpec, out: Path, kind: str) -> None:
    from peer import gguf, modelfile
    from swarm.bundle.caps import Caps

    name = f"gguf/{spec.run.name}-{kind}.gguf"
    gguf.write(out, out / name, kind, gguf.Named(spec.run.title or spec.run.name, license=spec.run.license))
    modelfile.write(out, name, Caps())


def _write_whole(folder: Path, values: dict[str, Tensor], out: Path) -> None:
    model = load_model(folder)
    with torch.no_grad():
        for name, parameter in trainable(model).items():
            parameter.copy_(values[name])
    _save(model, out)


def _write_adapter(spec: RunSpec, folder: Path, values: dict[str, Tensor], out: Path) -> None:
    """The adapter in peft's own form; the base's weights are not needed for it."""
    from peft import get_peft_model_state_dict

    model: Any = blank_adapted(spec, folder)
    config = model.peft_config["default"]
    config.base_model_name_or_path = spec.model.source
    config.revision = spec.model.revision or None
    config.inference_mode = True
    config.save_pretrained(out)
    tensors = get_peft_model_state_dict(model, state_dict=values, save_embedding_layers=False)
    save_file(tensors, out / "adapter_model.safetensors", metadata={"format": "pt"})


def _merge(folder: Path, out: Path) -> None:
    """Add the adapter of `out` to the base's weights, in fp32, and keep the result in the base's own type."""
    from peft import PeftModel

    load = AutoModelForCausalLM.from_pretrained
    base: Any = built(
        folder, lambda: load(folder, local_files_only=True, use_safetensors=True, trust_remote_code=False)
    )
    dtype = base.dtype
    model: Any = PeftModel.from_pretrained(base.float(), out)
    _save(model.merge_and_unload().to(dtype), out)
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        (out / name).unlink()


def _save(model: nn.Module, out: Path) -> None:
    saved: Any = model
    saved.save_pretrained(out)


def main() -> None:
    """The command; see the module."""
    lifetime.follow_parent()
    parser = argparse.ArgumentParser(prog="python -m peer.export", description="Write a model folder.")
    parser.add_argument("--spec", type=Path, required=True, help="the run spec")
    parser.add_argument("--model", type=Path, required=True, help="folder with configuration, tokenizer and base")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--merged", action="store_true")
    parser.add_argument("--gguf", default="", choices=("", "f32", "f16", "q8_0"))
    options = parser.parse_args()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    with errors_told("writing the model"):
        spec = runspec.load(options.spec)
        export(spec, options.model, options.state, options.out, options.merged, options.gguf)


if __name__ == "__main__":
    main()
