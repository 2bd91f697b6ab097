"""A coordinator of a few lines: real gRPC over TLS on loopback, and every way to fail on demand."""

# ruff: noqa: N802 (gRPC names the methods)

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from swarm.identity import server_certificate
from swarm.invite import Invite
from swarm.proto import coordinator_pb2 as pb
from swarm.proto.coordinator_pb2_grpc import CoordinatorServicer, add_CoordinatorServicer_to_server

BLOB = os.urandom(1_000_000)
NONCE = b"n" * 32
SHA256 = hashlib.sha256(BLOB).hexdigest()


@dataclass
class TinyCoordinator(CoordinatorServicer):
    """A coordinator that remembers what it was asked; `downloads` says what each download does."""

    asked: list[Any] = field(default_factory=list)
    metadata: list[dict[str, str]] = field(default_factory=list)
    downloads: list[Callable[[bytes, grpc.ServicerContext], Iterator[bytes]]] = field(default_factory=list)
    refusal: tuple[grpc.StatusCode, pb.ErrorDetail | None] | None = None
    received: bytes = b""
    run: pb.Run = field(default_factory=pb.Run)
    status: pb.Status = field(default_factory=pb.Status)
    ledger: list[pb.LedgerEntry] = field(default_factory=list)
    checkpoint: pb.Checkpoint = field(default_factory=lambda: pb.Checkpoint(round=4))

    def _note(self, request: Any, context: grpc.ServicerContext) -> None:
        self.asked.append(request)
        self.metadata.append({key: value for key, value in context.invocation_metadata() if isinstance(value, str)})
        if self.refusal:
            refuse(context, *self.refusal)

    def GetRun(self, request: pb.GetRunRequest, context: grpc.ServicerContext) -> pb.Run:
        self._note(request, context)
        return pb.Run(name=request.run, layout=self.run.layout)

    def ListRuns(self, request: pb.ListRunsRequest, context: grpc.ServicerContext) -> pb.ListRunsResponse:
        self._note(request, context)
        return pb.ListRunsResponse(runs=[pb.RunSummary(name="r")])

    def GetStatus(self, request: pb.GetStatusRequest, context: grpc.ServicerContext) -> pb.Status:
        self._note(request, context)
        self.status.run = request.run
        return self.status

    def Challenge(self, request: pb.ChallengeRequest, context: grpc.ServicerContext) -> pb.ChallengeResponse:
        self._note(request, context)
        return pb.ChallengeResponse(nonce=NONCE)

    def GetPass(self, request: pb.PassRequest, context: grpc.ServicerContext) -> pb.PassResponse:
        self._note(request, context)
        return pb.PassResponse(**{"pass": b"a pass"})

    def Join(self, request: pb.JoinRequest, context: grpc.ServicerContext) -> pb.JoinResponse:
        self._note(request, context)
        return pb.JoinResponse(member_id="m", heartbeat_seconds=5)

    def Heartbeat(self, request: pb.HeartbeatRequest, context: grpc.ServicerContext) -> pb.HeartbeatResponse:
        self._note(request, context)
        return pb.HeartbeatResponse(round=3)

    def Leave(self, request: pb.LeaveRequest, context: grpc.ServicerContext) -> pb.LeaveResponse:
        self._note(request, context)
        return pb.LeaveResponse()

    def TakeLease(self, request: pb.TakeLeaseRequest, context: grpc.ServicerContext) -> pb.TakeLeaseResponse:
        self._note(request, context)
        return pb.TakeLeaseResponse(lease_id="l", range=pb.Range(start=0, stop=request.samples))

    def ReportRounds(self, request: pb.ReportRoundsRequest, context: grpc.ServicerContext) -> pb.ReportRoundsResponse:
        self._note(request, context)
        return pb.ReportRoundsResponse(
            receipts=[pb.Receipt(round=item.round, counted=True) for item in request.reports],
            signed=[pb.SignedReceipt(receipt=b"receipt") for _ in request.reports],
        )

    def GetLedger(self, request: pb.GetLedgerRequest, context: grpc.ServicerContext) -> pb.GetLedgerResponse:
        self._note(request, context)
        last = request.to_round or 1 << 62
        return pb.GetLedgerResponse(entries=[i for i in self.ledger if request.from_round <= i.round < last])

    def ReportEvaluation(
        self, request: pb.ReportEvaluationRequest, context: grpc.ServicerContext
    ) -> pb.ReportEvaluationResponse:
        self._note(request, context)
        return pb.ReportEvaluationResponse(accepted=True)

    def ListCheckpoints(
        self, request: pb.ListCheckpointsRequest, context: grpc.ServicerContext
    ) -> pb.ListCheckpointsResponse:
        self._note(request, context)
        return pb.ListCheckpointsResponse(checkpoints=[self.checkpoint])

    def OfferCheckpoint(
        self, request: pb.OfferCheckpointRequest, context: grpc.ServicerContext
    ) -> pb.OfferCheckpointResponse:
        self._note(request, context)
        return pb.OfferCheckpointResponse(wanted=True, offset=7)

    def Upload(self, request_iterator: Iterator[pb.UploadChunk], context: grpc.ServicerContext) -> pb.UploadResponse:
        self._note(next(request_iterator), context)
        self.received = b"".join(chunk.data for chunk in request_iterator)
        return pb.UploadResponse(size=self.asked[-1].offset + len(self.received), complete=True)

    def Download(self, request: pb.DownloadRequest, context: grpc.ServicerContext) -> Iterator[pb.Chunk]:
        self._note(request, context)
        way = self.downloads.pop(0) if self.downloads else whole
        for data in way(BLOB[request.offset :], context):
            yield pb.Chunk(data=data)


def whole(data: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
    for start in range(0, len(data), 100_000):
        yield data[start : start + 100_000]


def broken_after(count: int) -> Callable[[bytes, grpc.ServicerContext], Iterator[bytes]]:
    """`count` bytes, then the line is gone."""

    def way(data: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        yield data[:count]
        context.abort(grpc.StatusCode.UNAVAILABLE, "gone")

    return way


def ended_after(count: int) -> Callable[[bytes, grpc.ServicerContext], Iterator[bytes]]:
    """`count` bytes, then a proper end."""
    return lambda data, context: iter([data[:count]] if count else [])


def altered(data: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
    yield bytes([data[0] ^ 1]) + data[1:]


def not_found(data: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
    refuse(context, grpc.StatusCode.NOT_FOUND, pb.ErrorDetail(code="NOT_FOUND", what="No such blob.", remedy="Look."))
    yield b""


def refuse(context: grpc.ServicerContext, status: grpc.StatusCode, detail: pb.ErrorDetail | None) -> NoReturn:
    if detail:
        context.set_trailing_metadata((("swarm-error-bin", detail.SerializeToString()),))
    context.abort(status, "a text that nobody matches")


@contextmanager
def serving(servicer: TinyCoordinator, folder: Path, healthy: bool = True, port: int = 0) -> Iterator[Invite]:
    identity = server_certificate(folder)
    pool = ThreadPoolExecutor(16)
    server = grpc.server(pool)
    add_CoordinatorServicer_to_server(servicer, server)
    checks = health.HealthServicer()
    answer = health_pb2.HealthCheckResponse
    checks.set("", answer.SERVING if healthy else answer.NOT_SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    credentials = grpc.ssl_server_credentials([(identity.key_pem, identity.certificate_pem)])
    port = server.add_secure_port(f"127.0.0.1:{port}", credentials)
    server.start()
    try:
        yield Invite("127.0.0.1", port, "a-run", identity.fingerprint, "secret")
    finally:
        server.stop(None).wait()
        pool.shutdown()
