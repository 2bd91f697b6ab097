"""What a coordinator takes from callers: every request, by its real servicer, engine and store."""

from __future__ import annotations

import hashlib
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError, Message
from immutables import Map

from coordinator import decisions as d
from coordinator.admission import Admission
from coordinator.artefacts import read_artefacts
from coordinator.audit import Audit
from coordinator.blobs import Blobs
from coordinator.engine import Engine
from coordinator.gate import Gate
from coordinator.handover import Lead
from coordinator.rules import LARGEST, decoder
from coordinator.servicer import Servicer
from coordinator.store import open_store
from coordinator.watches import SpotCheck, Watch
from swarm import runspec
from swarm.errors import SwarmError
from swarm.identity import Identity, server_certificate
from swarm.passes import answer
from swarm.proto import coordinator_pb2 as pb
from swarm.tensorfile import state_digest
from swarm.version import PROTOCOL_VERSION
from tests.fuzz.run import Decoder
from tests.histories import TERMS
from tests.small_run import checkpoint, prepared

MESSAGE = LARGEST + 4096  # bytes: what the coordinator's gRPC server takes at most
MEMORY = 64 << 20  # bytes: a message's values as Python objects
_KEY, _OTHER = Identity.from_seed(b"k" * 32), Identity.from_seed(b"o" * 32)
_TESTER = Identity.from_seed(b"t" * 32)
_TOKEN = "token-of-the-machine"
_MEMORY_DISK = Path("/dev/shm")  # where there is one: every request is written to disk before it is answered
_TEXT = pb.TextSample(prompt="The ", text="cat\n")
_CAMPAIGN = pb.Campaign(kind="redteam", suite="garage", unit_items=2, seconds=60.0, tolerance=0.1)
_SILENCE = 10.0  # seconds; the coordinator believes a silent member for 15
_FRESH = 200  # requests until the run begins anew: most would be refused else

RUN = TERMS.run
MEMBER, HONEST = _KEY.member_id, _OTHER.member_id


class Context:
    """What gRPC says of a call."""

    def __init__(self, session: str) -> None:
        self._metadata = (
            ("swarm-protocol", str(PROTOCOL_VERSION)),
            ("authorization", f"Bearer {_TOKEN}"),
            ("swarm-session", session),
        )

    def invocation_metadata(self) -> Any:
        return self._metadata

    def peer(self) -> str:
        return "ipv4:127.0.0.254:5000"


