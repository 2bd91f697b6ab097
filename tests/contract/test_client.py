"""The client against a real gRPC server over TLS on loopback: every call, every way to fail."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from swarm.client import CoordinatorClient
from swarm.errors import (
    DiskError,
    InviteError,
    OverloadError,
    ProtocolError,
    RefusedError,
    SwarmError,
    UnreachableError,
)
from swarm.identity import Identity, signed_with
from swarm.invite import Invite
from swarm.passes import answer
from swarm.proto import coordinator_pb2 as pb
from swarm.version import PROTOCOL_VERSION, __version__
from tests.tiny_coordinator import BLOB, NONCE, SHA256, TinyCoordinator, serving

ME = Identity.from_seed(b"k" * 32)


def test_every_method_asks_for_the_invites_run(
    client: CoordinatorClient, server: TinyCoordinator, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(BLOB)
    assert client.get_run().name == "a-run"
    assert [run.name for run in client.list_runs()] == ["r"]
    assert client.status().run == "a-run"
    assert client.join(ME, "me", credit="Me", seat=2).member_id == "m"
    assert client.heartbeat(pb.HeartbeatRequest(member_id="m", phase="training")).round == 3
    assert client.get_pass("m", b"node") == b"a pass"
    client.leave("m", "evening is over")
    assert client.take_lease("m", 64).range.stop == 64
    assert [receipt.round for receipt in client.report_rounds("m", [pb.RoundReport(round=8)]).receipts] == [8]
    server.ledger = [pb.LedgerEntry(why="x" * 100, round=2)] * 60_000  # more than gRPC's usual 4 MiB
    assert len(client.ledger(2, 5)) == 60_000
    assert client.report_evaluation("m", pb.Evaluation(round=4, heldout_loss=2.0)).accepted
    assert [item.round for item in client.checkpoints()] == [4]
    assert client.offer_checkpoint("m", pb.Checkpoint(round=4)).offset == 7
    assert client.upload("m", path, SHA256, 7).size == len(BLOB)
    assert server.received == BLOB[7:]
    client.download(SHA256, len(BLOB), tmp_path / "copy")
    assert {request.run for request in server.asked if hasattr(request, "run")} == {"a-run"}
    [joined] = [request for request in server.asked if isinstance(request, pb.JoinRequest)]
    assert (joined.version, joined.public_key, joined.credit, joined.seat) == (__version__, ME.public_key, "Me", 2)
    words = answer("a-run", client.invite.fingerprint, NONCE, 2, client.session)
    assert (joined.nonce, signed_with(ME.public_key, words, joined.signature)) == (NONCE, True)
    assert all(
        item["authorization"] == "Bearer secret" and item["swarm-protocol"] == str(PROTOCOL_VERSION)
        for item in server.metadata
    )


def test_threads_share_a_client(client: CoordinatorClient) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: client.status().run, range(100))) == ["a-run"] * 100


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, "REFUSED", RefusedError),
        (grpc.StatusCode.FAILED_PRECONDITION, "PROTOCOL", ProtocolError),
        (grpc.StatusCode.NOT_FOUND, "UNKNOWN_RUN", SwarmError),
        (grpc.StatusCode.INTERNAL, "DISK", DiskError),
    ],
)
def test_refusals_are_known_by_their_code(
    client: CoordinatorClient, server: TinyCoordinator, status: grpc.StatusCode, code: str, expected: type[SwarmError]
) -> None:
    server.refusal = (status, pb.ErrorDetail(code=code, what="Said so.", remedy="Do this."))
    with pytest.raises(expected) as caught:
        client.get_run()
    assert (caught.value.code, caught.value.what, caught.value.remedy) == (code, "Said so.", "Do this.")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (grpc.StatusCode.UNAVAILABLE, UnreachableError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, UnreachableError),
        (grpc.StatusCode.PERMISSION_DENIED, RefusedError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, OverloadError),
        (grpc.StatusCode.UNIMPLEMENTED, ProtocolError),
        (grpc.StatusCode.INTERNAL, SwarmError),
    ],
)
def test_bare_statuses_become_sentences(
    client: CoordinatorClient, server: TinyCoordinator, status: grpc.StatusCode, expected: type[SwarmError]
) -> None:
    server.refusal = (status, None)
    with pytest.raises(SwarmError) as caught:
        client.get_run()
    assert type(caught.value) is expected
    assert caught.value.remedy


def test_another_coordinator_is_found_out(invite: Invite, server: TinyCoordinator) -> None:
    with pytest.raises(InviteError, match="names another coordinator"):
        CoordinatorClient.connect(replace(invite, fingerprint="0" * 32))
    assert server.asked == []  # the token was not shown to it


def test_nobody_there(invite: Invite) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        with pytest.raises(UnreachableError, match="no coordinator listens"):
            CoordinatorClient.connect(replace(invite, port=reserved.getsockname()[1]))
    with pytest.raises(UnreachableError, match="not known"):
        CoordinatorClient.connect(replace(invite, host="nobody.invalid"))


def test_somebody_silent_is_a_time_out(invite: Invite) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(UnreachableError, match=r"within 0\.3 s"):
        CoordinatorClient.connect(replace(invite, port=silent.getsockname()[1]), timeout=0.3)


def test_a_server_of_another_kind(invite: Invite) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        def answer() -> None:
            line, _ = other.accept()
            with line:
                line.recv(10)
                line.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(UnreachableError, match="is no coordinator"):
            CoordinatorClient.connect(replace(invite, port=other.getsockname()[1]))
        thread.join()


def test_a_coordinator_that_is_not_ready(tmp_path: Path) -> None:
    with (
        serving(TinyCoordinator(), tmp_path, healthy=False) as invite,
        pytest.raises(UnreachableError, match="starting"),
    ):
        CoordinatorClient.connect(invite)


def answers_within(client: CoordinatorClient, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(UnreachableError):
            return client.status().run == "a-run"
        time.sleep(0.1)
    return False


def test_a_restarted_coordinator_is_found_again(tmp_path: Path) -> None:
    with serving(TinyCoordinator(), tmp_path) as invite:
        client = CoordinatorClient.connect(invite)
        assert client.status().run == "a-run"
    with client:
        with pytest.raises(UnreachableError):
            client.status()
        with serving(TinyCoordinator(), tmp_path, port=invite.port):
            assert answers_within(client, 10.0)


def test_a_closed_client_is_unreachable(invite: Invite) -> None:
    client = CoordinatorClient.connect(invite)
    client.close()
    with pytest.raises(UnreachableError, match="closed"):
        client.status()
