"""Updates that are refused for their form: each in many variants, and the round's result is the one without them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from peer.codecs import codec_of, encode
from peer.exchange.parts import encoded, mean_of
from peer.merge import Contribution, merge
from peer.seals import Claim, Notary, signer_of
from swarm.identity import Identity
from swarm.sections import Local

VARIANTS = 50
_SHAPES = {"a": (64, 128), "b": (300,)}
_COUNT = 1000


def refusals() -> dict[str, Any]:
    """{kind: [refused without a trace, tried]}."""
    found: dict[str, list[int]] = {}
    for kind, harmless in (*_payloads(), *_parts(), *_seals()):
        row = found.setdefault(kind, [0, 0])
        row[0] += harmless
        row[1] += 1
    return found


def _payloads() -> Iterator[tuple[str, bool]]:
    for name in ("sparse", "int8", "fp16", "none"):
        codec = codec_of(Local(codec=name, kept=256))  # type: ignore[arg-type]
        draw = np.random.default_rng(0)
        good = [
            Contribution(8, encode(codec, {n: draw.standard_normal(shape) for n, shape in _SHAPES.items()}))
            for _ in range(4)
        ]
        alone = merge(codec, good, _SHAPES, 1.0).update
        for kind, payload in _bad(good[0].payload, codec):
            made = merge(codec, [*good, Contribution(8, payload)], _SHAPES, 1.0)
            yield f"local: {kind}", list(made.refused) == [4] and _same(made.update, alone)


def _bad(payload: bytes, codec: Any) -> Iterator[tuple[str, bytes]]:
    for seed in range(VARIANTS):
        draw = np.random.default_rng(seed)
        yield "oversized", payload + draw.bytes(1 + seed * 100)
        yield "truncated", payload[: draw.integers(len(payload))]
        for kind, value in (("NaN", np.nan), ("inf", np.inf)):
            update = {n: draw.standard_normal(shape) for n, shape in _SHAPES.items()}
            update["a"].reshape(-1)[draw.integers(64 * 128)] = value
            yield kind, encode(codec, update)


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one)


def _parts() -> Iterator[tuple[str, bool]]:
    for codec in ("none", "fp16", "8bit"):
        good = [encoded(torch.randn(_COUNT, generator=torch.Generator().manual_seed(n)), codec) for n in range(4)]
        alone, _ = mean_of(good, [8] * 4, _COUNT, codec)
        for seed in range(VARIANTS):
            values = torch.randn(_COUNT, generator=torch.Generator().manual_seed(100 + seed))
            spoiled = {value: values.clone() for value in ("NaN", "inf")}
            for value, tensor in spoiled.items():
                tensor[seed] = float(value)
            bad = {
                "oversized": encoded(torch.cat([values, values[: 1 + seed]]), codec),
                "truncated": good[0][: 7 * seed],
                "another codec": encoded(values, {"none": "fp16", "fp16": "8bit", "8bit": "none"}[codec]),
                **{value: encoded(tensor, codec) for value, tensor in spoiled.items()},
            }
            for kind, data in bad.items():
                made, refused = mean_of([*good, data], [8] * 5, _COUNT, codec)
                yield f"gradient: {kind}", list(refused) == [4] and np.array_equal(made, alone)


def _seals() -> Iterator[tuple[str, bool]]:
    """Refused before anything of the update is taken: at the leader's, and by every member that sees the group."""
    for seed in range(VARIANTS):
        one, other = (Identity.from_seed(hashlib.sha256(f"{name}{seed}".encode()).digest()) for name in "ab")
        notary = Notary("run", signer_of(one), 100)
        claim = Claim(seed + 1, "d" * 64, "p" * 64, 8, one.member_id, b"peer")
        seal = notary.seal(claim)
        assert not notary.objection(claim, seal)
        yield "seal: stale (an earlier round)", bool(notary.objection(replace(claim, round=seed + 2), seal))
        yield "seal: another state", bool(notary.objection(replace(claim, digest="e" * 64), seal))
        yield "seal: another payload", bool(notary.objection(replace(claim, payload="q" * 64), seal))
        yield "seal: weight 1e9", bool(_objection(notary, replace(claim, samples=10**9)))
        yield "seal: weight -1", bool(_objection(notary, replace(claim, samples=2**64 - 1)))
        forged = Notary("run", signer_of(other), 100).seal(claim)
        yield "seal: another member's name", bool(notary.objection(claim, forged))
        yield "seal: of another process", bool(notary.objection(replace(claim, peer_id=b"thief"), seal))


def _objection(notary: Notary, claim: Claim) -> str:
    return notary.objection(claim, notary.seal(claim))
