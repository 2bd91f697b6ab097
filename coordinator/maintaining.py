"""The part of the gRPC service that only maintainers may call: who takes part, and how the run goes on."""

from __future__ import annotations

import time

import grpc

from coordinator import bans, translate, trust
from coordinator import events as e
from coordinator.admission import Admission
from coordinator.engine import Engine
from coordinator.handover import Lead
from coordinator.records import Member, Standing
from coordinator.state import State
from coordinator.steering import Course
from swarm.errors import UnknownRunError, UsageError
from swarm.proto import coordinator_pb2 as pb
from swarm.proto.coordinator_pb2_grpc import CoordinatorServicer
from swarm.runspec import RunSpec
from swarm.texts import line

_WHY = 200  # letters of a reason


class MaintainerCalls(CoordinatorServicer):
    """Whose invite may call them says `coordinator.rules`."""

    _spec: RunSpec
    _engine: Engine
    _admission: Admission
    _lead: Lead

    def HandOver(self, request: pb.HandOverRequest, context: grpc.ServicerContext) -> pb.Handover:
        self._state(request.run)
        return pb.Handover(text=self._lead.hand_over(request.host, request.port))

    def MakeInvite(self, request: pb.MakeInviteRequest, context: grpc.ServicerContext) -> pb.MakeInviteResponse:
        self._state(request.run)
        limits = translate.invite_limits(request)
        token, made = self._admission.make(request.role, request.days, line(request.note, 100), limits)
        return pb.MakeInviteResponse(token=token, invite=translate.invite_message(made, 0))

    def ListInvites(self, request: pb.ListInvitesRequest, context: grpc.ServicerContext) -> pb.ListInvitesResponse:
        self._state(request.run)
        return pb.ListInvitesResponse(invites=[translate.invite_message(*pair) for pair in self._admission.made()])

    def RevokeInvite(self, request: pb.RevokeInviteRequest, context: grpc.ServicerContext) -> pb.RevokeInviteResponse:
        self._state(request.run)
        revoked = self._admission.revoke(request.id)
        return pb.RevokeInviteResponse(invite=translate.invite_message(revoked, 0))

    def ListPeers(self, request: pb.ListPeersRequest, context: grpc.ServicerContext) -> pb.ListPeersResponse:
        state, standings = self._state(request.run), self._engine.store.standings()
        members = [state.members[key] for key in sorted(state.members)]
        return pb.ListPeersResponse(peers=[self._peer(state, it, standings.get(it.id, Standing())) for it in members])

    def _peer(self, state: State, member: Member, standing: Standing) -> pb.PeerRecord:
        found = translate.peer_message(member, self._admission.of(member.invite), state.bans.get(member.key), standing)
        found.trust.CopyFrom(_trust(state, member.key))
        found.probation, found.share = state.probation(member), trust.share(state, member)
        return found

    def Trust(self, request: pb.TrustRequest, context: grpc.ServicerContext) -> pb.TrustResponse:
        key, name = bans.member_named(self._state(request.run), request.member)
        by = "" if request.revoke else self._admission.caller(context).id
        self._engine.apply(e.TrustKey(key, name, by, line(request.why, _WHY).rstrip(".")))
        return pb.TrustResponse(trust=_trust(self._engine.state, key))

    def Ban(self, request: pb.BanRequest, context: grpc.ServicerContext) -> pb.BanResponse:
        key, name = bans.member_named(self._state(request.run), request.member)
        if not (why := line(request.why, _WHY).rstrip(".")):
            raise UsageError("A ban needs a reason: the member is told.", "Say it with --why.")
        self._engine.apply(e.Ban(key, name, why))
        return pb.BanResponse(ban=translate.ban_message(self._engine.state.bans[key]))

    def Unban(self, request: pb.UnbanRequest, context: grpc.ServicerContext) -> pb.UnbanResponse:
        state = self._state(request.run)
        key = bans.ban_named(state, request.member)
        self._engine.apply(e.Unban(key))
        return pb.UnbanResponse(ban=translate.ban_message(state.bans[key]))

    def SteerRun(self, request: pb.SteerRunRequest, context: grpc.ServicerContext) -> pb.SteerRunResponse:
        self._state(request.run)
        if request.course not in set(Course):
            raise UsageError(f"A run has no course {request.course!r}.", f"There are: {', '.join(Course)}.")
        why = line(request.why, _WHY).rstrip(".")
        self._engine.apply(e.Steer(Course(request.course), why, self._admission.caller(context).id))
        found = self._engine.state.steering
        return pb.SteerRunResponse(course=found.course, why=found.why, round=self._engine.state.round)

    def ApproveCheckpoint(
        self, request: pb.ApproveCheckpointRequest, context: grpc.ServicerContext
    ) -> pb.ApproveCheckpointResponse:
        self._state(request.run)
        by = "" if request.revoke else self._admission.caller(context).id
        self._engine.apply(e.ApproveCheckpoint(request.round, by, line(request.why, _WHY).rstrip(".")))
        found = self._engine.state.checkpoints[request.round]
        return pb.ApproveCheckpointResponse(checkpoint=translate.checkpoint_message(found, None))

    def _state(self, run: str) -> State:
        """The run's state. Raises UnknownRunError when the call is about another run."""
        if run != self._spec.run.name:
            raise UnknownRunError(
                f"This coordinator has no run {run!r}; it coordinates {self._spec.run.name}.", "Check the invite."
            )
        return self._engine.state


def _trust(state: State, key: str) -> pb.TrustRecord:
    """What is known of a key now."""
    known = trust.of(state, key)
    return translate.trust_message(known, trust.faded(known, time.time()))
