"""What peers and tools ask of a coordinator: one typed method per call, each with its time-out in seconds.

Every method raises swarm.errors only: what the coordinator said, or UnreachableError when it said nothing.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Self, TypeVar

import grpc
from grpc_health.v1 import health_pb2

from swarm import log, streams
from swarm.errors import (
    CorruptError,
    HandedOverError,
    HandoverError,
    LoginError,
    ProtocolError,
    SwarmError,
    UnreachableError,
    from_os_error,
)
from swarm.handover import Handover, later, verified
from swarm.identity import Identity
from swarm.invite import Invite
from swarm.passes import answer
from swarm.proto import coordinator_pb2 as pb
from swarm.proto.coordinator_pb2_grpc import CoordinatorStub
from swarm.tls import certificate
from swarm.transfer import Progress, receive
from swarm.version import PROTOCOL_VERSION, __version__
from swarm.wire import channel, translated

logger = log.get(__name__)

_QUICK = 10.0
_LEDGER = 60.0  # a long run's ledger has many rows
_GOODBYE = 2.0  # leaving must not hold up an exit
_SLICE = 60.0  # a download goes on in a new call after this; a call without a byte has failed
_SLOWEST = 32 << 10  # bytes per second; an upload that is slower is given up

_Response = TypeVar("_Response")


class CoordinatorClient:
    """A coordinator, for the run of one invite. Threads may share it. `close` it, or use it in a `with`.

    `session` is this client's name for the coordinator: memberships belong to the client that joined them. When the run
    is handed over, `invite` has the new address, `handover` says so; `on_moved` hears its signed text, `moved`.
    """

    def __init__(self, invite: Invite) -> None:
        self.invite = invite
        self.session = secrets.token_hex(8)
        self.handover: Handover | None = None
        self.moved = ""
        self.on_moved: Callable[[str], None] = lambda _: None
        self._given = invite
        self._pem = ""  # the coordinator's certificate, once it was fetched
        self._moving = threading.Lock()
        self._channels: list[grpc.Channel] = []
        self._stub: CoordinatorStub
        self._metadata = (
            ("swarm-protocol", str(PROTOCOL_VERSION)),
            ("authorization", f"Bearer {invite.token}"),
            ("swarm-session", self.session),
        )

    @classmethod
    def connect(cls, invite: Invite, timeout: float = 5.0, known: str = "") -> Self:
        """A client whose coordinator is the one that the invite names, and serves; `known` is a kept hand-over.

        Raises InviteError, UnreachableError, RefusedError, ProtocolError, HandoverError.
        """
        client = cls(invite)
        try:
            if known:
                client.learn(known)
            client._reach(timeout)
            client._check_health(timeout)
        except SwarmError:
            client.close()
            raise
        return client

    def _reach(self, timeout: float) -> None:
        """Where the last hand-over says, else where the invite says; and on from there, if that one was handed over."""
        try:
            self._pem = certificate(self.invite, timeout)
        except UnreachableError:
            if self.invite == self._given:
                raise
            self.seek(timeout)
            self._dial()
        else:
            self._dial()
            self._ask_where()

    @property
    def certificate(self) -> bytes:
        """The coordinator's, which the invite names, PEM."""
        return self._pem.encode()

    def close(self) -> None:
        for line in self._channels:
            line.close()

    def learn(self, text: str) -> bool:
        """Follow a hand-over; False when it is the known one. Raises HandoverError when it is forged or older."""
        found = verified(text, self._given.run, self._given.fingerprint)
        with self._moving:
            if not later(found, self.handover):
                return False
            self.handover, self.moved, self.invite = found, text, found.moved(self._given)
            if self._pem:
                self._dial()
        logger.info("followed %s", found)
        self.on_moved(text)
        return True

    def seek(self, timeout: float = 5.0) -> None:
        """Ask at the invite's own address for a later hand-over than the one whose address does not answer.

        Raises InviteError, UnreachableError, HandoverError.
        """
        if self.handover is None:
            return
        with CoordinatorClient.connect(self._given, timeout) as other:
            text = other.where()
        self._pem = self._pem or other._pem
        if not text:
            raise HandoverError(
                f"The coordinator at {self._given.address} does not know {self.handover}; it is not followed.",
                "Its folder is older than the hand-over: tell the run's maintainer.",
            )
        self.learn(text)

    def where(self) -> str:
        """The latest hand-over that the coordinator knows, signed; empty without one."""
        return str(self._call(self._stub.GetHandover, pb.GetHandoverRequest(run=self._given.run)).text)

    def _ask_where(self) -> None:
        with suppress(ProtocolError):  # one of an earlier version is never handed over
            if text := self.where():
                self.learn(text)

    def _dial(self) -> None:
        """What is under way on the line before may end there."""
        self._channels.append(channel(self.invite, self._pem))
        self._stub = CoordinatorStub(self._channels[-1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get_run(self) -> pb.Run:
        """Everything that a volunteer needs to take part. Raises UnknownRunError."""
        return self._call(self._stub.GetRun, pb.GetRunRequest(run=self.invite.run))

    def list_runs(self) -> list[pb.RunSummary]:
        """The runs of this coordinator."""
        return list(self._call(self._stub.ListRuns, pb.ListRunsRequest()).runs)

    def status(self, brief: bool = False) -> pb.Status:
        """What goes on in the run; when it is `brief`, without members."""
        return self._call(self._stub.GetStatus, pb.GetStatusRequest(run=self.invite.run, brief=brief))

    def history(self) -> pb.History:
        """What became of the run since it began, thinned."""
        return self._call(self._stub.GetHistory, pb.GetHistoryRequest(run=self.invite.run), _LEDGER)

    def join(
        self,
        identity: Identity,
        name: str,
        round_: int = 0,
        credit: str = "",
        seat: int = 0,
        replaces: str = "",
        lineage: int = 0,
        left_in: int = 0,
    ) -> pb.JoinResponse:
        """Become a member, or renew the membership, by showing that the identity is ours; `name` is what others see.

        `round_` is that of the state which this process holds already: a run does not go back behind it, unless it did
        so by rule since the `lineage` that this process knows (see Run). `credit` is the name in the model card, empty
        for no mention; `seat` tells apart the members that share a key. `replaces` is the session of the process that
        had the same folder before, `left_in` the round of its goodbye, 0 for none. The answer may name another seat.
        """
        request = pb.JoinRequest(
            run=self.invite.run,
            public_key=identity.public_key,
            name=name,
            version=__version__,
            round=round_,
            credit=credit,
            seat=seat,
            replaces=replaces,
            lineage=lineage,
            left_in=left_in,
        )
        try:
            return self._log_in(identity, request)
        except LoginError:  # a coordinator that was restarted in between knows its challenge no more
            return self._log_in(identity, request)

    def _log_in(self, identity: Identity, request: pb.JoinRequest) -> pb.JoinResponse:
        request.nonce, request.signature = self._answered(identity, request.seat)
        return self._call(self._stub.Join, request)

    def _answered(self, identity: Identity, seat: int) -> tuple[bytes, bytes]:
        """A challenge, and the answer which shows that the key is ours."""
        asked = pb.ChallengeRequest(run=self.invite.run, public_key=identity.public_key)
        nonce = self._call(self._stub.Challenge, asked).nonce
        words = answer(self.invite.run, self.invite.fingerprint, nonce, seat, self.session)
        return nonce, identity.sign(words)

    def get_pass(self, member_id: str, peer_id: bytes, earlier: bytes = b"") -> bytes:
        """What this member shows to others (swarm.passes), for its libp2p node `peer_id`. Raises RefusedError."""
        request = pb.PassRequest(run=self.invite.run, member_id=member_id, peer_id=peer_id, earlier=earlier)
        return bytes(getattr(self._call(self._stub.GetPass, request), "pass"))

    def heartbeat(self, beat: pb.HeartbeatRequest) -> pb.HeartbeatResponse:
        """Say what this member does; `beat.run` is filled in. Raises RefusedError when it must join again."""
        beat.run = self.invite.run
        return self._call(self._stub.Heartbeat, beat)

    def leave(self, member_id: str, reason: str) -> None:
        """End the membership; its leases become free at once."""
        request = pb.LeaveRequest(run=self.invite.run, member_id=member_id, reason=reason)
        self._call(self._stub.Leave, request, _GOODBYE)

    def dial_back(self, port: int, nonce: bytes) -> pb.DialBackResponse:
        """Whether the coordinator can dial this machine at `port`, where `nonce` (16 bytes) is sent to who connects."""
        return self._call(self._stub.DialBack, pb.DialBackRequest(port=port, nonce=nonce))

    def receive_probe(self, seconds: float) -> float:
        """Bytes per second that come from the coordinator, measured for at most so long."""
        call = self._stub.ReceiveProbe(pb.ProbeRequest(), timeout=_QUICK + seconds, metadata=self._metadata)
        try:
            next(call, None)  # the clock starts when the line is warm
            size, began = 0, time.monotonic()
            for chunk in call:
                size += len(chunk.data)
                if time.monotonic() - began > seconds:
                    break
            return size / (time.monotonic() - began)
        except grpc.RpcError as error:
            raise translated(error, self.invite) from error
        finally:
            call.cancel()

    def send_probe(self, seconds: float) -> float:
        """Bytes per second that reach the coordinator, by its clock, measured for about so long."""
        answer = self._call(self._stub.SendProbe, streams.probe(seconds), _QUICK + 3 * seconds)
        return answer.size / max(answer.seconds, 1e-6)

    def grant_round(
        self, member_id: str, round_: int, members: Iterable[str], blind: bool = False
    ) -> pb.GrantRoundResponse:
        """Whether these members may make the round although they are not more than half of the last one's.

        `blind`: none of them knows who made that.
        """
        request = pb.GrantRoundRequest(
            run=self.invite.run, member_id=member_id, round=round_, members=members, blind=blind
        )
        return self._call(self._stub.GrantRound, request)

    def take_lease(self, member_id: str, samples: int) -> pb.TakeLeaseResponse:
        """Up to `samples` positions to train on; without a lease id there are none, and `why` says why."""
        request = pb.TakeLeaseRequest(run=self.invite.run, member_id=member_id, samples=samples)
        return self._call(self._stub.TakeLease, request)

    def report_rounds(self, member_id: str, reports: Iterable[pb.RoundReport]) -> pb.ReportRoundsResponse:
        """Report finished rounds; the receipts say what counted. Sending a report twice changes nothing."""
        request = pb.ReportRoundsRequest(run=self.invite.run, member_id=member_id, reports=reports)
        return self._call(self._stub.ReportRounds, request)

    def recall_leases(self, member_id: str, leases: Iterable[pb.RecalledLease]) -> int:
        """Name what a coordinator that was restored from a copy may not know; how many samples are leased again."""
        request = pb.RecallLeasesRequest(run=self.invite.run, member_id=member_id, leases=leases)
        return int(self._call(self._stub.RecallLeases, request).samples)

    def ledger(self, from_round: int = 0, to_round: int = 0) -> list[pb.LedgerEntry]:
        """The ledger of the rounds from_round ≤ r < to_round as it was written; to_round 0 means all.

        With all come the open leases of the same moment, as the last entries.
        """
        request = pb.GetLedgerRequest(run=self.invite.run, from_round=from_round, to_round=to_round)
        return list(self._call(self._stub.GetLedger, request, _LEDGER).entries)

    def report_evaluation(self, member_id: str, evaluation: pb.Evaluation) -> pb.ReportEvaluationResponse:
        """Say what was measured on a state of the run; `why` says why it is not used. Twice changes nothing."""
        request = pb.ReportEvaluationRequest(run=self.invite.run, member_id=member_id, evaluation=evaluation)
        return self._call(self._stub.ReportEvaluation, request)

    def get_check(self, member_id: str, check: str, round_: int) -> pb.GetCheckResponse:
        """What this member shall compute again of a round for a spot check. Raises NotFoundError when it is over."""
        request = pb.GetCheckRequest(run=self.invite.run, member_id=member_id, check=check, round=round_)
        return self._call(self._stub.GetCheck, request)

    def report_check(self, member_id: str, check: str, round_: int, outcome: str, why: str) -> None:
        """Say how a spot check ended: passed, failed, given up. Raises NotFoundError when nobody asked for it."""
        request = pb.ReportCheckRequest(run=self.invite.run, member_id=member_id, check=check, round=round_)
        request.outcome, request.why = outcome, why
        self._call(self._stub.ReportCheck, request)

    def checkpoints(self) -> list[pb.Checkpoint]:
        """The checkpoints that the coordinator keeps."""
        request = pb.ListCheckpointsRequest(run=self.invite.run)
        return list(self._call(self._stub.ListCheckpoints, request).checkpoints)

    def offer_checkpoint(self, member_id: str, checkpoint: pb.Checkpoint) -> pb.OfferCheckpointResponse:
        """Whether the coordinator wants this checkpoint, and from which byte on."""
        request = pb.OfferCheckpointRequest(run=self.invite.run, member_id=member_id, checkpoint=checkpoint)
        return self._call(self._stub.OfferCheckpoint, request)

    def upload(
        self, member_id: str, path: Path, sha256: str, offset: int, may_send: Callable[[int], None] = lambda _: None
    ) -> pb.UploadResponse:
        """Send the file `path` from byte `offset` on; `may_send` is called before so many bytes leave, and may wait.

        Raises DiskError, CorruptError.
        """
        first = pb.UploadChunk(run=self.invite.run, member_id=member_id, sha256=sha256, offset=offset)
        try:
            with path.open("rb") as file:
                timeout = _QUICK + _SLICE + (path.stat().st_size - offset) / _SLOWEST
                file.seek(offset)
                return self._call(self._stub.Upload, streams.chunks(first, file, may_send), timeout)
        except OSError as error:
            raise from_os_error(error, f"sending {path.name}") from error

    def download(self, sha256: str, size: int, target: Path, progress: Progress | None = None) -> None:
        """Fetch the blob `sha256` of `size` bytes to `target`, as `swarm.transfer.receive` does.

        Raises NotFoundError when the run has no such blob.
        """
        receive(lambda offset: self._stream(sha256, offset), sha256, size, target, progress)

    def download_range(self, sha256: str, offset: int, length: int) -> bytes:
        """`length` bytes of the blob `sha256` from `offset` on, unverified. A broken line goes on while it brings
        something; then UnreachableError. Raises NotFoundError, CorruptError when the blob ends before.
        """
        data = bytearray()
        while (before := len(data)) < length:
            try:
                streams.take(data, length, self._stream(sha256, offset + before))
            except UnreachableError:
                if len(data) == before:
                    raise
            if len(data) == before:
                raise CorruptError(
                    f"The coordinator's copy of {sha256[:16]}… is shorter than it says.", "Tell the run's maintainer."
                )
        return bytes(data[:length])

    def _stream(self, sha256: str, offset: int) -> Generator[bytes, None, None]:
        """The blob's bytes from `offset` on; closing the iterator ends the call."""
        request = pb.DownloadRequest(run=self.invite.run, sha256=sha256, offset=offset)
        call = self._stub.Download(request, timeout=_SLICE, metadata=self._metadata)
        try:
            for chunk in call:
                yield chunk.data
        except grpc.RpcError as error:
            raise translated(error, self.invite) from error
        finally:
            call.cancel()

    def _check_health(self, timeout: float) -> None:
        check = self._channels[-1].unary_unary(
            "/grpc.health.v1.Health/Check",
            health_pb2.HealthCheckRequest.SerializeToString,
            health_pb2.HealthCheckResponse.FromString,
        )
        answer = self._call(check, health_pb2.HealthCheckRequest(), timeout)
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise UnreachableError(
                f"The coordinator at {self.invite.address} is starting or stopping.", "Try again in a minute."
            )

    def _call(self, call: Callable[..., _Response], request: object, timeout: float = _QUICK) -> _Response:
        try:
            return call(request, timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            if isinstance(said := translated(error, self.invite), HandedOverError):
                self._ask_where()
            raise said from error
        except ValueError as error:  # grpc's word for a closed channel
            raise UnreachableError(f"The connection to {self.invite.address} is closed.") from error
