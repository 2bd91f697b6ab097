"""What each call of the service takes: who may make it, how often, and how much it may hold.

A method without a rule is not served: `require_complete` fails, and the coordinator does not start.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from swarm.errors import UsageError
from swarm.excess import excess
from swarm.proto import coordinator_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["Coordinator"]


class Caller(Enum):
    """Whose call it is; each comes with an invite that is known, neither expired nor revoked."""

    INVITED = "invited"  # nothing more: it may look, and join
    MEMBER = "member"  # the process that joined as the member that the call names, with the invite that it joined with
    MAINTAINER = "maintainer"  # with the invite of a maintainer


# Calls in a minute that one invite makes from one address: a home, or a hall full of machines behind one router.
BUSY = 6000  # what members do in every round
USUAL = 1200
RARE = 120  # what leaves something behind, as a join does, or is work
DEAR = 10  # what goes over all that was ever written

_SMALL = 4 << 10  # bytes
_LARGE = 512 << 10  # of parts that say nothing, a parser makes eighty times as much
LARGEST = 1 << 20  # of a piece of a file; gRPC itself takes no more


@dataclass(frozen=True)
class Rule:
    """`most_bytes` is of one message; `lists` says how long fields may be of which each item is work. `always`: also a
    coordinator that was handed over answers.
    """

    caller: Caller
    a_minute: int = USUAL
    most_bytes: int = _SMALL
    lists: Mapping[str, int] = field(default_factory=dict)
    always: bool = False


RULES = {
    "GetRun": Rule(Caller.INVITED),
    "ListRuns": Rule(Caller.INVITED),
    "GetStatus": Rule(Caller.INVITED),
    "GetHistory": Rule(Caller.INVITED, DEAR),
    "GetHandover": Rule(Caller.INVITED, always=True),
    "Challenge": Rule(Caller.INVITED, RARE),
    "Join": Rule(Caller.INVITED, RARE),
    "GetPass": Rule(Caller.MEMBER, RARE),
    "Heartbeat": Rule(Caller.MEMBER, BUSY, 16 << 10),
    "Leave": Rule(Caller.MEMBER),
    "DialBack": Rule(Caller.INVITED, RARE),
    "ReceiveProbe": Rule(Caller.INVITED, RARE),
    "SendProbe": Rule(Caller.INVITED, RARE, LARGEST),
    "GrantRound": Rule(Caller.MEMBER, BUSY, 256 << 10, {"members": 4096}),
    "TakeLease": Rule(Caller.MEMBER, BUSY),
    "ReportRounds": Rule(Caller.MEMBER, BUSY, _LARGE, {"reports": 500}),
    "RecallLeases": Rule(Caller.MEMBER, USUAL, _LARGE, {"leases": 8192}),
    "GetLedger": Rule(Caller.INVITED, RARE),
    "ReportEvaluation": Rule(Caller.MEMBER, USUAL, 32 << 10),
    "GetCheck": Rule(Caller.MEMBER),
    "ReportCheck": Rule(Caller.MEMBER),
    "TakeUnit": Rule(Caller.INVITED),
    "AnswerUnit": Rule(Caller.INVITED, USUAL, 96 << 10, {"items": 1024}),
    "ReportFinding": Rule(Caller.INVITED, DEAR, 24 << 10),
    "GetRecord": Rule(Caller.INVITED, RARE),
    "ListCheckpoints": Rule(Caller.INVITED),
    "OfferCheckpoint": Rule(Caller.MEMBER, USUAL, 16 << 10),
    "Upload": Rule(Caller.MEMBER, USUAL, LARGEST),
    "Download": Rule(Caller.INVITED, BUSY),
    "MakeInvite": Rule(Caller.MAINTAINER, RARE),
    "ListInvites": Rule(Caller.MAINTAINER, RARE),
    "RevokeInvite": Rule(Caller.MAINTAINER, RARE),
    "ListPeers": Rule(Caller.MAINTAINER, RARE),
    "Ban": Rule(Caller.MAINTAINER, RARE),
    "Unban": Rule(Caller.MAINTAINER, RARE),
    "Trust": Rule(Caller.MAINTAINER, RARE),
    "SteerRun": Rule(Caller.MAINTAINER, RARE),
    "ApproveCheckpoint": Rule(Caller.MAINTAINER, RARE),
    "StartCampaign": Rule(Caller.MAINTAINER, RARE),
    "StopCampaign": Rule(Caller.MAINTAINER, RARE),
    "ResolveFinding": Rule(Caller.MAINTAINER, RARE),
    "HandOver": Rule(Caller.MAINTAINER, RARE, always=True),
}

HEALTH = {"Check": Rule(Caller.INVITED, always=True)}  # of grpc.health.v1; its other methods are not served
ALL = RULES | HEALTH


def require_complete(rules: Collection[str]) -> None:
    """Raises RuntimeError, naming them, when methods have no rule or rules no method."""
    methods = {method.name for method in SERVICE.methods}
    if odd := methods ^ set(rules):
        raise RuntimeError(f"methods without a rule, or rules without a method: {', '.join(sorted(odd))}")


@dataclass(frozen=True)
class Oversized:
    """What a message would be that is larger than its call's rule lets it be: nothing was made of it."""

    size: int

    def ByteSize(self) -> int:  # noqa: N802, as messages have it
        return self.size


def decoder(name: str, decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """`decode` for the messages of that call, which looks at their size before it takes memory for them."""
    most = ALL[name].most_bytes
    return lambda data: decode(data) if len(data) <= most else Oversized(len(data))


def require_size(name: str, message: Any) -> None:
    """Raises UsageError when a message of the call `name` is larger than any that a peer sends."""
    rule = ALL[name]
    if over := excess(message, rule.most_bytes, rule.lists):
        what = f"{over.found} {over.field or 'bytes'}"
        raise UsageError(f"A call {name} with {what} is refused: at most {over.most} are taken.", "Send less at once.")
