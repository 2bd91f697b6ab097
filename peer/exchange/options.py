"""What a run, a volunteer and a supervisor settle of an exchange before it begins."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from peer.exchange.allreduce import AllReduce
from peer.exchange.ballot import Ballot
from peer.exchange.carrier import Carrier
from peer.exchange.clipped import Clipped, Reducing
from peer.exchange.closing import Rules
from peer.exchange.court import Court
from peer.exchange.gather import Gather
from peer.exchange.hearsay import Ask, as_they_say
from peer.exchange.leader import Arbiter, Leader, nobody_else
from peer.exchange.node import Node
from peer.exchange.protocol import Servicer
from peer.exchange.ways import Way, alike
from peer.line import Line
from peer.seals import Notary
from swarm.sections import Local


@dataclass(frozen=True)
class ExchangeOptions:
    """The spec's part of an exchange: when a round closes; the codec of gradients, or in local mode its section. And
    the volunteer's line, who says which part of a cut swarm goes on, and what the coordinator knows of the run.
    """

    rules: Rules
    codec: str = "none"
    local: Local | None = None
    line: Line = field(default_factory=Line)
    arbiter: Arbiter = nobody_else
    ballot: Ballot = field(default_factory=Ballot)
    ask: Ask = as_they_say
    notary: Notary | None = None  # among strangers: seals updates, and looks at others'
    clipped: bool = False  # gradient mode: a robust mean instead of the plain one


def leader_at(node: Node, options: ExchangeOptions) -> Leader:
    """The leader's side of the rounds at this node."""
    leader = Leader(node.id, options.rules, node.members)
    if options.notary:
        leader = court = Court(node.id, options.rules, node.members)
        court.admit(options.notary)
    leader.relays = lambda: node.relays
    leader.arbiter, leader.hearsay.ask = options.arbiter, options.ask
    return leader


def way_of(node: Node, servicer: Servicer, options: ExchangeOptions) -> tuple[Way, list[Any]]:
    """How updates become one, by the options; and its handlers of other members' calls, besides `servicer`."""
    patience = options.rules.patience
    weigh = options.notary.share if options.notary else alike
    if options.local:
        carrier = Carrier()
        return Gather(node, carrier, options.local, patience, weigh), [carrier]
    if options.clipped and options.notary:
        reducing = Reducing(node, options.notary, patience)
        return Clipped(node, reducing, options.notary, options.codec, patience), [reducing]
    return AllReduce(node, servicer, options.codec, patience, weigh), []
