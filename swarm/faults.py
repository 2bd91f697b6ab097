"""What a peer may find wrong with what it computes or holds; the words travel in heartbeats."""

from __future__ import annotations

from enum import StrEnum


class Fault(StrEnum):
    """Only the first two say that the model itself may have diverged; the others are of one machine."""

    NOT_FINITE = "not-finite"  # a loss, an update, an average or a state is not a finite number
    LOSS_SPIKE = "loss-spike"
    OTHER_STATE = "other-state"  # the majority holds another state, or another average
    DAMAGED_STATE = "damaged-state"  # the state in memory is not the one that it was


DIVERGING = frozenset({Fault.NOT_FINITE, Fault.LOSS_SPIKE})
