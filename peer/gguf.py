"""A folder of transformers as one GGUF file, for llama.cpp and what is built on it: models of the Llama architecture.

Sources: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md for the format; llama.cpp's naming of tensors and its
order of rotary dimensions (pairs side by side, where transformers has halves) through the `gguf` library. Other
architectures are refused: a file that loads and computes something else would be worse than none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor
from transformers import AutoConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from peer.gguf_vocabulary import add as add_vocabulary
from peer.gguf_vocabulary import library
from peer.model import built, load_tokenizer
from swarm.errors import ModelError

_TYPES: dict[str, tuple[str, str]] = {
    "f32": ("F32", "ALL_F32"),
    "f16": ("F16", "MOSTLY_F16"),
    "q8_0": ("Q8_0", "MOSTLY_Q8_0"),
}
_BLOCK = 32  # values of a row that q8_0 takes together; other rows stay fp16
_ROTATED = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}


@dataclass(frozen=True)
class Named:
    """What the file says of itself."""

    name: str
    version: str = ""
    license: str = ""  # an SPDX expression
    description: str = ""


def write(folder: Path, out: Path, kind: str, named: Named) -> None:
    """Write the model in `folder` to the file `out`; `kind` is f32, f16 or q8_0.

    One tensor at a time is in memory; the same model gives the same bytes. Raises UsageError without the library,
    ModelError for a model or tokenizer that the format cannot hold.
    """
    gguf = library()
    config = _config(folder)
    tokenizer = load_tokenizer(folder)
    tensors = _Tensors(folder, config, kind)
    writer = gguf.GGUFWriter(path=None, arch="llama")
    _describe(writer, config, kind, named)
    add_vocabulary(writer, tokenizer, config)
    for name, shape, dtype in tensors.plan():
        writer.add_tensor_info(name, shape, np.dtype(np.float32), _size(shape, dtype), dtype)
    out.parent.mkdir(parents=True, exist_ok=True)
    writer.write_header_to_file(out)
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, _, dtype in tensors.plan():
        writer.write_tensor_data(gguf.quantize(tensors.read(name), dtype))
    writer.close()


def _config(folder: Path) -> Any:
    config: Any = built(
        folder, lambda: AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    )
    if config.model_type != "llama":
        raise ModelError(
            f"Models of the architecture {config.model_type!r} are not written as GGUF, only Llama's.",
            "Leave out --gguf, or convert the folder with llama.cpp's convert_hf_to_gguf.py.",
        )
    if (folder / "adapter_config.json").exists():
        raise ModelError("An adapter alone is not written as GGUF.", "Add it to the base's weights with --merged.")
    return config


def _describe(writer: Any, config: Any, kind: str, named: Named) -> None:
    gguf = library()
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(named.name)
    for text, add in ((named.version, writer.add_version), (named.license, writer.add_license)):
        if text:
            add(text)
    if named.description:
        writer.add_description(named.description)
    writer.add_file_type(gguf.LlamaFileType[_TYPES[kind][1]])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    _shape(writer, config)


def _shape(writer: Any, config: Any) -> None:
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    if config.rope_parameters["rope_type"] == "linear":
        writer.add_rope_scaling_type(library().RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(config.rope_parameters["factor"])


class _Tensors:
    """The model's tensors under llama.cpp's names."""

    def __init__(self, folder: Path, config: Any, kind: str) -> None:
        self._gguf = library()
        self._config = config
        self._type = self._gguf.GGMLQuantizationType[_TYPES[kind][0]]
        self._names = self._gguf.get_tensor_name_map(self._gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
        self._made = _rope_factors(config)
        self._files = {self._renamed(name): (path, name) for path, name in _stored(folder)}

    def plan(self) -> Iterator[tuple[str, tuple[int, ...], Any]]:
        """Name, shape and type of each, sorted."""
        for name, values in self._made.items():
            yield name, tuple(values.shape), self._gguf.GGMLQuantizationType.F32
        for name, (path, stored) in sorted(self._files.items()):
            with safe_open(path, "pt") as file:
                shape = tuple(file.get_slice(stored).get_shape())
            yield name, shape, self._type_of(shape)

    def _type_of(self, shape: tuple[int, ...]) -> Any:
        """Vectors stay fp32, as llama.cpp wants them."""
        types = self._gguf.GGMLQuantizationType
        if len(shape) == 1:
            return types.F32
        return types.F16 if self._type == types.Q8_0 and shape[-1] % _BLOCK else self._type

    def read(self, name: str) -> Any:
        """The values, fp32, in llama.cpp's order."""
        if name in self._made:
            return self._made[name].numpy()
        path, stored = self._files[name]
        with safe_open(path, "pt") as file:
            values = file.get_tensor(stored).to(torch.float32)
        heads = _ROTATED.get(name.split(".")[-2])
        return (_interleaved(values, getattr(self._config, heads)) if heads else values).numpy()

    def _renamed(self, name: str) -> str:
        renamed = self._names.get_name(name, try_suffixes=(".weight", ".bias"))
        if not renamed:
            raise ModelError(
                f"GGUF has no name for the tensor {name}.", "Is it really a model of Llama's architecture?"
            )
        return str(renamed)


def _stored(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            yield from ((path, name) for name in file.keys())  # noqa: SIM118 - it is no dict


def _interleaved(values: Tensor, heads: int) -> Tensor:
    """[heads · d, …] from halves of d/2 that turn together to pairs side by side."""
    return values.view(heads, 2, -1, *values.shape[1:]).transpose(1, 2).reshape(values.shape).contiguous()


def _rope_factors(config: Any) -> dict[str, Tensor]:
    """By what llama.cpp divides each frequency; Llama 3 stretches them one by one. Raises ModelError for others."""
    kind = config.rope_parameters["rope_type"]
    if kind in ("default", "linear"):
        return {}
    if kind != "llama3":
        raise ModelError(f"Rotary positions of the type {kind!r} are not written as GGUF.", "Leave out --gguf.")
    stretched, _ = ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"))
    powers = torch.arange(0, config.head_dim, 2, dtype=torch.int64).float() / config.head_dim
    return {"rope_freqs.weight": (1.0 / config.rope_parameters["rope_theta"] ** powers) / stretched}


def _size(shape: tuple[int, ...], dtype: Any) -> int:
    """Bytes."""
    block, size = library().GGML_QUANT_SIZES[dtype]
    return int(np.prod(shape)) // int(block) * int(size)
