"""What an exchange gave one member, and how members compare it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from peer.codecs import Codec, Floats, Shapes
from peer.exchange.base import Seen
from peer.merge import Contribution, merge, understood
from swarm.proto import exchange_pb2 as pb


class GoneError(Exception):
    """A member without whom there is no average takes no calls any more. Nobody accuses it."""


class Complaints(dict[bytes, pb.Complaint]):
    """About members that did not do their part."""

    def add(self, peer: bytes, why: str) -> None:
        """Nothing came from a member; the first complaint about one counts."""
        self.setdefault(peer, pb.Complaint(peer_id=peer, why=why, fault=pb.NOTHING_CAME))


@dataclass(frozen=True)
class Average:
    """The averaged tensors with their digest and global L2 norm; `broken` says why it must not be used.

    `taken` is what of this peer's own update is in it, where that differs from the update; `rates` are the bytes per
    second at which others were seen to send. `lost` is what averaging lost of adapters (`peer.factors.lost`). `refused`
    are the contributions that were left out, by their place; in local mode `sent` are the others, by member.
    `complaints` are about members that did not do their part, `shares` what each reducer gave this member, `seen` what
    this member saw of the update of the one that it watches.
    """

    mean: dict[str, Tensor] = field(default_factory=dict)
    digest: str = ""
    norm: float = 0.0
    bytes_sent: int = 0
    bytes_received: int = 0
    broken: str = ""
    taken: dict[str, Tensor] = field(default_factory=dict)
    lost: float = 0.0
    rates: dict[bytes, float] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    sent: dict[str, Contribution] = field(default_factory=dict)
    complaints: tuple[pb.Complaint, ...] = ()
    shares: tuple[pb.Share, ...] = ()
    seen: dict[str, Seen] = field(default_factory=dict)


def measure(mean: dict[str, Tensor], bytes_sent: int = 0, bytes_received: int = 0) -> Average:
    """Digest (SHA-256 of the values in the order of their names) and norm of CPU tensors.

    The norm is a sum, which differs between machines in its last bits; the leader's is used by all.
    """
    digest = hashlib.sha256()
    squares = 0.0
    for name in sorted(mean):
        digest.update(mean[name].contiguous().numpy().data)
        squares += float(mean[name].double().square().sum())
    broken = "" if math.isfinite(squares) else "the average is not finite"
    return Average(mean, digest.hexdigest(), math.sqrt(squares), bytes_sent, bytes_received, broken)


def merged(codec: Codec, found: Sequence[Contribution], shapes: Shapes, clip: float, own: bytes) -> Average:
    """The combined update of local mode, and what the swarm takes from this peer's `own` payload, if it has one.

    Raises CorruptError when no payload can be read.
    """
    result = merge(codec, found, shapes, clip)
    # What weighs nothing counts as taken: kept for the next round it would only grow.
    kept = {item.payload for place, item in enumerate(found) if place not in result.refused}
    taken = understood(codec, own, shapes) if own in kept else {}
    average = measure(_tensors(result.update))
    return replace(average, taken=_tensors(taken), lost=result.lost, refused=result.refused)


def _tensors(values: dict[str, Floats]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in values.items()}
