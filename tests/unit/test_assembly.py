"""torch.compile is tried with what training does: a gradient in the run's precision."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from peer import assembly
from tests.unit.test_gradients import Hungry, gradients, network, spec


class Uncompiled(nn.Module):
    """As torch.compile gives it where only the forward pass works, or nothing with autocast."""

    def __init__(self, inner: nn.Module, precision: str) -> None:
        super().__init__()
        self.inner = inner
        self.precision = precision

    def forward(self, **inputs: Any) -> Any:
        found = self.inner(**inputs)
        if self.precision == "fp32":
            found.logits.register_hook(self._fail)
        elif torch.is_autocast_enabled("cpu"):
            self._fail(found.logits)
        return found

    def _fail(self, _: Tensor) -> None:
        raise RuntimeError("No such kernel.\nA long story")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_compiled_model_that_cannot_train_is_left(monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    monkeypatch.setattr(torch, "compile", lambda model: Uncompiled(model, precision))
    model, said = network(), list[str]()
    found = assembly.compiled(model, lambda forward: gradients(forward, 4, precision), spec(precision), said.append)
    assert found._model is model
    assert said[-1] == "torch.compile does not work here; training without it: No such kernel."


def test_a_compiled_model_that_does_not_fit_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda model: Hungry(model, 0))
    model, said = network(), list[str]()
    found = assembly.compiled(model, gradients, spec(), said.append)
    assert found._model is model
    assert said[-1] == "the compiled model does not fit into memory; training without torch.compile"


def test_one_that_works_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda model: Hungry(model, 9))
    found = assembly.compiled(network(), gradients, spec(), print)
    assert isinstance(found._model, Hungry)
