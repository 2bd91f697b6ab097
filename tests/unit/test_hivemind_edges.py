"""hivemind's edges that the exchange closes or goes around; those that need processes are in tests/integration."""

from __future__ import annotations

import asyncio
import re
import time
import tomllib
from uuid import UUID, uuid4

import pytest
import torch
from google.protobuf.internal.encoder import _VarintBytes

from peer.exchange import butterfly
from peer.exchange.node import Node, _parse
from peer.exchange.rounds import Member
from peer.exchange.snapshot import first_offers
from swarm.proto import exchange_pb2
from tests.harness import ROOT

from hivemind.averaging.allreduce import AllreduceException  # isort: skip - after peer.exchange
from hivemind.compression import serialize_torch_tensor  # isort: skip
from hivemind.p2p.p2p_daemon_bindings.control import ControlClient  # isort: skip
from hivemind.proto import p2pd_pb2, runtime_pb2  # isort: skip

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


def answer(call: UUID, said: bytes) -> bytes:
    """What p2pd writes when a call was answered."""
    response = p2pd_pb2.CallUnaryResponse(response=said)
    message = p2pd_pb2.PersistentConnectionResponse(callId=call.bytes, callUnaryResponse=response)
    return _VarintBytes(message.ByteSize()) + message.SerializeToString()


def test_answers_to_calls_that_nobody_waits_for_make_nobody_deaf() -> None:
    """Stock hivemind's reader ends when an answer comes in the moment in which its call timed out."""

    async def play() -> bytes:
        control = ControlClient(None, _initialized_with_create=True)
        late, twice, live = uuid4(), uuid4(), uuid4()
        for call in (late, twice, live):
            control._pending_calls[call] = asyncio.Future()
        waiting = control._pending_calls[live]
        control._pending_calls[late].cancel()
        reader = asyncio.StreamReader()
        reader.feed_data(answer(late, b"late") + 2 * answer(twice, b"again") + answer(live, b"heard"))
        reading = asyncio.ensure_future(control._read_from_persistent_conn(reader))
        try:
            return await asyncio.wait_for(waiting, 5)
        finally:
            reading.cancel()

    assert asyncio.run(play()) == b"heard"


def test_a_silent_donor_holds_up_nobody() -> None:
    async def donor(seconds: float, round_: int | None) -> exchange_pb2.Snapshot | None:
        await asyncio.sleep(seconds)
        return None if round_ is None else exchange_pb2.Snapshot(available=True, round=round_)

    async def asked(*donors: tuple[float, int | None]) -> tuple[list[int], float]:
        began = time.monotonic()
        offers = await first_offers([donor(*one) for one in donors], others=0.3)
        return sorted(offer.round for offer in offers), time.monotonic() - began

    rounds, seconds = asyncio.run(asked((0.0, None), (0.2, 7), (0.3, 8), (60.0, 9)))
    assert rounds == [7, 8]
    assert seconds < 5
    assert asyncio.run(asked((0.0, None), (0.1, None)))[0] == []
    assert asyncio.run(asked())[0] == []


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
