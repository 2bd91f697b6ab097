"""A model of Llama's architecture as GGUF: read back tensor by tensor, and by llama.cpp where that is installed."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gguf as library
import numpy as np
import pytest
import torch
from gguf import GGUFReader
from numpy.testing import assert_array_equal
from transformers import GPT2Config, GPT2LMHeadModel, LlamaForCausalLM

from peer import gguf, modelfile
from peer.gguf import Named
from peer.model import load_tokenizer
from peer.tokenizer import byte_level
from swarm.bundle.caps import Caps
from swarm.errors import ModelError
from tests.swarm_run import text
from tests.tiny_base import make_base

TEXTS = text(20_000).split("\n\n")
NAMED = Named("Small", "1.0", "Apache-2.0", "for tests")
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"), TEXTS, num_key_value_heads=2)


def written(folder: Path, out: Path, kind: str) -> GGUFReader:
    gguf.write(folder, out, kind, NAMED)
    return GGUFReader(out)


def test_every_tensor_is_there_as_it_was(folder: Path, tmp_path: Path) -> None:
    read = written(folder, tmp_path / "m.gguf", "f32")
    there = {tensor.name: tensor.data for tensor in read.tensors}
    model: Any = LlamaForCausalLM.from_pretrained(folder)
    names = library.get_tensor_name_map(library.MODEL_ARCH.LLAMA, 2)
    for name, values in model.state_dict().items():
        found = there.pop(names.get_name(name, try_suffixes=(".weight",)))
        if ".q_proj." in name or ".k_proj." in name:
            heads = 4 if ".q_proj." in name else 2
            found = found.reshape(heads, -1, 2, found.shape[1]).swapaxes(1, 2).reshape(found.shape)  # back to halves
        assert_array_equal(found, values.numpy(), err_msg=name)
    assert not there


def test_the_file_says_what_it_is_and_the_same_model_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    read = written(folder, tmp_path / "one.gguf", "q8_0")
    facts = {name: field.contents() for name, field in read.fields.items() if not name.startswith("GGUF.")}
    tokenizer = load_tokenizer(folder)
    assert facts["general.license"] == "Apache-2.0"
    assert facts["llama.attention.head_count_kv"] == 2
    assert facts["tokenizer.ggml.tokens"] == tokenizer.convert_ids_to_tokens(range(512))
    described = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    assert facts["tokenizer.ggml.merges"] == [" ".join(merge) for merge in described]
    assert facts["tokenizer.ggml.eos_token_id"] == tokenizer.eos_token_id
    assert {tensor.tensor_type.name for tensor in read.tensors} == {"Q8_0", "F32"}
    gguf.write(folder, tmp_path / "other.gguf", "q8_0", NAMED)
    assert (tmp_path / "one.gguf").read_bytes() == (tmp_path / "other.gguf").read_bytes()


def test_what_the_format_cannot_hold_is_refused(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "gpt2"
    GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=2, n_embd=16, vocab_size=300)).save_pretrained(other)
    with pytest.raises(ModelError, match="'gpt2'"):
        gguf.write(other, tmp_path / "m.gguf", "f32", NAMED)
    tokenizer = load_tokenizer(folder)
    odd = make_base(tmp_path / "odd", TEXTS)
    rules = json.loads(tokenizer.backend_tokenizer.to_str())
    rules["normalizer"] = {"type": "Lowercase"}
    (odd / "tokenizer.json").write_text(json.dumps(rules))
    with pytest.raises(ModelError, match="changes texts"):
        gguf.write(odd, tmp_path / "m.gguf", "f32", NAMED)
    assert not (tmp_path / "m.gguf").exists()


@pytest.mark.skipif(not find_spec("llama_cpp"), reason='not installed: pip install "garage-swarm[llama]"')
@pytest.mark.parametrize("tokenizer", ["bpe", "bytes"])
def test_llama_cpp_computes_the_same(tokenizer: str, folder: Path, tmp_path: Path) -> None:
    import llama_cpp

    if tokenizer == "bytes":
        folder = make_base(tmp_path / "bytes", TEXTS)
        byte_level(257, ()).save_pretrained(folder)
    gguf.write(folder, tmp_path / "m.gguf", "f32", NAMED)
    plain = {"verbose": False, "n_threads": 1, "type_k": 0, "type_v": 0}  # its cache in fp32, too
    there = llama_cpp.Llama(str(tmp_path / "m.gguf"), n_ctx=128, logits_all=True, **plain)
    ids = load_tokenizer(folder)(TEXTS[0]).input_ids[:64]
    assert there.tokenize(TEXTS[0].encode(), add_bos=False, special=False)[:64] == ids
    there.eval(ids)
    model: Any = LlamaForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        expected = model(torch.tensor([ids])).logits[0].numpy()
    assert np.abs(np.array(there.scores[: len(ids)]) - expected).max() < 1e-4
    there.close()


def test_a_modelfile_puts_a_prompt_as_the_chat_template_does(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    tokenizer.chat_template = CHATML
    caps = Caps(system_prompt='Be """kind".', prompt_tokens=100, answer_tokens=28)
    assert modelfile.modelfile("gguf/m.gguf", caps, modelfile.template_of(tokenizer)) == (
        "FROM ./gguf/m.gguf\n"
        'TEMPLATE """{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n{{ end }}'
        '<|im_start|>user\n{{ .Prompt }}<|im_end|>\n<|im_start|>assistant\n{{ .Response }}<|im_end|>\n"""\n'
        'SYSTEM """Be \'\'\'kind"."""\n'
        "PARAMETER num_ctx 128\nPARAMETER num_predict 28\n"
        'PARAMETER stop """<|im_end|>"""\n'
    )


def test_a_template_that_go_cannot_say_becomes_the_prompt_alone(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    plain = modelfile.template_of(tokenizer)
    for odd in ("{{ messages | length }}{{ messages[-1].content }}", "{{ raise_exception('no') }}"):
        tokenizer.chat_template = odd
        assert modelfile.template_of(tokenizer) == plain
