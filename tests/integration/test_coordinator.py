"""The coordinator alone, as a process: what it acknowledged is there after kill -9."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from swarm import receipts
from swarm.client import CoordinatorClient
from swarm.errors import SwarmError, UsageError
from swarm.identity import Identity, member_id
from swarm.proto import coordinator_pb2 as pb
from swarm.ranges import Layout
from swarm.replay import replay
from swarm.runspec import load
from tests.killed_coordinator import Server

pytestmark = [pytest.mark.processes, pytest.mark.timeout(90)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    made.prepare()
    yield made
    if made.process:
        made.process.clean_up()


def report(number: int, lease: pb.TakeLeaseResponse) -> pb.RoundReport:
    used = pb.LeasedRange(lease_id=lease.lease_id, range=lease.range)
    return pb.RoundReport(
        round=number, digest=f"{number:064x}", global_samples=lease.range.stop, counted=[used], loss=1.0
    )


def test_nothing_acknowledged_is_lost_and_nothing_counts_twice_over_kills(server: Server, tmp_path: Path) -> None:
    """The coordinator is killed after every few reports; the peer sends what was not acknowledged again."""
    me = Identity.load_or_create(tmp_path)
    acknowledged: set[tuple[int, int, int]] = set()
    kept = tmp_path / receipts.FILE
    number = 0
    for life in range(6):
        with server.start() as client:
            member = client.join(me, "peer", round_=number).member_id
            for _ in range(5 + life):
                lease = client.take_lease(member, 8)
                sent = report(number, lease)
                for _ in range(2):  # the second time as after a lost answer
                    answer = client.report_rounds(member, [sent])
                    assert [receipt.counted for receipt in answer.receipts] == [True]
                    receipts.keep(kept, client.certificate, answer.signed)
                acknowledged.add((number, lease.range.start, lease.range.stop))
                number += 1
        server.kill()
    with server.start() as client:
        found = [(e.round, e.range.start, e.range.stop) for e in client.ledger() if e.state == "counted"]
        status = client.status()
        replay(client.ledger(), layout(client)).check()
        proven = receipts.verified(kept, client.invite.fingerprint).found
    assert sorted(found) == sorted(acknowledged)
    assert status.round == number
    assert [(one.round, one.digest, receipts.samples(one, counted=True)) for one in proven] == [
        (round_, f"{round_:064x}", stop - start) for round_, start, stop in sorted(acknowledged)
    ]
    assert len({start for _, start, _ in found}) == len(found)
    assert load(server.run.spec).training.rounds == status.total_rounds
    server.stop()


def layout(client: CoordinatorClient) -> Layout:
    found = client.get_run().layout
    return Layout(tuple(found.shard_samples), found.sequence_length, found.seed)


def test_evaluations_credit_and_seats_survive_a_kill(server: Server, tmp_path: Path) -> None:
    me = Identity.load_or_create(tmp_path)
    with server.start() as client:
        start = client.get_run().latest
        members = [client.join(me, "rig", credit="  Anna \n of B\x1b ", seat=seat).member_id for seat in (0, 1)]
        client.heartbeat(pb.HeartbeatRequest(member_id=members[1], phase="training", device="RTX\n4090 " * 20))
        assert client.status().members[1].device == ("RTX 4090 " * 20)[:100].strip()
        measured = pb.Evaluation(round=0, digest=start.digest, heldout_loss=1 / 3, metrics={"bleu": 0.1 + 0.2})
        measured.samples.add(prompt="The ", text="cat\x1b[2J\nsat")
        assert client.report_evaluation(members[0], measured).accepted
        measured.samples[0].text = "Vote for me!"
        assert client.report_evaluation(members[1], measured).accepted  # the same is known
        measured.heldout_loss = 0.5
        answer = client.report_evaluation(members[1], measured)
        assert not answer.accepted
        assert "its held-out loss is 0.5" in answer.why
        with pytest.raises(UsageError, match="no seat 64"):
            client.join(me, "rig", seat=64)
        with pytest.raises(UsageError, match="needs the state's digest"):
            client.report_evaluation(members[0], pb.Evaluation(digest="short"))
    server.kill()
    with server.start() as client:
        status = client.status()
        [checkpoint] = client.checkpoints()
    assert members == [me.member_id, member_id(me.public_key, 1)]
    assert [(member.credit, member.live) for member in status.members] == [("Anna of B", True)] * 2
    assert [(item.heldout_loss, item.evaluated_by) for item in status.evaluations] == [(1 / 3, members[0])]
    assert [(item.prompt, item.text) for item in status.evaluations[0].samples] == [("The ", "cat [2J\nsat")]
    assert (checkpoint.heldout_loss, dict(checkpoint.metrics)) == (1 / 3, {"bleu": 0.1 + 0.2})
    assert (checkpoint.has_heldout_loss, checkpoint.evaluated_by) == (True, members[0])
    server.stop()


def test_an_upload_goes_on_after_a_kill_and_waits_through_another_and_lies_fail(server: Server, tmp_path: Path) -> None:
    from swarm.tensorfile import sha256_file, state_digest

    with server.start() as client:
        start = client.get_run().latest
        client.download(start.sha256, start.size, tmp_path / "start.safetensors")
        member = client.join(Identity.load_or_create(tmp_path), "peer").member_id
        path = _altered_state(tmp_path / "start.safetensors")
        offer = pb.Checkpoint(round=1, digest=state_digest(path), sha256=sha256_file(path), size=path.stat().st_size)
        assert client.offer_checkpoint(member, offer).wanted
        half = tmp_path / "half"
        half.write_bytes(path.read_bytes()[: offer.size // 2])
        assert not client.upload(member, half, offer.sha256, 0).complete
    server.kill()
    with server.start() as client:
        member = client.join(Identity.load_or_create(tmp_path), "peer").member_id
        answer = client.offer_checkpoint(member, offer)
        assert (answer.wanted, answer.offset) == (True, offer.size // 2)
        assert client.upload(member, path, offer.sha256, answer.offset).complete
        assert client.get_run().latest.sha256 == start.sha256  # nobody has said yet that the run came so far
    server.kill()
    with server.start() as client:
        member = client.join(Identity.load_or_create(tmp_path), "peer").member_id
        assert client.offer_checkpoint(member, offer).why == "it is already here"  # and still waits
        said = pb.RoundReport(round=0, digest=offer.digest, swarm_samples=8, global_samples=8, group_size=1)
        client.report_rounds(member, [said])
        assert client.get_run().latest.sha256 == offer.sha256
        lie = pb.Checkpoint(round=2, digest="0" * 64, sha256=start.sha256[::-1], size=1)
        assert client.offer_checkpoint(member, lie).wanted
        (tmp_path / "one").write_bytes(b"x")
        with pytest.raises(SwarmError):
            client.upload(member, tmp_path / "one", lie.sha256, 0)
        assert client.get_run().latest.round == 1
    server.stop()


def _altered_state(path: Path) -> Path:
    """Another state of the same model, as a peer would write it."""
    from peer.checkpoint import read_state, state_digest, write_state

    tensors, metadata = read_state(path)
    tensors = {name: tensor + 1 for name, tensor in tensors.items()}
    target = path.with_name("next.safetensors")
    write_state(target, tensors, {**metadata, "round": "1", "digest": state_digest(tensors)})
    return target
