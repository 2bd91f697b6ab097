"""Every handler has a rule, and nothing gets past it."""

from __future__ import annotations

import asyncio
import re
from types import SimpleNamespace
from typing import Any, AsyncIterator  # noqa: UP035 - hivemind knows a stream by typing's alias only

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.exchange import handlers
from peer.exchange.handlers import RULES, Bucket, Handlers, Rule, oversize
from peer.exchange.refusals import RefusedCallError
from peer.exchange.roll import Roll
from peer.leases import MOST
from swarm.lent import LARGEST
from swarm.proto import exchange_pb2 as pb
from tests.harness import ROOT
from tests.rpcs import handlers_of_ours

from hivemind.p2p import P2PContext, ServicerBase  # isort: skip - after peer.exchange


def test_every_handler_has_a_rule_and_every_rule_a_handler() -> None:
    assert handlers_of_ours() == set(RULES)


def test_handlers_are_put_up_in_one_place_only() -> None:
    adding = re.compile(r"\.add_(p2p|protobuf)_handlers?\(")
    found = {path.name for path in (ROOT / "peer").rglob("*.py") if adding.search(path.read_text())}
    assert found == {"handlers.py"}


class Servicer(ServicerBase):
    """One with a handler more, of the same name as ours."""

    async def rpc_more(self, request: pb.Progress, _context: P2PContext) -> pb.SwarmView:
        raise NotImplementedError(request)


def test_a_handler_without_a_rule_is_not_put_up() -> None:
    with pytest.raises(KeyError, match="rpc_more"):
        asyncio.run(Handlers(Roll()).put_up(Servicer(), P2P(), "test"))


@given(st.lists(st.floats(0, 3), max_size=60), st.integers(1, 5), st.integers(1, 10))
def test_nobody_calls_more_often_than_its_rule_says(pauses: list[float], a_second: int, at_once: int) -> None:
    bucket, now, taken = Bucket(Rule(a_second, at_once, 0), 0.0), 0.0, 0
    for pause in pauses:
        now += pause
        taken += bucket.takes(now)
    assert taken <= at_once + a_second * now
    assert taken >= min(at_once, len(pauses))


OVERSIZE = [
    ("Servicer.rpc_ready", pb.ReadyRequest(made_by=["m"] * 2000)),
    ("Servicer.rpc_ready", pb.ReadyRequest(member="m" * 100)),
    ("Servicer.rpc_ready", pb.ReadyRequest(seal=bytes(9000))),
    ("Servicer.rpc_commit", pb.CommitRequest(why="w" * 5000)),
    ("Servicer.rpc_commit", pb.CommitRequest(complaints=[pb.Complaint()] * 2000)),
    ("Servicer.rpc_commit", pb.CommitRequest(complaints=[pb.Complaint(why="w" * 600_000)])),
    ("Servicer.rpc_commit", pb.CommitRequest(shares=[pb.Share()] * 2000)),
    ("Servicer.rpc_commit", pb.CommitRequest(rates=[pb.Rate()] * 2000)),
    ("Servicer.rpc_outcome", pb.OutcomeQuery(group_id=bytes(100))),
    ("Servicer.rpc_chunk", pb.ChunkRequest(sha256="a" * 100)),
    ("Reducing.rpc_reduce", pb.Part(leaves=bytes(5 << 20))),
    ("Carrier.rpc_bring", pb.PayloadPart(manifest=["a"] * 2000)),
    ("Carrier.rpc_bring", pb.PayloadPart(data=bytes(2 << 20))),
]