class World:
    """A coordinator without a network: a run with an honest member, and the one that is played."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="fuzz-", dir=_MEMORY_DISK if _MEMORY_DISK.is_dir() else None)
        folder = Path(self._folder.name)
        first = prepared(folder)
        certificate = server_certificate(folder)
        self._fingerprint = certificate.fingerprint
        self.store = open_store(RUN, folder)
        self.store.write([d.CheckpointAccepted(first)], 0.0)
        self.engine = Engine(self.store.load(TERMS), self.store, Blobs(folder / "blobs"))
        admission = Admission(self.engine, _TOKEN)
        lead = Lead(folder, self.engine)
        spec, artefacts = runspec.load(folder / "run.toml"), read_artefacts(folder / "artefacts.json")
        self.servicer = Servicer(spec, artefacts, self.engine, list, admission, "history", lead, certificate)
        self.audit = Audit(folder)
        self.gate = Gate(self.engine, admission, lead, self.audit, clock=self._minute)
        self.runs = 0
        self._made = time.monotonic()
        for identity, session in ((_KEY, "liar"), (_OTHER, "honest")):
            self.servicer.Join(self.sign(pb.JoinRequest(run=RUN, name=session), identity, session), Context(session))
        self.lease = self.servicer.TakeLease(_member(pb.TakeLeaseRequest(samples=8)), Context("liar"))

    @property
    def is_old(self) -> bool:
        """Its members fell silent meanwhile."""
        return time.monotonic() - self._made > _SILENCE

    def _minute(self) -> float:
        """Each request comes in a minute of its own: what is many is another matter."""
        return 60.0 * self.runs

    def sign(self, request: pb.JoinRequest, identity: Identity, session: str) -> pb.JoinRequest:
        """With an answer to a fresh challenge: who has a key may say anything else of itself."""
        request.public_key = identity.public_key
        challenge = pb.ChallengeRequest(run=RUN, public_key=identity.public_key)
        request.nonce = self.servicer.Challenge(challenge, Context(session)).nonce
        words = answer(RUN, self._fingerprint, request.nonce, request.seat, session)
        request.signature = identity.private_key.sign(words)
        return request

    def prove(self, proof: pb.KeyProof) -> None:
        """The key of somebody who is no member, by an answer to a fresh challenge."""
        request = self.sign(pb.JoinRequest(), _TESTER, "liar")
        for name in ("public_key", "nonce", "signature"):
            setattr(proof, name, getattr(request, name))

    def close(self) -> None:
        self.audit.close()
        self.store.close()
        self._folder.cleanup()

    def enter(self, method: str, request: Any, context: Any) -> None:
        """As the gate lets a call in. Raises what it does."""
        self.gate._look(method, request, self.gate._enter(method, context), context)

    def goes_on(self) -> None:
        """What was said must not keep others from working, nor the coordinator from starting again."""
        if self.engine.closed:
            return
        self.engine.apply()
        self.servicer.Heartbeat(pb.HeartbeatRequest(run=RUN, member_id=HONEST, phase="training"), Context("honest"))
        self.servicer.GetStatus(pb.GetStatusRequest(run=RUN), Context("honest")).SerializeToString()
        if self.runs % 16 == 1:
            self.store.load(TERMS)
            self.servicer.GetRun(pb.GetRunRequest(run=RUN), Context("honest")).SerializeToString()
            self.servicer.GetLedger(pb.GetLedgerRequest(run=RUN), Context("honest")).SerializeToString()


class Worlds:
    """The present one."""

    def __init__(self) -> None:
        self._world: World | None = None

    def next(self) -> World:
        if self._world and (self._world.runs >= _FRESH or self._world.engine.closed or self._world.is_old):
            self._world.close()
            self._world = None
        self._world = self._world or World()
        self._world.runs += 1
        return self._world


def _member(request: Any, member: str = MEMBER) -> Any:
    request.run, request.member_id = RUN, member
    return request


def _offered() -> tuple[pb.Checkpoint, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        made = checkpoint(Path(folder), 1)
        path = Path(folder) / "blobs" / made.sha256
        said = pb.Checkpoint(round=1, digest=state_digest(path), sha256=made.sha256, size=made.size, global_samples=8)
        return said, path.read_bytes()


def _report() -> pb.RoundReport:
    part = pb.LeasedRange(lease_id="1", range=pb.Range(start=0, stop=8))
    return pb.RoundReport(round=0, digest="d" * 64, swarm_samples=8, global_samples=8, group_size=1, counted=[part])


def requests() -> dict[str, tuple[Message, ...]]:
    """A valid one at least for each method of the service."""
    said, data = _offered()
    digest = hashlib.sha256(b"x").hexdigest()
    measured = pb.Evaluation(round=0, digest=digest, heldout_loss=2.0, metrics={"f1": 0.5}, samples=[_TEXT])
    span = pb.Range(start=0, stop=8)
    proof = pb.KeyProof(public_key=_KEY.public_key, nonce=b"n" * 32, signature=b"s" * 64)
    items = [pb.ItemAnswer(index=index, value=1.0, weight=1.0, digest=b"d" * 32) for index in range(2)]
    finding = pb.ReportFindingRequest(
        run=RUN, title="t", severity="high", category="c", reproduction="ask it", disclose=1e9
    )
    recalled = pb.RecalledLease(lease_id="1", range=span, held=[span])
    beat = pb.HeartbeatRequest(
        phase="training", round=1, samples_per_second=3.0, loss=2.0, maddrs=["/ip4/10.0.0.1/tcp/1"], device="cpu",
        quarantine=pb.Quarantine(fault="not-finite", round=1, in_a_row=1, why="NaN"),
    )  # fmt: skip
    return {
        "GetRun": (pb.GetRunRequest(run=RUN),),
        "ListRuns": (pb.ListRunsRequest(),),
        "GetStatus": (pb.GetStatusRequest(run=RUN),),
        "GetHistory": (pb.GetHistoryRequest(run=RUN),),
        "GetHandover": (pb.GetHandoverRequest(run=RUN),),
        "Challenge": (pb.ChallengeRequest(run=RUN, public_key=_KEY.public_key),),
        "GetPass": (_member(pb.PassRequest(peer_id=b"p" * 34)),),
        "ListPeers": (pb.ListPeersRequest(run=RUN),),
        "Ban": (pb.BanRequest(run=RUN, member=MEMBER, why="w"),),
        "Trust": (pb.TrustRequest(run=RUN, member=MEMBER, why="w"),),
        "SteerRun": (pb.SteerRunRequest(run=RUN, course="paused", why="w"),),
        "ApproveCheckpoint": (pb.ApproveCheckpointRequest(run=RUN, round=0, why="w"),),
        "Unban": (pb.UnbanRequest(run=RUN, member=MEMBER),),
        "Join": (pb.JoinRequest(run=RUN, public_key=_KEY.public_key, name="n", version="1", credit="c", replaces="s"),),
        "Heartbeat": (_member(beat), _member(pb.HeartbeatRequest(phase="waiting", why="w", digest=digest))),
        "Leave": (_member(pb.LeaveRequest(reason="enough")),),
        "DialBack": (pb.DialBackRequest(port=1024, nonce=bytes(16)),),
        "ReceiveProbe": (pb.ProbeRequest(),),
        "SendProbe": (pb.Chunk(data=bytes(100)),),
        "GrantRound": (_member(pb.GrantRoundRequest(round=0, members=[MEMBER, HONEST])),),
        "TakeLease": (_member(pb.TakeLeaseRequest(samples=8)),),
        "ReportRounds": (_member(pb.ReportRoundsRequest(reports=[_report()])),),
        "RecallLeases": (_member(pb.RecallLeasesRequest(leases=[recalled])),),
        "GetLedger": (pb.GetLedgerRequest(run=RUN), pb.GetLedgerRequest(run=RUN, from_round=1, to_round=2)),
        "ReportEvaluation": (_member(pb.ReportEvaluationRequest(evaluation=measured)),),
        "GetCheck": (_member(pb.GetCheckRequest(check="c", round=1)),),
        "ReportCheck": (_member(pb.ReportCheckRequest(check="c", round=1, outcome="given up", why="w")),),
        "TakeUnit": (pb.TakeUnitRequest(run=RUN, proof=proof, receipts=1),),
        "AnswerUnit": (pb.AnswerUnitRequest(run=RUN, proof=proof, campaign="C1", unit=0, items=items),),
        "ReportFinding": (finding,),
        "GetRecord": (pb.GetRecordRequest(run=RUN), pb.GetRecordRequest(run=RUN, after=1)),
        "StartCampaign": (pb.StartCampaignRequest(run=RUN, campaign=_CAMPAIGN),),
        "StopCampaign": (pb.StopCampaignRequest(run=RUN, id="C1", why="w"),),
        "ResolveFinding": (pb.ResolveFindingRequest(run=RUN, id="F1", state="fixed", note="n"),),
        "ListCheckpoints": (pb.ListCheckpointsRequest(run=RUN),),
        "OfferCheckpoint": (_member(pb.OfferCheckpointRequest(checkpoint=said)),),
        "Upload": (_member(pb.UploadChunk(sha256=said.sha256, data=data)),),
        "Download": (pb.DownloadRequest(run=RUN, sha256=hashlib.sha256(b"{}").hexdigest()),),
        "MakeInvite": (pb.MakeInviteRequest(run=RUN, role="volunteer", days=1.0, note="n"),),
        "ListInvites": (pb.ListInvitesRequest(run=RUN),),
        "RevokeInvite": (pb.RevokeInviteRequest(run=RUN, id="0" * 8),),
        "HandOver": (pb.HandOverRequest(run=RUN, host="h", port=1),),
    }


_STREAMED = ("SendProbe", "Upload")  # their requests


def _decoder(method: str, seeds: tuple[Message, ...], before: Callable[[World, Any], object]) -> Decoder:
    kind, worlds = type(seeds[0]), Worlds()
    decode = decoder(method, kind.FromString)

    def take(data: bytes) -> object:
        try:
            request = decode(data)
        except DecodeError:
            return None  # gRPC's part: the call fails
        world = worlds.next()
        if isinstance(request, kind):
            before(world, request)
        called, context = getattr(world.servicer, method), Context("liar")
        asked = iter([request, request]) if method in _STREAMED else request
        try:
            world.enter(method, request, context)
            said = called(asked, context)
            for answer in [said] if isinstance(said, Message) else islice(said, 2):
                answer.SerializeToString()
        finally:
            world.goes_on()
        return said

    found = tuple(seed.SerializeToString() for seed in seeds)
    return Decoder(f"coordinator: {method}", take, found, MESSAGE, MEMORY, message=kind, covers=(kind,))


def _offer(world: World, _: Any) -> None:
    """So that an upload is one of a file that was asked for."""
    request = pb.OfferCheckpointRequest(run=RUN, member_id=MEMBER, checkpoint=_known_offer()[0])
    try:
        world.servicer.OfferCheckpoint(request, Context("liar"))
    except SwarmError:
        return


@cache
def _known_offer() -> tuple[pb.Checkpoint, bytes]:
    return _offered()


def _sign(world: World, request: Any) -> None:
    """For every second one."""
    if world.runs % 2:
        world.sign(request, _KEY, "liar")


def _show(world: World, request: Any) -> None:
    """The key, for every second one, while a campaign is open and a finding is known."""
    maintaining, context = world.servicer, Context("liar")
    if not world.engine.state.trials.campaigns:
        maintaining.StartCampaign(pb.StartCampaignRequest(run=RUN, campaign=_CAMPAIGN), context)
        maintaining.ReportFinding(requests()["ReportFinding"][0], context)
        taking = pb.TakeUnitRequest(run=RUN)
        world.prove(taking.proof)
        maintaining.TakeUnit(taking, context)
    if world.runs % 2 and hasattr(request, "proof"):
        world.prove(request.proof)


def _watch(world: World, _: Any) -> None:
    """So that there is a check that the member was asked for."""
    watch = Watch(0, SpotCheck("c", HONEST, 0, math.inf))
    world.engine.state = replace(world.engine.state, watches=Map({MEMBER: watch}))


_BEFORE = {"Upload": _offer, "Join": _sign, "GetCheck": _watch, "ReportCheck": _watch}
_BEFORE |= dict.fromkeys(("TakeUnit", "AnswerUnit", "StopCampaign", "ResolveFinding", "GetRecord"), _show)


def _nothing(_: World, _request: Any) -> None:
    """Most requests need nothing before them."""


def _gate() -> Decoder:
    """What comes beside a request: versions, tokens, names of sessions."""
    worlds = Worlds()

    def take(data: bytes) -> None:
        protocol, token, session = [*data.decode("ascii", "ignore").split("\n"), "", "", ""][:3]
        context = Context(session)
        context._metadata = (("swarm-protocol", protocol), ("authorization", token), ("swarm-session", session))
        world = worlds.next()
        request = pb.HeartbeatRequest(run=RUN, member_id=MEMBER)
        world.enter("Heartbeat", request, context)
        world.servicer.Heartbeat(request, context)  # type: ignore[arg-type]

    seed = f"{PROTOCOL_VERSION}\nBearer {_TOKEN}\nliar".encode()
    return Decoder("coordinator: metadata", take, (seed,), 16 << 10, MEMORY)


def decoders() -> list[Decoder]:
    rows = [_decoder(name, said, _BEFORE.get(name, _nothing)) for name, said in requests().items()]
    return [*rows, _gate()]
