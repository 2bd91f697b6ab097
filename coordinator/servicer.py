"""The gRPC service: messages in, events to the engine, decisions out as messages. Decides nothing itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import chain
from typing import TypeVar

import grpc

from coordinator import annals, bans, divergence, spotchecks, translate, trust
from coordinator import decisions as d
from coordinator import events as e
from coordinator.admission import LONGEST_SESSION, Admission, session_of
from coordinator.artefacts import Artefacts
from coordinator.bootstrap import addresses
from coordinator.dialback import DialBack, network_of
from coordinator.engine import Engine
from coordinator.handover import Lead
from coordinator.login import Login
from coordinator.probe import Probe
from coordinator.records import Checkpoint, RoundReport
from coordinator.rounds import ReportDeferred
from coordinator.state import State
from coordinator.trialcalls import TrialCalls
from swarm import receipts
from swarm.errors import NotFoundError, UsageError
from swarm.identity import ServerCertificate, member_id
from swarm.proto import coordinator_pb2 as pb
from swarm.ration import Ration
from swarm.runspec import RunSpec
from swarm.texts import line
from swarm.version import __version__

_ROUNDS_SHOWN = 20
_PROBES = 60  # measurements of a line, of one address in a minute
_D = TypeVar("_D")


class Servicer(TrialCalls):
    """One run. Threads of the gRPC server call in at once."""

    def __init__(
        self,
        spec: RunSpec,
        artefacts: Artefacts,
        engine: Engine,
        bootstrap: Callable[[], list[str]],
        admission: Admission,
        history: str,
        lead: Lead,
        certificate: ServerCertificate,
    ) -> None:
        self._spec = spec
        self._toml = spec.to_toml()
        self._artefacts = artefacts
        self._engine = engine
        self._bootstrap = bootstrap
        self._admission = admission
        self._history = history
        self._lead = lead
        self._certificate = certificate
        self._login = Login(spec.run.name, certificate)
        self._dial_back = DialBack()
        self._probe = Probe(Ration(_PROBES, 60.0, time.monotonic))

    def GetRun(self, request: pb.GetRunRequest, context: grpc.ServicerContext) -> pb.Run:
        state = self._state(request.run)
        return pb.Run(
            name=self._spec.run.name,
            spec_toml=self._toml,
            model=self._artefacts.model,
            shards=self._artefacts.shards,
            heldout=self._artefacts.heldout,
            layout=self._artefacts.layout,
            latest=_checkpoint(state, state.latest),
            data=self._artefacts.data,
            round=state.round,
            bootstrap=[*self._bootstrap(), *addresses(state)],
            finished=state.finished,
            halted=state.halted,
            lineage=state.lineage,
            base=self._artefacts.base,
            server_time=time.time(),
            version=__version__,
        )

    def ListRuns(self, request: pb.ListRunsRequest, context: grpc.ServicerContext) -> pb.ListRunsResponse:
        state = self._engine.state
        summary_ = pb.RunSummary(
            name=self._spec.run.name,
            title=self._spec.run.title,
            round=state.round,
            total_rounds=state.terms.total_rounds,
            members=state.tempo.members,
            finished=state.finished,
            halted=state.halted,
        )
        return pb.ListRunsResponse(runs=[summary_])

    def GetStatus(self, request: pb.GetStatusRequest, context: grpc.ServicerContext) -> pb.Status:
        state = self._state(request.run)
        epoch, done = divmod(state.global_samples, state.terms.epoch_samples)
        return pb.Status(
            run=self._spec.run.name,
            title=self._spec.run.title,
            round=state.round,
            total_rounds=state.terms.total_rounds,
            global_samples=state.global_samples,
            samples_per_second=state.tempo.samples_per_second,
            finished=state.finished,
            halted=state.halted,
            paused=state.steering.paused,
            ended=state.steering.finished,
            stuck=trust.stuck(state),
            members=[] if request.brief else _members(state),
            rounds=_rounds(state),
            latest=_checkpoint(state, state.latest),
            epoch=epoch,
            epoch_fraction=done / state.terms.epoch_samples,
            decisions=self._engine.store.recent_decisions(),
            evaluations=_evaluations(state),
        )

    def GetHistory(self, request: pb.GetHistoryRequest, context: grpc.ServicerContext) -> pb.History:
        return annals.told(self._engine.store, self._state(request.run))

    def GetHandover(self, request: pb.GetHandoverRequest, context: grpc.ServicerContext) -> pb.Handover:
        self._state(request.run)
        return pb.Handover(text=self._lead.text())

    def Challenge(self, request: pb.ChallengeRequest, context: grpc.ServicerContext) -> pb.ChallengeResponse:
        self._state(request.run)
        return pb.ChallengeResponse(nonce=self._login.challenge(request.public_key))

    def Join(self, request: pb.JoinRequest, context: grpc.ServicerContext) -> pb.JoinResponse:
        self._state(request.run)
        self._login.require(request, session_of(context))
        member = member_id(request.public_key, request.seat)
        name, credit = line(request.name, 64) or "unnamed", line(request.credit, 64)
        joining = e.Join(
            member,
            request.public_key,
            name,
            line(request.version, 32),
            request.round,
            credit,
            invite=self._admission.caller(context).id,
            session=session_of(context),
            replaces=request.replaces[:LONGEST_SESSION],
            lineage=request.lineage,
            left_in=request.left_in,
        )
        [joined] = _of(self._engine.apply(joining), d.MemberJoined)
        seconds = self._engine.state.terms.heartbeat_seconds
        return pb.JoinResponse(
            member_id=joined.member.id,
            heartbeat_seconds=seconds,
            why=joined.why,
            counted=max(0, joined.member.counted),
            history=self._history,
        )

    def GetPass(self, request: pb.PassRequest, context: grpc.ServicerContext) -> pb.PassResponse:
        state = self._state(request.run)
        member, invite = state.members[request.member_id], self._admission.caller(context)
        light = bool(state.probation(member))
        return pb.PassResponse(**{"pass": self._login.issue(member, request.peer_id, invite, light, request.earlier)})

    def Heartbeat(self, request: pb.HeartbeatRequest, context: grpc.ServicerContext) -> pb.HeartbeatResponse:
        self._state(request.run)
        pulse = translate.pulse(request)
        self._engine.apply(e.Heartbeat(request.member_id, pulse, session_of(context), request.lineage))
        state = self._engine.state
        member = state.members[request.member_id]
        newest = state.evaluations.get(max(state.evaluations, default=-1))
        return pb.HeartbeatResponse(
            server_time=time.time(),
            round=state.round,
            finished=state.finished,
            evaluation=translate.evaluation_message(newest) if newest else None,
            differs=divergence.differs(state, pulse) if request.lineage == state.lineage else "",
            lineage=state.lineage,
            went_back=divergence.went_back(state),
            halted=state.halted,
            ended=state.steering.finished,
            history=self._history,
            barred=bans.barred(state, time.time()),
            probation=state.probation(member),
            share=trust.share(state, member),
            check=translate.check_message(spotchecks.wanted(state, request.member_id)),
        )

    def Leave(self, request: pb.LeaveRequest, context: grpc.ServicerContext) -> pb.LeaveResponse:
        self._state(request.run)
        self._engine.apply(e.Leave(request.member_id, line(request.reason, translate.LONGEST_WHY), session_of(context)))
        return pb.LeaveResponse()

    def DialBack(self, request: pb.DialBackRequest, context: grpc.ServicerContext) -> pb.DialBackResponse:
        return self._dial_back.answer(context.peer(), request)

    def ReceiveProbe(self, request: pb.ProbeRequest, context: grpc.ServicerContext) -> Iterator[pb.Chunk]:
        return self._probe.send(network_of(context.peer()))

    def SendProbe(self, request: Iterator[pb.Chunk], context: grpc.ServicerContext) -> pb.ProbeResponse:
        return self._probe.take(network_of(context.peer()), request)

    def GrantRound(self, request: pb.GrantRoundRequest, context: grpc.ServicerContext) -> pb.GrantRoundResponse:
        self._state(request.run)
        members = frozenset(request.members)
        asked = e.AskRound(request.member_id, request.round, members, session_of(context), request.blind)
        made = self._engine.apply(asked)
        denied = _of(made, d.RoundDenied)
        return pb.GrantRoundResponse(granted=not denied, why="; ".join(item.why for item in denied))

    def TakeLease(self, request: pb.TakeLeaseRequest, context: grpc.ServicerContext) -> pb.TakeLeaseResponse:
        self._state(request.run)
        wish = min(request.samples, translate.MOST_LENT)
        made = self._engine.apply(e.TakeLease(request.member_id, wish, session_of(context)))
        for granted in _of(made, d.LeaseGranted):
            lease = granted.lease
            span = translate.range_message(lease.range)
            word = self._login.lend(lease, granted.share)
            return pb.TakeLeaseResponse(lease_id=lease.id, range=span, deadline=lease.deadline, lent=word)
        return pb.TakeLeaseResponse(why="; ".join(denied.why for denied in _of(made, d.LeaseDenied)))

    def ReportRounds(self, request: pb.ReportRoundsRequest, context: grpc.ServicerContext) -> pb.ReportRoundsResponse:
        self._state(request.run)
        reports = translate.round_reports(request.member_id, request.reports)
        made = self._engine.apply(e.Report(request.member_id, reports, session=session_of(context)))
        answers = [item for item in made if isinstance(item, d.ReportFiled | d.ReportKnown | ReportDeferred)]
        taken = [item for item in answers if not isinstance(item, ReportDeferred)]
        return pb.ReportRoundsResponse(
            receipts=[translate.receipt_message(receipt) for item in taken for receipt in item.receipts],
            signed=[
                self._signed(request.member_id, report, item) for report, item in zip(reports, answers, strict=True)
            ],
        )

    def _signed(
        self, member: str, report: RoundReport, answered: d.ReportFiled | d.ReportKnown | ReportDeferred
    ) -> pb.SignedReceipt:
        if isinstance(answered, ReportDeferred):
            return pb.SignedReceipt()
        word = translate.round_receipt(self._spec.run.name, member, report, answered.receipts, time.time())
        return receipts.signed(word, self._certificate)

    def RecallLeases(self, request: pb.RecallLeasesRequest, context: grpc.ServicerContext) -> pb.RecallLeasesResponse:
        self._state(request.run)
        found = tuple(map(translate.recalled, request.leases))
        made = self._engine.apply(e.Recall(request.member_id, found, session_of(context)))
        return pb.RecallLeasesResponse(samples=sum(again.samples for again in _of(made, d.LeasesRecalled)))

    def GetLedger(self, request: pb.GetLedgerRequest, context: grpc.ServicerContext) -> pb.GetLedgerResponse:
        self._state(request.run)
        state, found = self._engine.ledger(request.from_round, request.to_round or None)
        leased = [
            translate.leased_message(part, lease, state.round)
            for lease in state.ledger.leases.values()
            for part in lease.left
        ]
        return pb.GetLedgerResponse(
            entries=[*map(translate.entry_message, found), *([] if request.to_round else leased)]
        )

    def ReportEvaluation(
        self, request: pb.ReportEvaluationRequest, context: grpc.ServicerContext
    ) -> pb.ReportEvaluationResponse:
        self._state(request.run)
        found = translate.evaluation(request.member_id, request.evaluation)
        made = self._engine.apply(e.Evaluated(request.member_id, found, session_of(context)))
        denied = _of(made, d.EvaluationDenied)
        return pb.ReportEvaluationResponse(accepted=not denied, why="; ".join(item.why for item in denied))

    def GetCheck(self, request: pb.GetCheckRequest, context: grpc.ServicerContext) -> pb.GetCheckResponse:
        state = self._state(request.run)
        found = spotchecks.subject(state, request.member_id, request.check, request.round, time.time())
        return translate.subject_message(found)

    def ReportCheck(self, request: pb.ReportCheckRequest, context: grpc.ServicerContext) -> pb.ReportCheckResponse:
        self._state(request.run)
        self._engine.apply(translate.checked(request, session_of(context)))
        return pb.ReportCheckResponse()

    def ListCheckpoints(
        self, request: pb.ListCheckpointsRequest, context: grpc.ServicerContext
    ) -> pb.ListCheckpointsResponse:
        state = self._state(request.run)
        kept = [state.checkpoints[key] for key in sorted(state.checkpoints)]
        return pb.ListCheckpointsResponse(checkpoints=[_checkpoint(state, item) for item in kept])

    def OfferCheckpoint(
        self, request: pb.OfferCheckpointRequest, context: grpc.ServicerContext
    ) -> pb.OfferCheckpointResponse:
        self._state(request.run)
        offered = translate.offered(request.member_id, request.checkpoint, time.time())
        self._engine.blobs.path(offered.sha256)
        if offered.sha256 in self._artefacts.files:
            raise UsageError("That is a file that the run began with, and no checkpoint.", "Use the same version.")
        made = self._engine.apply(e.OfferCheckpoint(request.member_id, offered, session_of(context)))
        why = next(item.why for item in _of(made, d.CheckpointOffered))
        offset = 0 if why else self._engine.blobs.arrived(offered.sha256, request.member_id)
        return pb.OfferCheckpointResponse(wanted=not why, offset=offset, why=why)

    def Upload(self, request: Iterator[pb.UploadChunk], context: grpc.ServicerContext) -> pb.UploadResponse:
        first = next(request)
        offered = self._state(first.run).offers.get(first.sha256)
        if offered is None:
            if any(item.sha256 == first.sha256 for item in self._engine.state.checkpoints.values()):
                return pb.UploadResponse(complete=True)  # another member was faster
            raise NotFoundError("This file was not asked for.", "Offer the checkpoint again.")
        chunks = (chunk.data for chunk in chain([first], request))
        whole = self._engine.blobs.receive(offered.sha256, offered.size, first.offset, chunks, first.member_id)
        if whole and first.sha256 in self._engine.state.offers:
            self._engine.uploaded(offered)
        return pb.UploadResponse(
            size=offered.size if whole else self._engine.blobs.arrived(first.sha256, first.member_id), complete=whole
        )

    def Download(self, request: pb.DownloadRequest, context: grpc.ServicerContext) -> Iterator[pb.Chunk]:
        state = self._state(request.run)
        sizes = self._artefacts.files | {item.sha256: item.size for item in state.checkpoints.values()}
        if request.sha256 not in sizes:
            raise NotFoundError(f"The run has no file {request.sha256[:16]}…", "Ask for the run again.")
        for data in self._engine.blobs.read(request.sha256, sizes[request.sha256], request.offset):
            yield pb.Chunk(data=data)


def _checkpoint(state: State, checkpoint: Checkpoint) -> pb.Checkpoint:
    return translate.checkpoint_message(checkpoint, state.evaluation_of(checkpoint))


def _members(state: State) -> list[pb.Member]:
    return [
        translate.member_message(member, state.ledger.pending(key), trust.share(state, member))
        for key, member in sorted(state.members.items())
    ]


def _evaluations(state: State) -> list[pb.Evaluation]:
    newest = max(state.evaluations, default=0)
    return [translate.evaluation_message(state.evaluations[key], key == newest) for key in sorted(state.evaluations)]


def _rounds(state: State) -> list[pb.Round]:
    newest = sorted((number for number in state.votes if number < state.round), reverse=True)[:_ROUNDS_SHOWN]
    return [_round(state, number) for number in newest]


def _round(state: State, number: int) -> pb.Round:
    found = translate.round_message(state.votes[number].summary(number))
    found.vouched = bool(state.votes[number].agreed)
    return found


def _of(made: list[d.Decision], kind: type[_D]) -> list[_D]:
    return [item for item in made if isinstance(item, kind)]
