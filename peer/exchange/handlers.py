"""How every handler of other nodes' calls is put up: who calls must have a pass, not too often, and not with too much.

There is a rule for each of them, by its name; a handler without one is not put up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from peer import seals
from peer.exchange import guard
from peer.exchange.refusals import Refusals
from peer.exchange.roll import Roll
from peer.newest import Newest
from swarm.excess import excess

guard.prepare()

from hivemind.p2p import P2P, P2PContext, ServicerBase  # noqa: E402
from hivemind.utils.asyncio import asingle  # noqa: E402

_CALLERS = 4096  # whose calls are counted
_FIRST_SECONDS = 10.0  # until a caller has said what it wants: a silent one is kept no longer
_NEXT_SECONDS = 600.0  # until each of its next messages: 4 MiB on the slowest lines, and whatever it has to wait for
_GROUP = 1024  # members of one
_ID, _SHA256, _HEX, _SENTENCE = 64, 32, 64, 1000  # bytes or characters


@dataclass(frozen=True)
class Rule:
    """How often one node may call: so often in a second, after as many at once. How large each of its messages may be,
    in bytes, and its fields, in bytes or items.
    """

    a_second: float
    at_once: int
    largest: int
    fields: Mapping[str, int] = field(default_factory=dict)


RULES: Mapping[str, Rule] = {
    "Servicer.rpc_progress": Rule(20, 200, 1 << 10),
    "Servicer.rpc_ready": Rule(
        5, 50, 128 << 10, {"digest": _HEX, "payload": _HEX, "member": _ID, "made_by": _GROUP, "seal": seals.LARGEST}
    ),
    "Servicer.rpc_commit": Rule(
        5,
        50,
        512 << 10,
        {
            "group_id": _ID,
            "digest": _HEX,
            "why": _SENTENCE,
            "rates": _GROUP,
            "complaints": _GROUP,
            "shares": _GROUP,
        },
    ),
    "Servicer.rpc_outcome": Rule(20, 100, 1 << 10, {"group_id": _ID}),
    "Servicer.rpc_snapshot": Rule(1, 20, 1 << 10),  # writes a state to disk, once in a round
    "Servicer.rpc_holdings": Rule(5, 100, 1 << 10, {"sha256": _HEX}),
    "Servicer.rpc_chunk": Rule(200, 400, 1 << 10, {"sha256": _HEX}),
    "Servicer.rpc_aggregate_part": Rule(5, 50, 4 << 20, {"group_id": _ID}),
    "Reducing.rpc_reduce": Rule(5, 50, 4 << 20, {"group_id": _ID}),
    "Reducing.rpc_inputs": Rule(2, 50, 1 << 10, {"group_id": _ID}),
    "Carrier.rpc_payload": Rule(20, 200, 1 << 10, {"group_id": _ID, "sha256": _HEX}),
    "Carrier.rpc_bring": Rule(5, 50, 1 << 20, {"group_id": _ID, "sha256": _HEX, "manifest": _GROUP}),
}


class Bucket:
    """Calls of one node: `at_once`, and `a_second` more with each second. Seconds."""

    def __init__(self, rule: Rule, now: float) -> None:
        self._rule = rule
        self._left = float(rule.at_once)
        self._at = now

    def takes(self, now: float) -> bool:
        """Whether one more is within the rule; if so, it is counted."""
        self._left = min(self._rule.at_once, self._left + (now - self._at) * self._rule.a_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def oversize(rule: Rule, message: Any) -> str:
    """What of a message is larger than its rule allows; empty when nothing is."""
    over = excess(message, rule.largest, rule.fields)
    if over is None:
        return ""
    what = f"{over.field} is of {over.found}" if over.field else f"it has {over.found} bytes"
    return f"{what}, more than {over.most}"


class Handlers:
    """Of one node in one run."""

    def __init__(self, roll: Roll, clock: Callable[[], float] = time.monotonic) -> None:
        self._roll = roll
        self._clock = clock
        self._buckets = Newest[tuple[bytes, str], Bucket](_CALLERS)
        self._refusals = Refusals()

    async def put_up(self, servicer: ServicerBase, p2p: P2P, run: str) -> None:
        """From now on its handlers answer. Raises KeyError for one without a rule."""
        servicer._collect_rpc_handlers()
        for found in servicer._rpc_handlers:
            name = servicer._get_handle_name(run, found.method_name)
            # hivemind would wait for the one message of a call that it answers by a stream before it asks us.
            streams = {"stream_input": found.stream_input or found.stream_output, "stream_output": found.stream_output}
            await p2p.add_protobuf_handler(name, self._guarded(servicer, found), found.request_type, **streams)

    def _guarded(self, servicer: ServicerBase, found: Any) -> Callable[..., Any]:
        name = f"{type(servicer).__name__}.{found.method_name}"
        rule, method = RULES[name], getattr(servicer, found.method_name)

        async def admit(said: Any, context: P2PContext) -> Any:
            """What was said, once the caller may say it; a stream is looked at as it comes."""
            await self._admit(name, rule, context.remote_id.to_bytes())
            if found.stream_input:
                return self._looked_at(name, rule, said, context, _NEXT_SECONDS)
            if found.stream_output:
                return await asingle(self._looked_at(name, rule, said, context, _FIRST_SECONDS))
            self._look_at(name, rule, said, context)
            return said

        return _streaming(method, admit) if found.stream_output else _answering(method, admit)

    async def _admit(self, name: str, rule: Rule, caller: bytes) -> None:
        why = await self._roll.admit(caller)
        if not why and not self._bucket(caller, name, rule).takes(self._clock()):
            why = "it calls too often"
        if why:
            raise self._refusals.refuse(caller, name, why)

    def _bucket(self, caller: bytes, name: str, rule: Rule) -> Bucket:
        """That of who called last is the last to be forgotten."""
        bucket = self._buckets.get((caller, name)) or Bucket(rule, self._clock())
        self._buckets[caller, name] = bucket
        return bucket

    def _look_at(self, name: str, rule: Rule, message: Any, context: P2PContext) -> None:
        if why := oversize(rule, message):
            raise self._refusals.refuse(context.remote_id.to_bytes(), name, why)

    async def _looked_at(
        self, name: str, rule: Rule, stream: AsyncIterator[Any], context: P2PContext, next_: float
    ) -> AsyncIterator[Any]:
        """What comes is waited for; `next_` seconds for each but the first."""
        messages, caller, seconds = aiter(stream), context.remote_id.to_bytes(), _FIRST_SECONDS
        while True:
            try:
                async with asyncio.timeout(seconds):
                    message = await anext(messages)
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                raise self._refusals.refuse(caller, name, f"it sent nothing for {seconds:g} s") from error
            if why := await self._roll.admit(caller):  # it may have been banned since
                raise self._refusals.refuse(caller, name, why)
            self._look_at(name, rule, message, context)
            yield message
            seconds = next_


Admit = Callable[[Any, P2PContext], Awaitable[Any]]


def _answering(method: Callable[..., Awaitable[Any]], admit: Admit) -> Callable[..., Awaitable[Any]]:
    async def handler(said: Any, context: P2PContext) -> Any:
        return await method(await admit(said, context), context)

    return handler


def _streaming(method: Callable[..., AsyncIterator[Any]], admit: Admit) -> Callable[..., AsyncIterator[Any]]:
    async def handler(said: Any, context: P2PContext) -> AsyncIterator[Any]:
        async for message in method(await admit(said, context), context):
            yield message

    return handler
