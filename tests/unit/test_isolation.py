"""Models that cannot keep packed documents apart are refused, whatever their weights."""

from __future__ import annotations

import pytest
from transformers import BloomConfig, GPT2Config, LlamaConfig, MambaConfig, OPTConfig, Qwen3Config

from peer.isolation import require_isolation
from swarm.errors import ModelError

SIZES = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
APART = [
    LlamaConfig(**SIZES, intermediate_size=64),
    Qwen3Config(**SIZES, intermediate_size=64, num_key_value_heads=2, head_dim=16),
    GPT2Config(vocab_size=300, n_embd=32, n_layer=2, n_head=2),
]
TOGETHER = [
    OPTConfig(**SIZES, ffn_dim=64, word_embed_proj_dim=32),
    BloomConfig(vocab_size=300, hidden_size=32, n_layer=2, n_head=2),
    MambaConfig(vocab_size=300, hidden_size=32, num_hidden_layers=2),
]


@pytest.mark.parametrize("config", APART, ids=lambda config: config.model_type)
def test_models_that_keep_documents_apart_pass(config: object) -> None:
    require_isolation(config)


@pytest.mark.parametrize("config", TOGETHER, ids=lambda config: config.model_type)
def test_models_that_let_documents_see_each_other_are_refused(config: object) -> None:
    with pytest.raises(ModelError, match="see each other") as caught:
        require_isolation(config)
    assert "stream" in caught.value.remedy
