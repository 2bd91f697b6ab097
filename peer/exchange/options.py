"""What a run, a volunteer and a supervisor settle of an exchange before it begins."""

from __future__ import annotations

from dataclasses import dataclass, field

from peer.exchange.allreduce import AllReduce
from peer.exchange.ballot import Ballot
from peer.exchange.carrier import Carrier
from peer.exchange.clipped import Clipped, Reducing
from peer.exchange.gather import Gather
from peer.exchange.leader import Arbiter, Rules, nobody_else
from peer.exchange.node import Node
from peer.exchange.protocol import Servicer
from peer.exchange.ways import Way
from peer.line import Line
from peer.seals import Notary
from swarm.sections import Local


@dataclass(frozen=True)
class ExchangeOptions:
    """The spec's part of an exchange: when a round closes; the codec of gradients, or in local mode its section. And
    the volunteer's line, and who says which part of a cut swarm goes on.
    """

    rules: Rules
    codec: str = "none"
    local: Local | None = None
    line: Line = field(default_factory=Line)
    arbiter: Arbiter = nobody_else
    ballot: Ballot = field(default_factory=Ballot)
    notary: Notary | None = None  # among strangers: seals updates, and looks at others'
    clipped: bool = False  # gradient mode: a robust mean instead of the plain one


def way_of(
    node: Node, servicer: Servicer, carrier: Carrier, reducing: Reducing | None, options: ExchangeOptions
) -> Way:
    """How updates become one, by the options."""
    if options.local:
        return Gather(node, carrier, options.local, options.rules.patience)
    if options.clipped and options.notary and reducing:
        return Clipped(node, reducing, options.notary, options.codec, options.rules.patience)
    return AllReduce(node, servicer, options.codec, options.rules.patience)
