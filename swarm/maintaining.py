"""What only a maintainer's invite may ask of a coordinator."""

from __future__ import annotations

from swarm.client import CoordinatorClient
from swarm.proto import coordinator_pb2 as pb


class MaintainerClient(CoordinatorClient):
    """Each of these calls raises RefusedError unless the invite is a maintainer's."""

    def hand_over(self, host: str, port: int) -> str:
        """Let the coordinator lead no more; the signed hand-over. Raises RefusedError unless the invite is a
        maintainer's.
        """
        request = pb.HandOverRequest(run=self.invite.run, host=host, port=port)
        return str(self._call(self._stub.HandOver, request).text)

    def peers(self) -> list[pb.PeerRecord]:
        """All members, present or gone: who they are, what they did, and whether they are banned."""
        return list(self._call(self._stub.ListPeers, pb.ListPeersRequest(run=self.invite.run)).peers)

    def ban(self, member: str, why: str) -> pb.BanRecord:
        """Let the member's key in no more: its memberships end, in all seats. `member` is an id, the beginning of one,
        or a name. Raises NotFoundError, UsageError when several are meant.
        """
        return self._call(self._stub.Ban, pb.BanRequest(run=self.invite.run, member=member, why=why)).ban

    def unban(self, member: str) -> pb.BanRecord:
        """Let a banned key in again; the ban that was. Raises NotFoundError, UsageError when several are meant."""
        return self._call(self._stub.Unban, pb.UnbanRequest(run=self.invite.run, member=member)).ban

    def trust(self, member: str, why: str, revoke: bool = False) -> pb.TrustRecord:
        """Never have the member's key on probation, or, with `revoke`, as others; what is known of it. `member` as for
        `ban`. Raises NotFoundError, UsageError when several are meant.
        """
        request = pb.TrustRequest(run=self.invite.run, member=member, why=why, revoke=revoke)
        return self._call(self._stub.Trust, request).trust

    def steer(self, course: str, why: str) -> pb.SteerRunResponse:
        """Let the run pause ("paused"), go on ("on") or end ("finished"); members are told why. Raises RefusedError
        when all its rounds are done.
        """
        return self._call(self._stub.SteerRun, pb.SteerRunRequest(run=self.invite.run, course=course, why=why))

    def approve(self, round_: int, why: str, revoke: bool = False) -> pb.Checkpoint:
        """Stand for the checkpoint of a round, which is kept then; with `revoke` no more. Raises NotFoundError."""
        request = pb.ApproveCheckpointRequest(run=self.invite.run, round=round_, why=why, revoke=revoke)
        return self._call(self._stub.ApproveCheckpoint, request).checkpoint

    def make_invite(
        self, role: str, days: float, note: str, slots: int = 0, weight: float = 0.0
    ) -> pb.MakeInviteResponse:
        """A new invite, for `days` days, 0 for ever; for `slots` members at a time that weigh `weight` together, 0 for
        no limit. Raises RefusedError unless this one is a maintainer's, UsageError.
        """
        invite = pb.MakeInviteRequest(run=self.invite.run, role=role, days=days, note=note, slots=slots, weight=weight)
        return self._call(self._stub.MakeInvite, invite)

    def invites(self) -> list[pb.InviteRecord]:
        """All invites of the run, the oldest first. Raises RefusedError unless this one is a maintainer's."""
        return list(self._call(self._stub.ListInvites, pb.ListInvitesRequest(run=self.invite.run)).invites)

    def revoke_invite(self, id_: str) -> pb.InviteRecord:
        """Take an invite back: its members are refused. Raises RefusedError, NotFoundError."""
        return self._call(self._stub.RevokeInvite, pb.RevokeInviteRequest(run=self.invite.run, id=id_)).invite

    def start_campaign(self, campaign: pb.Campaign) -> pb.Campaign:
        """Spread a suite over volunteers: kind, suite, round, unit_items, seconds and tolerance are the wish; as it
        began. Raises NotFoundError without such a checkpoint, UsageError, DataError.
        """
        request = pb.StartCampaignRequest(run=self.invite.run, campaign=campaign)
        return self._call(self._stub.StartCampaign, request).campaign

    def stop_campaign(self, id_: str, why: str) -> pb.Campaign:
        """End a campaign before its last unit. Raises NotFoundError."""
        return self._call(
            self._stub.StopCampaign, pb.StopCampaignRequest(run=self.invite.run, id=id_, why=why)
        ).campaign

    def resolve_finding(self, id_: str, state: str, note: str) -> pb.RecordEntry:
        """Say how it is with a finding: open, mitigated, fixed, disputed. Raises NotFoundError, UsageError."""
        request = pb.ResolveFindingRequest(run=self.invite.run, id=id_, state=state, note=note)
        return self._call(self._stub.ResolveFinding, request).entry
