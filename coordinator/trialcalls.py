"""The part of the gRPC service that is about trials: units, campaigns, findings and the public record."""

from __future__ import annotations

import time

import grpc

from coordinator import events as e
from coordinator import findings, trialtables
from coordinator.admission import session_of
from coordinator.artefacts import Artefacts
from coordinator.login import Login
from coordinator.maintaining import MaintainerCalls
from coordinator.state import State
from coordinator.trialrecords import Answer, Campaign, CampaignEnded, CampaignStarted, Recorded, UnitDenied, UnitGiven
from swarm.errors import DataError, NotFoundError, UsageError
from swarm.identity import ServerCertificate, member_id
from swarm.passes import Role
from swarm.proto import coordinator_pb2 as pb
from swarm.texts import line, lines
from swarm.trials import probes, receipts
from swarm.trials.answers import Item
from swarm.trials.chain import Entry
from swarm.trials.names import EVALUATE, SPREAD

_PAGE = 100  # entries in one answer
_RECEIPTS = 64
_WHY = 200  # letters of a reason


class TrialCalls(MaintainerCalls):
    """Whose invite may call them says `coordinator.rules`; who computes units shows its key besides."""

    _artefacts: Artefacts
    _login: Login
    _certificate: ServerCertificate

    def TakeUnit(self, request: pb.TakeUnitRequest, context: grpc.ServicerContext) -> pb.TakeUnitResponse:
        self._state(request.run)
        key = self._shown(request.proof, context)
        made = self._engine.apply(e.TakeUnit(key, self._admission.caller(context).id))
        answer = pb.TakeUnitResponse(receipts=self._receipts(key, request.receipts))
        for one in made:
            if isinstance(one, UnitGiven):
                answer.campaign.CopyFrom(campaign_message(self._engine.state, one.campaign))
                answer.unit, answer.deadline = one.holding.unit, one.holding.deadline
                answer.first, answer.count = one.campaign.span(one.holding.unit)
            if isinstance(one, UnitDenied):
                answer.why = one.why
        return answer

    def AnswerUnit(self, request: pb.AnswerUnitRequest, context: grpc.ServicerContext) -> pb.AnswerUnitResponse:
        self._state(request.run)
        key = self._shown(request.proof, context)
        items = tuple(Item(one.index, one.value, one.weight, one.digest.hex()) for one in request.items)
        invite = self._admission.caller(context).id
        self._engine.apply(e.AnswerUnit(key, invite, request.campaign, request.unit, items))
        return pb.AnswerUnitResponse()

    def _shown(self, proof: pb.KeyProof, context: grpc.ServicerContext) -> str:
        """The key that the caller has shown, by the id of its first seat. Raises LoginError."""
        self._login.require(proof, session_of(context))
        return member_id(proof.public_key)

    def _receipts(self, key: str, after: int) -> list[pb.SignedReceipt]:
        with self._engine.store.reading() as connection:
            decided = trialtables.decided(connection, self._spec.run.name, key, after, _RECEIPTS)
        return [receipts.signed(self._receipt(one), self._certificate) for one in decided]

    def _receipt(self, one: Answer) -> pb.TrialReceipt:
        campaign = self._engine.state.trials.campaigns[one.campaign]
        return pb.TrialReceipt(
            run=self._spec.run.name,
            member_id=one.key,
            number=one.receipt,
            campaign=one.campaign,
            suite=campaign.suite,
            round=campaign.round,
            unit=one.unit,
            items=len(one.items),
            counted=one.verdict == "right",
            why=one.why,
            issued_at=time.time(),
        )

    def ReportFinding(
        self, request: pb.ReportFindingRequest, context: grpc.ServicerContext
    ) -> pb.ReportFindingResponse:
        self._state(request.run)
        if len(request.reproduction.encode()) > findings.LARGEST:
            what = f"A reproduction has at most {findings.LARGEST} bytes."
            raise UsageError(what, "Say how to do it again; put long texts elsewhere, with their SHA-256.")
        found = e.ReportFinding(
            title=line(request.title, findings.LONGEST_TITLE),
            severity=request.severity,
            category=line(request.category, findings.LONGEST_CATEGORY),
            reproduction=lines(request.reproduction),
            disclose=request.disclose,
            invite=self._admission.caller(context).id,
        )
        [recorded] = [one for one in self._engine.apply(found) if isinstance(one, Recorded)]
        return pb.ReportFindingResponse(id=recorded.entry.said["id"])

    def GetRecord(self, request: pb.GetRecordRequest, context: grpc.ServicerContext) -> pb.GetRecordResponse:
        state = self._state(request.run)
        open_ = context is not None and self._admission.caller(context).role is Role.MAINTAINER
        with self._engine.store.reading() as connection:
            found = trialtables.entries(connection, self._spec.run.name, request.after, _PAGE)
        now = time.time()
        entries = [_entry_message(entry, hidden if open_ or _told(entry, now) else "") for entry, hidden in found]
        going = [campaign_message(state, one) for one in state.trials.open]
        return pb.GetRecordResponse(entries=entries, count=state.record.count, campaigns=going)

    # ── for maintainers ────────────────────────────────────────────────────────────────────────

    def StartCampaign(
        self, request: pb.StartCampaignRequest, context: grpc.ServicerContext
    ) -> pb.StartCampaignResponse:
        state = self._state(request.run)
        wanted = self._campaign(state, request.campaign, self._admission.caller(context).id)
        [begun] = [one for one in self._engine.apply(e.StartCampaign(wanted)) if isinstance(one, CampaignStarted)]
        return pb.StartCampaignResponse(campaign=campaign_message(self._engine.state, begun.campaign))

    def _campaign(self, state: State, said: pb.Campaign, by: str) -> Campaign:
        """What is wished for, of a suite and a checkpoint that there are.

        Raises UsageError, DataError, NotFoundError.
        """
        if SPREAD.get(said.kind) != said.suite:
            what = f"{said.kind} with the suite {said.suite!r} is not spread over volunteers."
            raise UsageError(what, f"Spread are: {', '.join(f'{kind} {suite}' for kind, suite in SPREAD.items())}.")
        kept = state.checkpoints.get(said.round)
        if kept is None:
            raise NotFoundError(f"The run keeps no checkpoint of round {said.round}.", "`swarm checkpoints list`.")
        digest, items = self._suite(said.kind)
        size, times = said.unit_items, (said.seconds, said.tolerance)
        return Campaign("", 0, said.kind, said.suite, digest, said.round, kept.digest, items, size, *times, 0.0, by)

    def _suite(self, kind: str) -> tuple[str, int]:
        """What the suite is, and how many items it has. Raises DataError."""
        if kind != EVALUATE:
            return probes.digest(), len(probes.own())
        if not (count := self._artefacts.data.heldout_samples):
            raise DataError("The run has no held-out samples.", "See data.heldout_fraction in the run spec.")
        return self._artefacts.heldout.sha256, count

    def StopCampaign(self, request: pb.StopCampaignRequest, context: grpc.ServicerContext) -> pb.StopCampaignResponse:
        self._state(request.run)
        made = self._engine.apply(e.StopCampaign(request.id, line(request.why, _WHY).rstrip(".")))
        [ended] = [one for one in made if isinstance(one, CampaignEnded)]
        return pb.StopCampaignResponse(campaign=campaign_message(self._engine.state, ended.campaign))

    def ResolveFinding(
        self, request: pb.ResolveFindingRequest, context: grpc.ServicerContext
    ) -> pb.ResolveFindingResponse:
        self._state(request.run)
        note, by = line(request.note, findings.LONGEST_NOTE), self._admission.caller(context).id
        made = self._engine.apply(e.ResolveFinding(request.id, request.state, note, by))
        [recorded] = [one for one in made if isinstance(one, Recorded)]
        return pb.ResolveFindingResponse(entry=_entry_message(recorded.entry, ""))


def campaign_message(state: State, campaign: Campaign) -> pb.Campaign:
    """With how many of its units are settled; of one that ended they are forgotten."""
    units = [unit for (id_, _), unit in state.trials.units.items() if id_ == campaign.id]
    facts = {name: value for name, value in vars(campaign).items() if name != "number"}
    return pb.Campaign(**facts, settled=sum(unit.settled for unit in units))


def _told(entry: Entry, now: float) -> bool:
    """Whether what the entry's commitment is of may be told."""
    return entry.kind == "finding" and float(entry.said["disclose"]) <= now


def _entry_message(entry: Entry, opened: str) -> pb.RecordEntry:
    return pb.RecordEntry(**vars(entry), opened=opened)