@pytest.mark.parametrize(("name", "message"), OVERSIZE, ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_too_large_is_refused_by_name(name: str, message: Any) -> None:
    assert "more than" in oversize(RULES[name], message)
    assert oversize(RULES[name], type(message)()) == ""


def test_a_seal_with_the_most_and_longest_words_on_leases_fits() -> None:
    use = pb.Use(lent=bytes(LARGEST), samples=(1 << 64) - 1)
    seal = pb.Seal(public_key=bytes(32), nonce=bytes(16), signature=bytes(64), uses=[use] * MOST)
    said = pb.ReadyRequest(seal=seal.SerializeToString(), made_by=["0" * 19] * 1024)
    assert oversize(RULES["Servicer.rpc_ready"], said) == ""


class P2P:
    """Keeps what is put up."""

    def __init__(self) -> None:
        self.handlers: dict[str, Any] = {}

    async def add_protobuf_handler(self, name: str, handler: Any, *_: object, **__: object) -> None:
        self.handlers[name.rsplit(".", 1)[1]] = handler


class Carrier(ServicerBase):
    """Counts what it is given, by ours' names."""

    def __init__(self) -> None:
        self.given = 0

    async def rpc_payload(self, request: pb.PayloadRequest, _context: P2PContext) -> AsyncIterator[pb.ChunkPart]:
        self.given += 1
        yield pb.ChunkPart(data=request.sha256.encode())

    async def rpc_bring(self, stream: AsyncIterator[pb.PayloadPart], _context: P2PContext) -> pb.PayloadReply:
        async for _ in stream:
            self.given += 1
        return pb.PayloadReply()


CALLER: Any = SimpleNamespace(remote_id=SimpleNamespace(to_bytes=lambda: b"caller"))


async def put_up(carrier: Carrier, roll: Any) -> dict[str, Any]:
    p2p = P2P()
    await Handlers(roll, clock=lambda: 0.0).put_up(carrier, p2p, "test")
    return p2p.handlers


async def parts(*given: Any) -> AsyncIterator[Any]:
    for part in given:
        yield part


def test_a_stream_ends_at_the_first_message_that_is_too_large() -> None:
    carrier = Carrier()

    async def bring() -> None:
        put = await put_up(carrier, Roll())
        await put["rpc_bring"](parts(pb.PayloadPart(), pb.PayloadPart(data=bytes(2 << 20))), CALLER)

    with pytest.raises(RefusedCallError, match="more than"):
        asyncio.run(bring())
    assert carrier.given == 1


def test_who_calls_too_often_is_refused_for_a_while() -> None:
    carrier = Carrier()

    async def flood() -> None:
        put = await put_up(carrier, Roll())
        for _ in range(1000):
            async for _ in put["rpc_payload"](parts(pb.PayloadRequest()), CALLER):
                pass

    with pytest.raises(RefusedCallError, match="too often"):
        asyncio.run(flood())
    assert carrier.given == RULES["Carrier.rpc_payload"].at_once


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "_FIRST_SECONDS", 0.05)
    monkeypatch.setattr(handlers, "_NEXT_SECONDS", 0.05)


async def silent_after(*said: Any) -> AsyncIterator[Any]:
    """Who says that, and nothing more, nor that it was all."""
    for message in said:
        yield message
    await asyncio.sleep(3600)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("said", [0, 1])
def test_a_stream_that_says_nothing_is_not_kept(said: int) -> None:
    """Neither before its first message nor after it."""
    carrier = Carrier()

    async def bring() -> None:
        put = await put_up(carrier, Roll())
        await asyncio.wait_for(put["rpc_bring"](silent_after(*[pb.PayloadPart()] * said), CALLER), 5.0)

    with pytest.raises(RefusedCallError, match="it sent nothing"):
        asyncio.run(bring())
    assert carrier.given == said


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("said", [0, 1])
def test_a_call_whose_one_message_does_not_come_or_end_is_not_kept(said: int) -> None:
    """hivemind would wait for it, whoever calls."""
    carrier = Carrier()

    async def payload() -> None:
        put = await put_up(carrier, Roll())
        async with asyncio.timeout(5.0):
            async for _ in put["rpc_payload"](silent_after(*[pb.PayloadRequest()] * said), CALLER):
                pass

    with pytest.raises(RefusedCallError, match="it sent nothing"):
        asyncio.run(payload())
    assert carrier.given == 0


class Closing:
    """A roll that bans the caller once its stream has begun."""

    def __init__(self) -> None:
        self.asked = 0

    async def admit(self, _peer_id: bytes) -> str:
        self.asked += 1
        return "it was banned" if self.asked > 2 else ""


def test_a_ban_ends_a_stream_that_has_begun() -> None:
    carrier = Carrier()

    async def bring() -> None:
        put = await put_up(carrier, Closing())
        await put["rpc_bring"](parts(pb.PayloadPart(), pb.PayloadPart()), CALLER)

    with pytest.raises(RefusedCallError, match="it was banned"):
        asyncio.run(bring())
    assert carrier.given == 1


class Closed:
    """A roll that lets nobody in."""

    async def admit(self, _peer_id: bytes) -> str:
        return "it has no pass"


def test_a_strangers_stream_is_not_read() -> None:
    carrier, read = Carrier(), []

    async def stream() -> AsyncIterator[pb.PayloadPart]:
        read.append(1)
        yield pb.PayloadPart()

    async def bring() -> None:
        await (await put_up(carrier, Closed()))["rpc_bring"](stream(), CALLER)

    with pytest.raises(RefusedCallError, match="no pass"):
        asyncio.run(bring())
    assert not read
    assert not carrier.given
