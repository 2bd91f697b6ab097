"""Plain PyTorch training, to compare the swarm with: torch's own AdamW and clipping, no code of the project's but the
schedule and the loss of packed records."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from peer.data import Samples
from peer.model import loss_sum
from peer.schedule import learning_rate
from swarm.runspec import RunSpec
from swarm.sections import Training


def plain_loop(model: nn.Module, batches: Iterable[Tensor], spec: RunSpec) -> list[float]:
    """One optimizer step on each global batch [n, sequence_length + 1]; the mean loss of each before its step."""
    optimizer = torch_adamw(list(model.parameters()), spec.training)
    losses, seen = [], 0
    for tokens in batches:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(spec.training, seen)
        losses.append(_step(model, tokens, optimizer, spec.training))
        seen += len(tokens)
    return losses


def torch_adamw(parameters: list[nn.Parameter], training: Training) -> torch.optim.AdamW:
    """torch.optim.AdamW with the run's settings; weight decay on matrices only."""
    matrices = [parameter for parameter in parameters if parameter.ndim >= 2]
    others = [parameter for parameter in parameters if parameter.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": training.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    betas = (training.beta1, training.beta2)
    return torch.optim.AdamW(groups, lr=training.learning_rate, betas=betas, eps=training.eps)


def _step(model: nn.Module, tokens: Tensor, optimizer: torch.optim.Optimizer, training: Training) -> float:
    """Mean gradient over the batch, in micro-batches so that memory does not depend on the batch."""
    total = 0.0
    for part in torch.split(tokens, training.micro_batch_size):
        logits = model(input_ids=part[:, :-1]).logits
        loss = cross_entropy(logits.flatten(0, 1), part[:, 1:].flatten()) * (len(part) / len(tokens))
        loss.backward()
        total += float(loss.detach())
    if training.clip_norm:
        nn.utils.clip_grad_norm_(model.parameters(), training.clip_norm)
    optimizer.step()
    optimizer.zero_grad()
    return total


def plain_adapters(model: nn.Module, batches: Iterable[Samples], spec: RunSpec, targets_per_sample: float) -> None:
    """Train the adapters of a PEFT model in place, one step of torch's AdamW on each global batch."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch_adamw(parameters, spec.training)
    seen = 0
    for batch in batches:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(spec.training, seen)
        for part in batch.split(spec.training.micro_batch_size):
            (loss_sum(model, part, targets_per_sample) / len(batch)).backward()
        nn.utils.clip_grad_norm_(parameters, spec.training.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        seen += len(batch)
