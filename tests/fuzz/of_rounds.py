"""What peers say to each other to form a group and to decide a round, by the real handlers."""

from __future__ import annotations

import hashlib
from typing import Any, cast

from peer.exchange import attempt, court, node, reporter
from peer.exchange.carrier import Carrier
from peer.exchange.gather import Gather
from peer.exchange.protocol import Servicer
from peer.exchange.ways import alike
from peer.leases import Use
from peer.seals import Claim, nonce_of
from swarm.proto import exchange_pb2 as pb
from swarm.sections import Local
from tests.fuzz.of_files import MEMORY, SMALL, of_message
from tests.fuzz.peers import GROUP, B, Silent, caller, new_leader, ones, sealed_group, spin, strangers
from tests.fuzz.run import Decoder
from tests.strangers import DIGEST, Stranger, Wire


def _progress(message: pb.Progress) -> None:
    async def say() -> None:
        leader = new_leader()
        await Servicer(leader).rpc_progress(message, caller(B))

    spin(say())


def _ready(message: pb.ReadyRequest) -> None:
    async def say() -> None:
        leader = new_leader()
        await leader.ready(B, message)

    spin(say())


def _judged(message: pb.ReadyRequest) -> None:
    table = strangers()
    spin(table.court.ready(table.strangers[1].node.id, message))


def _formed() -> attempt.Attempt:
    """A group of the two strangers in front of the court."""
    group = sealed_group()
    made = attempt.Attempt(members=tuple(member.peer_id for member in group.members))
    made.group.set_result(group)
    return made


def _committed(message: pb.CommitRequest) -> None:
    table = strangers()

    async def say() -> None:
        table.court._attempts[GROUP] = _formed()
        await table.court.commit(table.strangers[1].node.id, message)

    spin(say())
    table.court._attempts.clear()
    table.court.outcomes.clear()
    table.court.admit(table.strangers[0].notary)


def _grouped(group: pb.Group) -> None:
    """As `SwarmExchange` takes the leader's word."""
    stranger = strangers().strangers[1]
    payload = hashlib.sha256(stranger.way.parcel(stranger.update)).hexdigest()
    if group.verdict != pb.GO or attempt.unsound(group, stranger.node.id, payload):
        return
    if not court.objection(stranger.notary, group, 0, DIGEST):
        spin(stranger.way.average(group, stranger.update, b""), 0.02)
    stranger.reducing.meetings._works.clear()


def _gathered(group: pb.Group) -> None:
    """The same among members that know each other, in local mode: nothing is sealed."""
    update = ones()
    wire = Wire()
    own = Stranger("two", wire).node
    own.stub = lambda *_: cast(Any, Silent())  # type: ignore[method-assign]

    async def average() -> object:
        way = Gather(cast(node.Node, own), Carrier(), Local(), 0.01, alike)
        parcel = way.parcel(update)
        if attempt.unsound(group, own.id, hashlib.sha256(parcel).hexdigest()):
            return None
        return await way.average(group, update, parcel)

    spin(average(), 0.05)


def _asked_outcome(message: pb.OutcomeQuery) -> None:
    async def ask() -> None:
        await Servicer(new_leader()).rpc_outcome(message, cast(Any, None))

    spin(ask())


def _outcome(message: pb.Outcome) -> None:
    attempt.for_member(message, DIGEST).SerializeToString()


def _view(message: pb.SwarmView) -> None:
    reporter._read(message, pb.Progress(round=3))


def _seal() -> Decoder:
    one = strangers().strangers[0]
    claim = Claim(0, DIGEST, "p" * 64, 8, one.identity.member_id, one.node.id)
    seeds = (one.notary.seal(claim), one.notary.seal(claim, [Use(b"word", 5), Use(b"other", 3)]))

    def take(data: bytes) -> None:
        assert one.notary.objection(claim, data) or any(_same_seal(data, seed) for seed in seeds)
        one.notary.share(data)
        nonce_of(data)
        one.notary.made(GROUP, DIGEST, data[:64], data)

    return Decoder("seal", take, seeds, SMALL, MEMORY, message=pb.Seal, covers=(pb.Seal,))


def _same_seal(data: bytes, seed: bytes) -> bool:
    """Written another way, or with fields that nobody reads."""
    mine, other = pb.Seal.FromString(data), pb.Seal.FromString(seed)
    return all(getattr(mine, name) == getattr(other, name) for name in ("public_key", "nonce", "signature", "uses"))


def decoders() -> list[Decoder]:
    first, second = strangers().strangers
    ready, group = second.ready(), sealed_group()
    share = pb.Share(peer_id=first.node.id, sha256="0" * 64, signature=bytes(64))
    complaint = pb.Complaint(peer_id=first.node.id, why="w", fault=pb.WRONG_MEAN)
    said = pb.CommitRequest(group_id=GROUP, round=0, complete=True, digest=DIGEST, norm=1.0)
    said.rates.append(pb.Rate(peer_id=first.node.id, bytes_per_second=1e6))
    lied = pb.CommitRequest(group_id=GROUP, why="w", complaints=[complaint], shares=[share])
    payload = hashlib.sha256(Gather(cast(Any, first.node), Carrier(), Local(), 1.0, alike).parcel(ones())).hexdigest()
    seats = [pb.GroupMember(peer_id=one.node.id, samples=8, payload=payload, member="m") for one in (first, second)]
    plain = pb.Group(group_id=GROUP, members=seats, leader=first.node.id)
    return [
        of_message("peer: Progress", _progress, (pb.Progress(samples=8, samples_per_second=2.0, hold_seconds=5.0),)),
        of_message("peer: SwarmView", _view, (pb.SwarmView(round=3, samples=8, members=2, why="w"),)),
        of_message("peer: ReadyRequest", _ready, (ready,)),
        of_message("peer: ReadyRequest, sealed", _judged, (ready,)),
        of_message("peer: Group, sealed", _grouped, (group,)),
        of_message("peer: Group, local mode", _gathered, (plain, group)),
        of_message("peer: CommitRequest", _committed, (said, lied)),
        of_message("peer: Outcome", _outcome, (pb.Outcome(digest=DIGEST, norm=1.0, why="w"),)),
        of_message("peer: OutcomeQuery", _asked_outcome, (pb.OutcomeQuery(group_id=GROUP, round=1),)),
        of_message(
            "peer: OutcomeReply",
            lambda message: _outcome(message.outcome),
            (pb.OutcomeReply(known=True, outcome=pb.Outcome(digest=DIGEST)),),
        ),
        _seal(),
    ]
