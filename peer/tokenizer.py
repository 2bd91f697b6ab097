"""The run's tokenizer: made here, or the model's own, saved as files that transformers loads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from swarm.errors import ModelError
from swarm.runspec import RunSpec

END = "<|endoftext|>"
_CHARACTERS = 50_000_000  # enough for any vocabulary; bounds time and memory


def make_tokenizer(spec: RunSpec, texts: Iterable[str], base: Path) -> Any:
    """The tokenizer that `spec` names; `texts` are read only to train one. Raises ModelError and what `texts` does."""
    kind, _, size = spec.model.tokenizer.partition(":")
    if kind == "model":
        return _from_model(spec, base)
    return byte_level(int(size), _limited(texts)) if size else byte_level(257, ())


def byte_level(size: int, texts: Iterable[str]) -> Any:
    """A byte-level BPE of at most `size` entries: the end of text, the 256 bytes, then merges learned from `texts`.

    Method: Sennrich et al. (arXiv 1508.07909) on bytes, as in GPT-2. The same texts give the same tokenizer.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=END, eos_token=END, pad_token=END)


def _from_model(spec: RunSpec, base: Path) -> Any:
    from transformers import AutoTokenizer  # loads torch, which a tokenizer of our own does not need

    from peer.model import built, model_location

    source, revision = model_location(spec, base)
    load = AutoTokenizer.from_pretrained
    tokenizer = built(source, lambda: load(source, revision=revision, trust_remote_code=False))
    if tokenizer.eos_token_id is None:
        what = f"The tokenizer of {spec.model.source} has no end-of-text token, which must stand between documents."
        raise ModelError(what, 'Set model.tokenizer to "bpe:N" or "bytes".')
    return tokenizer


def _limited(texts: Iterable[str]) -> Iterator[str]:
    left = _CHARACTERS
    for text in texts:
        yield text[:left]
        left -= len(text)
        if left <= 0:
            return
