"""Which device is picked, and the sentence that says why."""

from __future__ import annotations

import pytest
import torch

from peer import device
from peer.device import Hardware, choose
from swarm.errors import UsageError

TWO = Hardware(cuda=("RTX 3060", "RTX 4090"))
AMD = Hardware(cuda=("RX 7900",), rocm=True)
MAC = Hardware(mps=True)


@pytest.mark.parametrize(
    ("name", "found", "picked", "why"),
    [
        ("auto", TWO, "cuda:0", "RTX 3060 (CUDA)"),
        ("auto", AMD, "cuda:0", "RX 7900 (ROCm)"),
        ("auto", MAC, "mps", "Mac"),
        ("auto", Hardware(), "cpu", "no GPU"),
        ("cpu", TWO, "cpu", "as asked"),
        ("cuda", TWO, "cuda:0", "RTX 3060"),
        ("cuda:1", TWO, "cuda:1", "RTX 4090"),
        ("rocm", AMD, "cuda:0", "RX 7900 (ROCm)"),
        ("mps", MAC, "mps", "as asked"),
    ],
)
def test_what_is_picked_and_why(name: str, found: Hardware, picked: str, why: str) -> None:
    choice = choose(name, found)
    assert choice.device == picked
    assert why in choice.why
    assert choice.why.endswith(".")


@pytest.mark.parametrize("name", ["cuda:2", "mps", "cuda:x", "cuda:-1", "tpu", "", "auto:1"])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(UsageError) as refusal:
        choose(name, TWO)
    assert repr(name) in refusal.value.what
    assert "auto, cpu, cuda:0, cuda:1" in refusal.value.remedy


def test_this_machine_has_a_device_that_torch_takes() -> None:
    assert torch.zeros(1, device=choose("auto", device.hardware()).device).item() == 0


def test_threads_are_set_only_when_asked() -> None:
    before = torch.get_num_threads()
    try:
        device.use_threads(0)
        assert torch.get_num_threads() == before
        device.use_threads(1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
