"""What screening, clipping, seals, leases and checks cost a member: processor seconds beside a round without them.

python benchmarks/bench_overhead.py [--quick]

At ten million parameters and eight peers, on one thread.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.bench_codec import CODECS, PEERS, config, model_shapes, seconds, update
from benchmarks.results import record
from peer.codecs import Codec, Shapes, encode
from peer.combine import combined, weights
from peer.exchange.butterfly import vectors
from peer.exchange.parts import cut, decoded, encoded, leaf, mean_of
from peer.leases import Use
from peer.merge import Contribution, merge, understood
from peer.seals import Claim, Notary, signer_of
from swarm import lent
from swarm.identity import Identity, ServerCertificate, server_certificate
from swarm.passes import Authority
from swarm.proto.coordinator_pb2 import Lent, Range

STEPS, BATCH, TOKENS = 30, 8, 128  # of a round in local mode; in gradient mode a member's part is one such batch
LINKS = (20, 100)  # Mbit/s, up and down


def overhead(repeats: int) -> dict[str, Any]:
    """Of a model of ten million parameters and eight peers."""
    shapes = model_shapes()
    step = _step()
    seals = seconds(_seals, repeats)
    found: dict[str, Any] = {
        "seconds_of_a_step_of_8_samples": round(step, 3),
        "seal_and_8_looks_seconds": round(seals, 4),
    }
    for name in ("sparse", "int8"):
        found[f"local, {name}"] = _local(CODECS[name], shapes, STEPS * step, repeats, seals)
    return found | _gradient(shapes, step, repeats, seals)


def _step() -> float:
    """Seconds of processor time for the gradients of a batch."""
    from transformers import AutoModelForCausalLM

    made = config()
    model = AutoModelForCausalLM.from_config(made)
    batch = torch.randint(0, made.vocab_size, (BATCH, TOKENS))

    def step() -> None:
        model(input_ids=batch, labels=batch).loss.backward()

    return seconds(step, 2)


def _local(codec: Codec, shapes: Shapes, train: float, repeats: int, seals: float) -> dict[str, float]:
    sent = [Contribution(100, encode(codec, update(shapes, seed))) for seed in range(PEERS)]
    parts = weights([one.samples for one in sent])

    def plain() -> None:
        values = [understood(codec, one.payload, shapes) for one in sent]
        for name in shapes:
            combined([one[name] for one in values], parts, 0.0, codec.sparse)

    before, now = seconds(plain, repeats), seconds(lambda: merge(codec, sent, shapes, 1.0), repeats)
    return _figures(before, now + seals, train + before)


def _gradient(shapes: Shapes, train: float, repeats: int, seals: float) -> dict[str, dict[str, float]]:
    """A member's share is a seventh of the vector (the leader does not reduce); of the plain mean an eighth. The time
    on the line of the parts that it asks for, to check one, is overhead too.
    """
    updates = [{n: torch.from_numpy(v) for n, v in update(shapes, seed).items()} for seed in range(PEERS)]
    cuts = [cut(vectors(one, "fp16")) for one in updates]
    sent = [[encoded(part, "fp16") for part in parts] for parts in cuts]
    counts = [part.numel() for part in cuts[0]]

    def plain() -> None:
        for part in cuts[0]:
            encoded(part, "fp16")
        for index in range(len(counts) // PEERS):
            values = [decoded(one[index], counts[index], "fp16") for one in sent]
            encoded(torch.from_numpy(np.mean(values, axis=0)), "fp16")

    def clipped() -> None:
        for part in cuts[0]:
            leaf(encoded(part, "fp16"))
        for index in range(-(-len(counts) // (PEERS - 1)) + 1):  # its share, and the part that it checks
            for one in sent:
                leaf(one[index])
            mean, _ = mean_of([one[index] for one in sent], [8] * PEERS, counts[index], "fp16")
            encoded(torch.from_numpy(mean), "fp16")

    before, now = seconds(plain, repeats), seconds(clipped, repeats)
    update_bytes, check_bytes = sum(map(len, sent[0])), PEERS * len(sent[0][0])
    found = {}
    for rate in LINKS:
        travel, check = (8 * size / (rate * 1e6) for size in (2 * update_bytes, check_bytes))
        found[f"gradient, fp16, {rate} Mbit/s"] = _figures(before, now + seals + check, train + before + travel)
    return found


def _figures(before: float, now: float, round_: float) -> dict[str, float]:
    return {
        "plain_seconds": round(before, 3),
        "robust_seconds": round(now, 3),
        "round_seconds": round(round_, 2),
        "percent_of_a_round": round(100 * (now - before) / round_, 2),
    }


class _Lends:
    """The keyring of a member that was let in. It verifies each word anew; a member does so once."""

    lends = True

    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    def objection(self, _claim: Claim, _public_key: bytes) -> str:
        return ""

    def lent(self, word: bytes, /) -> Lent | None:
        return lent.opened(word, self._authority)


def _seals() -> None:
    """A member seals its update, and looks at everybody's; each shows four leases of two samples."""
    identity, certificate = Identity.from_seed(bytes(32)), _certificate()
    notary = Notary("run", signer_of(identity), 100)
    notary.keyring = _Lends(Authority.of("run", certificate.certificate_pem))
    claim = Claim(1, "d" * 64, "p" * 64, 8, identity.member_id, b"peer")
    seal = notary.seal(claim, _leases(identity.member_id))
    for _ in range(PEERS):
        assert not notary.objection(claim, seal)
        assert notary.share(seal) == 1.0


@cache
def _certificate() -> ServerCertificate:
    with tempfile.TemporaryDirectory() as folder:
        return server_certificate(Path(folder))


@cache
def _leases(member: str) -> tuple[Use, ...]:
    spans = [Range(start=2 * number, stop=2 * number + 2) for number in range(4)]
    words = [Lent(run="run", member=member, lease_id=f"{n}-x", range=span, share=1.0) for n, span in enumerate(spans)]
    return tuple(Use(lent.signed(word, _certificate()), 2) for word in words)


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="each once; writes nothing")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    record("overhead", overhead(1 if quick else 5), quick)


if __name__ == "__main__":
    main()
