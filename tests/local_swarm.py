"""Peers of local mode in one process: learners, codec and combination are real, only the network is missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from peer.codecs import codec_of, encode
from peer.exchange.average import merged
from peer.exchange.base import Applied
from peer.local_mode import LocalLearner
from peer.merge import Contribution


def exchange(
    learners: Sequence[LocalLearner], samples: Sequence[int], meanwhile: Callable[[], None] = lambda: None
) -> int:
    """End a round in which each learner trained on `samples[i]` samples; the bytes of one payload.

    `meanwhile` is called while the updates travel.
    """
    local = learners[0].spec.local
    codec = codec_of(local)
    updates = [learner.update(count) for learner, count in zip(learners, samples, strict=True)]
    payloads = [encode(codec, {name: t.numpy() for name, t in update.tensors.items()}) for update in updates]
    shapes = {name: tuple(tensor.shape) for name, tensor in updates[0].tensors.items()}
    meanwhile()
    found = [Contribution(count, payload) for count, payload in zip(samples, payloads, strict=True)]
    for learner, own in zip(learners, payloads, strict=True):
        average = merged(codec, found, shapes, local.clip, own)
        result = Applied(
            average.mean, average.norm, sum(samples), len(learners), taken=average.taken, lost=average.lost
        )
        learner.apply(result)
    return len(payloads[0])
