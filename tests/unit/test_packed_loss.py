"""The law of packing: documents in one sample cost what they cost alone."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from peer.data import Samples
from peer.model import loss_sum

DRAW = torch.Generator().manual_seed(3)
DOCUMENTS = [torch.randint(0, 50, (length,), generator=DRAW) for length in (7, 2, 5, 9, 4)]


def model(attention: str) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        attn_implementation=attention,
    )
    return LlamaForCausalLM(config)


def packed(rows: list[list[int]], length: int, learned: bool = True) -> Samples:
    """A sample for each list of documents, filled up with padding; of a document all but the first token is learned."""
    tokens, marks = torch.zeros(len(rows), length, dtype=torch.long), torch.zeros(len(rows), length, dtype=torch.int16)
    for row, documents in enumerate(rows):
        begin = 0
        for number, document in enumerate(documents, start=1):
            text = DOCUMENTS[document]
            tokens[row, begin : begin + len(text)] = text
            marks[row, begin : begin + len(text)] = number if learned else -number
            marks[row, begin] = -number
            begin += len(text)
    return Samples(tokens, marks)


def gradient(network: LlamaForCausalLM, *parts: Samples) -> tuple[float, torch.Tensor]:
    network.zero_grad()
    losses = [loss_sum(network, part, 10.0) for part in parts]
    torch.stack(losses).sum().backward()
    found = network.model.embed_tokens.weight.grad
    assert found is not None
    return float(torch.stack(losses).detach().sum()), found.clone()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_documents_cost_together_what_they_cost_alone(attention: str) -> None:
    network = model(attention)
    alone = [packed([[number]], len(text)) for number, text in enumerate(DOCUMENTS)]
    plain = [Samples(text[None]) for text in DOCUMENTS]
    loss, slope = gradient(network, packed([[0, 1, 2], [3, 4]], 17))
    for other, other_slope in (gradient(network, *alone), gradient(network, *plain)):
        assert loss == pytest.approx(other, rel=1e-5)
        torch.testing.assert_close(slope, other_slope, rtol=1e-4, atol=1e-5)


def test_what_is_not_learned_costs_nothing() -> None:
    network = model("sdpa")
    assert float(loss_sum(network, packed([[0, 1]], 12, learned=False), 10.0).detach()) == 0
    samples = packed([[0, 1]], 12)
    assert samples.marks is not None
    samples.marks[0, 1:5] *= -1
    logits = network(input_ids=DOCUMENTS[0][None]).logits[0].log_softmax(-1)
    kept = -sum(logits[t - 1, DOCUMENTS[0][t]] for t in (5, 6))
    second = loss_sum(network, Samples(DOCUMENTS[1][None]), 10.0)
    expected = (kept / 10 + second).detach()
    assert float(loss_sum(network, samples, 10.0).detach()) == pytest.approx(float(expected), rel=1e-5)


def test_padding_disturbs_nothing() -> None:
    network = model("sdpa")
    loss = float(loss_sum(network, packed([[0, 1, 2]], 14), 10.0).detach())
    assert loss == pytest.approx(float(loss_sum(network, packed([[0, 1, 2]], 30), 10.0).detach()), rel=1e-5)
