"""What a machine's pace is measured by: the training itself, not what comes once before it."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor, nn

from peer import pace
from peer.device import Hardware, place
from peer.learner import Learner
from tests.unit.test_gradients import network, spec


def test_what_is_computed_again_until_fp16_has_its_scale_is_not_in_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls, timed = network(), [], []
    train = pace._train

    def enlarge(module: nn.Module, given: Any, made: Tensor) -> None:
        calls.append(len(made))
        made.register_hook(lambda gradient: (gradient.float() * 2.0**8).to(gradient.dtype))

    def watched(learner: Learner) -> tuple[int, float]:
        before = len(calls)
        samples, rate = train(learner)
        timed.extend(calls[before:])
        assert sum(timed) == samples
        return samples, rate

    model.model.layers[0].mlp.down_proj.register_forward_hook(enlarge)
    monkeypatch.setattr(pace, "_SECONDS", 0.2)
    monkeypatch.setattr(pace, "_train", watched)
    pace.measured(spec("fp16"), model, place(spec("fp16"), "cpu", Hardware()))
    assert timed
