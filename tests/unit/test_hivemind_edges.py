"""hivemind's edges that the exchange closes or goes around; those that need processes are in tests/integration."""

from __future__ import annotations

import re
import tomllib

import pytest
import torch

from peer.exchange import butterfly
from peer.exchange.node import Node, _parse
from peer.exchange.rounds import Member
from tests.harness import ROOT

from hivemind.averaging.allreduce import AllreduceException  # isort: skip - after peer.exchange
from hivemind.compression import serialize_torch_tensor  # isort: skip
from hivemind.proto import runtime_pb2  # isort: skip

NONE, FP16 = runtime_pb2.CompressionType.NONE, runtime_pb2.CompressionType.FLOAT16


def checker(codec: int = NONE) -> butterfly.ExactAllReduce:
    reducer = butterfly.ExactAllReduce.__new__(butterfly.ExactAllReduce)
    reducer._codec = codec
    return reducer


def test_a_part_must_have_the_groups_codec_and_size_and_be_expected() -> None:
    """Stock reducers take the sender's codec and broadcast a small tensor over a large one."""
    part, shape = serialize_torch_tensor(torch.ones(8), NONE), torch.Size([8])
    assert checker()._check(part, shape) == shape
    with pytest.raises(AllreduceException, match="codec"):
        checker(FP16)._check(part, shape)
    with pytest.raises(AllreduceException, match="size"):
        checker()._check(serialize_torch_tensor(torch.ones(1), NONE), shape)
    with pytest.raises(AllreduceException, match="more parts"):
        checker()._check(part, None)
    part.buffer = bytes(100_000)
    with pytest.raises(AllreduceException, match="size"):
        checker()._check(part, shape)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_part_must_be_finite_and_of_the_agreed_shape(bad: float) -> None:
    with pytest.raises(AllreduceException, match="not finite"):
        butterfly._decode(serialize_torch_tensor(torch.tensor([1.0, bad]), NONE), torch.Size([2]))
    with pytest.raises(AllreduceException, match="shape"):
        butterfly._decode(serialize_torch_tensor(torch.ones(2, 2), NONE), torch.Size([4]))


class Dht:
    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    def get_visible_maddrs(self, latest: bool) -> list[str]:
        return list(self.addresses)


def test_loopback_is_announced_only_when_there_is_nothing_else() -> None:
    local, other = "/ip4/127.0.0.1/tcp/1/p2p/X", "/ip4/192.0.2.7/tcp/1/p2p/X"
    me = Member(0.0, b"x")
    assert Node(Dht(local, other), None, "run", me).maddrs() == [other]  # type: ignore[arg-type]
    assert Node(Dht(local), None, "run", me).maddrs() == [local]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value", [None, [], "x", [1, False, True], ["a", "b", "c"], {"a": 1}, [1.0, False, True, "of another lineage", 1]]
)
def test_nonsense_in_the_membership_records_is_no_member(value: object) -> None:
    assert _parse(b"key", value, 0) is None


def test_generated_code_runs_on_the_oldest_permitted_protobuf() -> None:
    """Generated code refuses a runtime older than its generator."""
    text = (ROOT / "swarm/proto/coordinator_pb2.py").read_text()
    generator = tuple(map(int, re.search(r"Protobuf Python Version: ([\d.]+)", text)[1].split(".")))  # type: ignore[index]
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    floor = next(item for item in wanted if item.startswith("protobuf")).split(">=")[1].split(",")[0]
    assert generator <= tuple(map(int, floor.split(".")))
