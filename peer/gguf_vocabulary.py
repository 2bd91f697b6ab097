"""A tokenizer as GGUF holds it: byte-level BPE with merges, the project's own tokenizers among them.

llama.cpp splits texts by rules of its own, which a file names in `tokenizer.ggml.pre`; a tokenizer whose rule is not
among those below would be read wrongly, and is refused.
"""

from __future__ import annotations

import json
from typing import Any

from swarm import extras
from swarm.errors import ModelError

_NEVER = "\0never \0never"  # llama.cpp wants merges; this one joins nothing, because no symbol of a text looks so
_LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def library() -> Any:
    """The `gguf` library. Raises UsageError, which says how to install it."""
    extras.require("release", "Writing GGUF", "gguf")
    import gguf

    return gguf


def add(writer: Any, tokenizer: Any, config: Any) -> None:
    """Write the vocabulary, filled up to the model's. Raises ModelError for a tokenizer that cannot be told so."""
    described = json.loads(tokenizer.backend_tokenizer.to_str())
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_splitting(described))
    tokens, types = _tokens(described, config.vocab_size)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(_merges(described) or [_NEVER])
    _add_special(writer, tokenizer)


def _splitting(described: dict[str, Any]) -> str:
    """llama.cpp's name for how texts are cut before merges."""
    before = described.get("pre_tokenizer") or {}
    steps = before.get("pretokenizers", [before])
    last = steps[-1]
    if described["model"]["type"] != "BPE" or last.get("type") != "ByteLevel" or last.get("add_prefix_space"):
        raise _cannot("it is no byte-level BPE")
    if described.get("normalizer"):
        raise _cannot("it changes texts before it splits them")
    if len(steps) == 1 and last.get("use_regex", True):
        return "gpt-2"
    if len(steps) == 2 and steps[0].get("pattern") == {"Regex": _LLAMA_3} and not last.get("use_regex", True):
        return "llama-bpe"
    raise _cannot("it splits texts by a rule that llama.cpp knows under no name of ours")


def _tokens(described: dict[str, Any], size: int) -> tuple[list[str], list[Any]]:
    """Each token and its type by id; ids that the model has and the tokenizer has not are unused."""
    added = {entry["id"]: entry for entry in described.get("added_tokens", [])}
    by_id = {number: text for text, number in described["model"]["vocab"].items()}
    by_id.update({number: entry["content"] for number, entry in added.items()})
    if max(by_id) >= size:
        raise _cannot(f"it has a token {max(by_id)}, and the model only {size}")
    tokens = [by_id.get(number, f"[UNUSED{number}]") for number in range(size)]
    return tokens, [_type(number, by_id, added) for number in range(size)]


def _type(number: int, by_id: dict[int, str], added: dict[int, Any]) -> Any:
    types = library().TokenType
    if number in added:
        return types.CONTROL if added[number]["special"] else types.USER_DEFINED
    return types.NORMAL if number in by_id else types.UNUSED


def _merges(described: dict[str, Any]) -> list[str]:
    return [merge if isinstance(merge, str) else " ".join(merge) for merge in described["model"]["merges"]]


def _add_special(writer: Any, tokenizer: Any) -> None:
    known = (
        (tokenizer.bos_token_id, writer.add_bos_token_id),
        (tokenizer.eos_token_id, writer.add_eos_token_id),
        (tokenizer.pad_token_id, writer.add_pad_token_id),
        (tokenizer.unk_token_id, writer.add_unk_token_id),
    )
    for number, tell in known:
        if number is not None:
            tell(number)
    ids = tokenizer("a").input_ids
    writer.add_add_bos_token(bool(ids) and ids[0] == tokenizer.bos_token_id)
    writer.add_add_eos_token(len(ids) > 1 and ids[-1] == tokenizer.eos_token_id)
    if isinstance(tokenizer.chat_template, str):
        writer.add_chat_template(tokenizer.chat_template)


def _cannot(why: str) -> ModelError:
    return ModelError(
        f"This tokenizer cannot be written as GGUF: {why}.",
        "Leave out --gguf, or convert the folder with llama.cpp's convert_hf_to_gguf.py.",
    )
