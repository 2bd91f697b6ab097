"""Our AdamW: torch's results, its own arithmetic bit by bit, its state."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from peer.optimizer import AdamW
from swarm.errors import CorruptError
from swarm.sections import Training
from tests.reference import torch_adamw

SETTINGS = Training(rounds=100, target_batch_size=8)
SHAPES = {"bias": (7,), "scale": (), "weight": (5, 7), "large": (300, 500)}


def parameters() -> dict[str, nn.Parameter]:
    random = torch.Generator().manual_seed(1)
    return {name: nn.Parameter(torch.randn(shape, generator=random)) for name, shape in SHAPES.items()}


def gradients(seed: int) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=random) for name, shape in SHAPES.items()}


def test_a_hundred_steps_equal_those_of_torch() -> None:
    ours, theirs = parameters(), parameters()
    optimizer, reference = AdamW(ours, SETTINGS), torch_adamw(list(theirs.values()), SETTINGS)
    for step in range(1, 101):
        rate = 1e-2 / step
        optimizer.step(gradients(step), step, rate, scale=0.5)
        for group in reference.param_groups:
            group["lr"] = rate
        for name, parameter in theirs.items():
            parameter.grad = gradients(step)[name] * 0.5
        reference.step()
    for name, parameter in ours.items():
        torch.testing.assert_close(parameter, theirs[name], rtol=1e-5, atol=1e-6)


def test_each_operation_is_rounded_alone() -> None:
    """NumPy, one IEEE operation at a time, gives the same bits: so does any device that rounds by the standard."""
    ours = parameters()
    optimizer = AdamW(ours, SETTINGS)
    expected = {name: p.detach().numpy().copy() for name, p in ours.items()}
    first = {name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()}
    second = {name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()}
    number = np.float32
    for step in range(1, 21):
        optimizer.step(gradients(step), step, 3e-3, scale=0.3)
        rate, spread = 3e-3 / (1 - 0.9**step), 1 / (1 - 0.95**step) ** 0.5
        for name, gradient in gradients(step).items():
            g = gradient.numpy() * number(0.3)
            if expected[name].ndim >= 2:
                expected[name] = expected[name] * number(1 - 3e-3 * 0.1)
            first[name] = first[name] * number(0.9) + g * number(1 - 0.9)
            second[name] = second[name] * number(0.95) + g * g * number(1 - 0.95)
            direction = first[name] / (np.sqrt(second[name]) * number(spread) + number(1e-8))
            expected[name] = expected[name] - direction * number(rate)
    for name, parameter in ours.items():
        assert np.array_equal(parameter.detach().numpy(), expected[name]), name


def test_a_loaded_state_goes_on_bit_by_bit() -> None:
    straight, resumed = parameters(), parameters()
    one, two = AdamW(straight, SETTINGS), AdamW(resumed, SETTINGS)
    one.step(gradients(1), 1, 1e-2)
    two.load({**one.state(), "model/weight": torch.zeros(1)})
    with torch.no_grad():
        for name, parameter in resumed.items():
            parameter.copy_(straight[name])
    one.step(gradients(2), 2, 1e-2)
    two.step(gradients(2), 2, 1e-2)
    for name, parameter in straight.items():
        assert torch.equal(parameter, resumed[name])


def test_only_matrices_decay() -> None:
    ours = parameters()
    before = {name: p.detach().clone() for name, p in ours.items()}
    nothing = {name: torch.zeros(shape) for name, shape in SHAPES.items()}
    AdamW(ours, SETTINGS).step(nothing, 1, 0.5)
    assert torch.equal(ours["bias"], before["bias"])
    torch.testing.assert_close(ours["weight"].detach(), before["weight"] * 0.95)


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing() -> None:
    optimizer = AdamW(parameters(), SETTINGS)
    state = {name: torch.ones_like(moment) for name, moment in optimizer.state().items()}
    state["optimizer/exp_avg_sq/weight"] = torch.ones(5, 8)
    with pytest.raises(CorruptError, match="optimizer/exp_avg_sq/weight"):
        optimizer.load(state)
    assert not any(moment.any() for moment in optimizer.state().values())
