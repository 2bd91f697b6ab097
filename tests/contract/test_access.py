"""Every call of the coordinator's service against everybody who must not make it, on a real server over TLS.

A method that is added without a row here fails, as it does without a rule in coordinator/rules.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from coordinator.audit import read
from coordinator.rules import RARE, RULES, SERVICE, Caller
from coordinator.server import Coordinator
from coordinator.state import State
from swarm import passes, tls
from swarm.client import CoordinatorClient
from swarm.errors import BannedError, LoginError, NotFoundError, OverloadError, SwarmError, UsageError
from swarm.identity import Identity
from swarm.invite import Invite
from swarm.maintaining import MaintainerClient
from swarm.passes import Authority
from swarm.proto import coordinator_pb2 as pb
from swarm.proto.coordinator_pb2_grpc import CoordinatorStub
from swarm.version import PROTOCOL_VERSION
from swarm.wire import channel, translated
from tests.small_run import coordinating

ANNA, BEN, CARL = (Identity.from_seed(letter * 32) for letter in (b"a", b"b", b"c"))
METHODS = {method.name: method for method in SERVICE.methods}
ACCESS = {"REFUSED", "BANNED", "LOGIN", "INVITE_EXPIRED", "INVITE_REVOKED", "INVITE_UNKNOWN", "PROTOCOL"}
EVALUATION = pb.Evaluation(digest="0" * 64)
CHECKPOINT = pb.Checkpoint(round=1, digest="0" * 64, sha256="0" * 64, size=1)
CAMPAIGN = pb.Campaign(kind="redteam", suite="garage", unit_items=8, seconds=60.0, tolerance=0.1)


def finding(run: str) -> pb.ReportFindingRequest:
    return pb.ReportFindingRequest(run=run, title="t", severity="low", category="c", reproduction="ask it")


# A call of each method that the right caller may make, about the member of that id. Those that end something come last.
CALLS: dict[str, Callable[[str, str], Any]] = {
    "GetRun": lambda run, _: pb.GetRunRequest(run=run),
    "ListRuns": lambda run, _: pb.ListRunsRequest(),
    "GetStatus": lambda run, _: pb.GetStatusRequest(run=run),
    "GetHistory": lambda run, _: pb.GetHistoryRequest(run=run),
    "GetHandover": lambda run, _: pb.GetHandoverRequest(run=run),
    "Challenge": lambda run, _: pb.ChallengeRequest(run=run, public_key=ANNA.public_key),
    "Join": lambda run, _: pb.JoinRequest(run=run, public_key=ANNA.public_key, name="anna"),
    "GetPass": lambda run, member: pb.PassRequest(run=run, member_id=member, peer_id=b"node"),
    "Heartbeat": lambda run, member: pb.HeartbeatRequest(run=run, member_id=member, phase="training", round=9),
    "DialBack": lambda run, _: pb.DialBackRequest(port=1024, nonce=bytes(16)),
    "ReceiveProbe": lambda run, _: pb.ProbeRequest(),
    "SendProbe": lambda run, _: pb.Chunk(data=bytes(10)),
    "GrantRound": lambda run, member: pb.GrantRoundRequest(run=run, member_id=member, members=[member]),
    "TakeLease": lambda run, member: pb.TakeLeaseRequest(run=run, member_id=member, samples=8),
    "ReportRounds": lambda run, member: pb.ReportRoundsRequest(run=run, member_id=member, reports=[pb.RoundReport()]),
    "RecallLeases": lambda run, member: pb.RecallLeasesRequest(run=run, member_id=member),
    "GetLedger": lambda run, _: pb.GetLedgerRequest(run=run),
    "ReportEvaluation": lambda run, member: pb.ReportEvaluationRequest(
        run=run, member_id=member, evaluation=EVALUATION
    ),
    "GetCheck": lambda run, member: pb.GetCheckRequest(run=run, member_id=member, check="none"),
    "ReportCheck": lambda run, member: pb.ReportCheckRequest(run=run, member_id=member, check="none", outcome="passed"),
    "TakeUnit": lambda run, _: pb.TakeUnitRequest(run=run),
    "AnswerUnit": lambda run, _: pb.AnswerUnitRequest(run=run, campaign="C1"),
    "ReportFinding": lambda run, _: finding(run),
    "GetRecord": lambda run, _: pb.GetRecordRequest(run=run),
    "StartCampaign": lambda run, _: pb.StartCampaignRequest(run=run, campaign=CAMPAIGN),
    "StopCampaign": lambda run, _: pb.StopCampaignRequest(run=run, id="C1"),
    "ResolveFinding": lambda run, _: pb.ResolveFindingRequest(run=run, id="F1", state="fixed"),
    "ListCheckpoints": lambda run, _: pb.ListCheckpointsRequest(run=run),
    "OfferCheckpoint": lambda run, member: pb.OfferCheckpointRequest(run=run, member_id=member, checkpoint=CHECKPOINT),
    "Upload": lambda run, member: pb.UploadChunk(run=run, member_id=member, sha256="0" * 64, data=b"x"),
    "Download": lambda run, _: pb.DownloadRequest(run=run, sha256="0" * 64),
    "MakeInvite": lambda run, _: pb.MakeInviteRequest(run=run, role="volunteer"),
    "ListInvites": lambda run, _: pb.ListInvitesRequest(run=run),
    "RevokeInvite": lambda run, _: pb.RevokeInviteRequest(run=run, id="none"),
    "ListPeers": lambda run, _: pb.ListPeersRequest(run=run),
    "Ban": lambda run, member: pb.BanRequest(run=run, member=member, why="lies"),
    "Unban": lambda run, member: pb.UnbanRequest(run=run, member=member),
    "Trust": lambda run, member: pb.TrustRequest(run=run, member=member, why="a friend"),
    "Leave": lambda run, member: pb.LeaveRequest(run=run, member_id=member),
    "SteerRun": lambda run, _: pb.SteerRunRequest(run=run, course="on", why="w"),
    "ApproveCheckpoint": lambda run, _: pb.ApproveCheckpointRequest(run=run, why="w"),
    "HandOver": lambda run, _: pb.HandOverRequest(run=run, host="192.0.2.1", port=4000),
}
SHOWING = ("Join", "TakeUnit", "AnswerUnit")  # who calls shows its key besides
OF_MEMBERS = [name for name, rule in RULES.items() if rule.caller is Caller.MEMBER]
OF_MAINTAINERS = [name for name, rule in RULES.items() if rule.caller is Caller.MAINTAINER]


@dataclass
class Scene:
    """A coordinator, Anna who joined, Ben who joined with an invite of his own, Carl who is banned; and all invites."""

    coordinator: Coordinator
    pem: str
    invites: dict[str, Invite]
    clients: dict[str, CoordinatorClient] = field(default_factory=dict)

    @property
    def state(self) -> State:
        return self.coordinator._lead._engine.state

    def code(self, name: str, token: str | None, session: str = "", member: str = "", version: object = "") -> str:
        """The code with which the call is refused; empty when it is answered."""
        said = (("swarm-protocol", str(version or PROTOCOL_VERSION)), ("swarm-session", session))
        metadata = said if token is None else (*said, ("authorization", f"Bearer {token}"))
        invite = self.invites["first"]
        request = CALLS[name](invite.run, member)
        with channel(invite, self.pem) as line:
            call = getattr(CoordinatorStub(line), name)
            try:
                answer = call(
                    iter([request]) if METHODS[name].client_streaming else request, timeout=10, metadata=metadata
                )
                if METHODS[name].server_streaming:
                    next(iter(answer))
                    answer.cancel()
            except grpc.RpcError as error:
                return translated(error, invite).code
        return ""

    def refused(self, name: str, code: str, token: str | None, session: str = "", member: str = "") -> None:
        """By that code, and nothing changed."""
        before = self.state
        assert self.code(name, token, session, member) == code
        assert self.state == before


def joined(scene: Scene, name: str, invite: str, who: Identity) -> CoordinatorClient:
    client = scene.clients[name] = CoordinatorClient.connect(scene.invites[invite])
    assert client.join(who, name).member_id == who.member_id
    return client


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder: Path = tmp_path_factory.mktemp("access")
    with coordinating(folder / "coordinator") as coordinator:
        yield from _scene(coordinator)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Scene]:
    """One that the test may change."""
    with coordinating(tmp_path / "coordinator") as coordinator:
        yield from _scene(coordinator)


def _scene(coordinator: Coordinator) -> Iterator[Scene]:
    first, own = coordinator.invite, coordinator.own_invite
    scene = Scene(coordinator, tls.certificate(first, 5), {"first": first, "maintainer": own})
    with MaintainerClient.connect(own) as maintainer:
        for name, days in (("ben's", 30.0), ("revoked", 30.0), ("expired", 0.2 / 86_400)):
            scene.invites[name] = replace(first, token=maintainer.make_invite("volunteer", days, name).token)
        found = {item.note: item.id for item in maintainer.invites()}
        maintainer.revoke_invite(found["revoked"])
        joined(scene, "anna", "first", ANNA)
        joined(scene, "ben", "ben's", BEN)
        joined(scene, "carl", "first", CARL)
        maintainer.ban("carl", "sends nonsense")
        time.sleep(0.3)  # until the short invite has expired
    yield scene
    for client in scene.clients.values():
        client.close()


def test_every_method_has_a_row() -> None:
    assert set(CALLS) == set(METHODS) == set(RULES)


@pytest.mark.parametrize("name", METHODS)
def test_without_a_valid_invite_nobody_is_answered(scene: Scene, name: str) -> None:
    session = scene.clients["anna"].session
    for token, code in (
        (None, "INVITE_UNKNOWN"),
        ("", "INVITE_UNKNOWN"),
        ("A" * 22, "INVITE_UNKNOWN"),
        (scene.invites["expired"].token, "INVITE_EXPIRED"),
        (scene.invites["revoked"].token, "INVITE_REVOKED"),
    ):
        scene.refused(name, code, token, session, ANNA.member_id)
    assert scene.code(name, scene.invites["first"].token, session, ANNA.member_id, PROTOCOL_VERSION - 1) == "PROTOCOL"


@pytest.mark.parametrize("name", OF_MAINTAINERS)
def test_a_volunteer_maintains_nothing(scene: Scene, name: str) -> None:
    scene.refused(name, "REFUSED", scene.invites["first"].token, scene.clients["anna"].session, ANNA.member_id)


@pytest.mark.parametrize("name", OF_MEMBERS)
def test_nobody_speaks_for_another_member(scene: Scene, name: str) -> None:
    first, anna, carl = scene.invites["first"].token, scene.clients["anna"].session, scene.clients["carl"].session
    scene.refused(name, "REFUSED", first, "", ANNA.member_id)
    scene.refused(name, "REFUSED", first, "another", ANNA.member_id)
    scene.refused(name, "REFUSED", first, anna, BEN.member_id)
    scene.refused(name, "REFUSED", first, anna, "nobody")
    scene.refused(name, "REFUSED", scene.invites["ben's"].token, anna, ANNA.member_id)
    scene.refused(name, "REFUSED", scene.invites["maintainer"].token, anna, ANNA.member_id)
    scene.refused(name, "BANNED", first, carl, CARL.member_id)


def test_nobody_joins_without_showing_the_key(scene: Scene) -> None:
    for name in SHOWING:
        scene.refused(name, "LOGIN", scene.invites["first"].token, "one")
    before = scene.state
    with (
        CoordinatorClient.connect(scene.invites["first"]) as client,
        pytest.raises(BannedError, match="sends nonsense"),
    ):
        client.join(CARL, "somebody else", seat=3)
    assert scene.state == before


def test_the_right_callers_are_answered(own: Scene) -> None:
    """So that what is refused above is refused for who calls, and for nothing else."""
    anna, first, maintainer = own.clients["anna"], own.invites["first"].token, own.invites["maintainer"].token
    for name in CALLS:
        right = maintainer if name in OF_MAINTAINERS else first
        code = own.code(name, right, anna.session if name in OF_MEMBERS else "", ANNA.member_id)
        assert code not in ACCESS or (name in SHOWING, code) == (True, "LOGIN"), name
        if name == "Ban":
            own.code("Unban", maintainer, "", ANNA.member_id)
            anna.join(ANNA, "anna")
    assert own.code("GetRun", first) == "HANDED_OVER"


def test_a_ban_and_a_revocation_put_out_and_are_told_to_the_others(own: Scene) -> None:
    anna, ben = own.clients["anna"], own.clients["ben"]
    lease = ben.take_lease(BEN.member_id, 8)
    with MaintainerClient.connect(own.invites["maintainer"]) as maintainer:
        assert list(anna.heartbeat(pb.HeartbeatRequest(member_id=ANNA.member_id)).barred) == [CARL.member_id]
        [invite] = [item.id for item in maintainer.invites() if item.note == "ben's"]
        maintainer.revoke_invite(invite)
        barred = anna.heartbeat(pb.HeartbeatRequest(member_id=ANNA.member_id)).barred
        assert list(barred) == sorted([BEN.member_id, CARL.member_id])
        assert lease.lease_id not in own.state.ledger.leases
        maintainer.unban(CARL.member_id[:6])
        own.clients["carl"].join(CARL, "carl")
        peers = {item.name: item for item in maintainer.peers()}
    assert {name: (item.live, item.invite_note) for name, item in peers.items()} == {
        "anna": (True, "the run's first"),
        "ben": (False, "ben's"),
        "carl": (True, "the run's first"),
    }
    assert peers["ben"].why == "its invite was revoked"


def test_a_pass_is_given_to_a_member_for_its_node(scene: Scene) -> None:
    client = scene.clients["ben"]
    authority = Authority.of(client.invite.run, scene.pem.encode())
    found = passes.opened(client.get_pass(BEN.member_id, b"node"), authority)
    assert found
    assert (found.member, found.public_key, found.peer_id) == (BEN.member_id, BEN.public_key, b"node")
    assert found.role == "volunteer"
    assert found.expires_at - found.issued_at == passes.LIFETIME


def test_what_is_too_large_is_refused_before_it_is_looked_at(scene: Scene) -> None:
    beat = pb.HeartbeatRequest(member_id=ANNA.member_id, why="x" * 20_000)
    before = scene.state
    with pytest.raises(UsageError, match=r"Heartbeat with \d+ bytes is refused"):
        scene.clients["anna"].heartbeat(beat)
    assert scene.state == before


def test_who_asks_too_often_is_told_and_others_are_not(own: Scene) -> None:
    anna, ben = own.clients["anna"], own.clients["ben"]
    for _ in range(RARE):
        anna.ledger()
    with pytest.raises(OverloadError, match=f"More than {RARE} calls GetLedger"):
        anna.ledger()
    ben.ledger()
    anna.status()


def test_a_file_that_is_not_read_to_its_end_takes_no_place(scene: Scene) -> None:
    client = scene.clients["anna"]
    shard = client.get_run().shards[0]
    for _ in range(100):
        assert len(client.download_range(shard.sha256, 0, 5)) == 5
    with pytest.raises(NotFoundError):
        client.download_range("f" * 64, 0, 10)


def test_who_came_and_who_was_turned_away_is_written_down(own: Scene) -> None:
    own.code("GetRun", "A" * 22)
    with pytest.raises(SwarmError), CoordinatorClient.connect(own.invites["first"]) as client:
        client.join(CARL, "carl")
    lines = list(read(own.coordinator._settings.data_dir))
    assert [line["call"] for line in lines[:3]] == ["MakeInvite"] * 3
    said = {(line["call"], line["about"], line.get("refused", "")) for line in lines}
    assert {("Join", ANNA.member_id, ""), ("Ban", CARL.member_id, ""), ("GetRun", "", "INVITE_UNKNOWN")} <= said
    assert {line["address"] for line in lines} == {"127.0.0.1"}
    text = (own.coordinator._settings.data_dir / "audit.jsonl").read_text()
    assert not any(invite.token in text for invite in own.invites.values())


def test_a_challenge_that_a_restart_forgot_is_asked_again(own: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    client, asked = own.clients["ben"], []
    stub = client._stub.Challenge

    def forgetting(request: pb.ChallengeRequest, **options: Any) -> pb.ChallengeResponse:
        asked.append(request)
        return stub(request, **options) if len(asked) > 1 else pb.ChallengeResponse(nonce=b"forgotten")

    monkeypatch.setattr(client._stub, "Challenge", forgetting)
    assert client.join(BEN, "ben").member_id == BEN.member_id
    asked.clear()
    monkeypatch.setattr(client._stub, "Challenge", lambda request, **_: pb.ChallengeResponse(nonce=b"forgotten"))
    with pytest.raises(LoginError):
        client.join(BEN, "ben")
