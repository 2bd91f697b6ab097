"""The two ways in which a formed group makes one update of all: the interface that the rounds see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from peer.exchange.average import Average
from peer.exchange.base import Update
from swarm.proto import exchange_pb2 as pb

# What each sample of the update with this seal weighs, 0 to 1 (`peer.seals.Notary.share`).
Weigh = Callable[[bytes], float]


def alike(_seal: bytes) -> float:
    """Among those who trust each other."""
    return 1.0


class Way(Protocol):
    """`allreduce.py` averages on the way (gradient mode), `gather.py` brings everything to everybody (local mode)."""

    def parcel(self, update: Update) -> bytes:
        """What travels as one piece and is named by its SHA-256 in the round's manifest; nothing when none does.

        Takes a while: not for the event loop.
        """

    async def average(self, group: pb.Group, update: Update, parcel: bytes) -> Average:
        """The group's result as this member has it, also when it is alone; a failure is said in `broken`."""
