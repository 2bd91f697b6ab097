"""What fuzzing found: each is what a stranger could send, and what comes of it now."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgpack
import pytest
import torch

from coordinator.translate import require_bounded, round_report
from coordinator.web.calls import Maintaining
from peer.admission import _read
from peer.exchange import attempt, circuit
from peer.exchange.attempt import sane
from peer.exchange.butterfly import ExactAllReduce
from peer.exchange.carrier import Carrier
from peer.exchange.node import _usable
from peer.exchange.parts import decoded
from peer.exchange.records import LARGEST, Readable
from peer.exchange.snapshot import _manifest
from peer.fetch import Files
from peer.needs import needs_of
from swarm import runspec
from swarm.chunks import Manifest, require_data
from swarm.client import CoordinatorClient
from swarm.errors import CorruptError, HandoverError, ProtocolError, SpecError, UsageError
from swarm.handover import verified
from swarm.invite import Invite
from swarm.proto import coordinator_pb2 as pb
from swarm.proto import exchange_pb2 as xpb
from swarm.ranges import LAST, Layout, Range
from swarm.replay import replay
from swarm.tensorfile import read_header, state_digest
from swarm.wire import _detailed

from hivemind.dht.validation import DHTRecord  # isort: skip
from hivemind.p2p import PeerID  # isort: skip
from hivemind.proto import runtime_pb2  # isort: skip
from hivemind.utils import MSGPackSerializer  # isort: skip


# ── coordinator ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "request_",
    [
        pb.GetLedgerRequest(from_round=(1 << 64) - 1),
        pb.JoinRequest(round=1 << 63),
        pb.GrantRoundRequest(round=1 << 63),
        pb.ReportRoundsRequest(reports=[pb.RoundReport(round=1), pb.RoundReport(bytes_sent=1 << 63)]),
    ],
)
def test_a_number_that_no_table_holds_is_refused(request_: Any) -> None:
    """SQLite's driver raised OverflowError."""
    with pytest.raises(UsageError, match="no number that a peer sends"):
        require_bounded(request_)


@pytest.mark.parametrize(("start", "stop"), [(0, (1 << 64) - 1), (8, 3), ((1 << 64) - 1, 0)])
def test_a_claim_is_a_range_that_has_a_length(start: int, stop: int) -> None:
    """len() raised OverflowError, or ValueError."""
    claim = pb.LeasedRange(lease_id="1", range=pb.Range(start=start, stop=stop))
    for found in round_report("m", pb.RoundReport(counted=[claim])).counted:  # what is empty is no claim
        assert found.range.sound
        assert 0 < len(found.range) <= LAST


# ── what a coordinator answers ──────────────────────────────────────────────────────────────────

_INVITE = Invite("h", 1, "r", "0" * 32, "t")


@pytest.mark.parametrize(
    "sha256", ["../../x", "/etc/x", "a" * 63 + "/", "x" * 300, "a\0b", "..", "", "con", "A" * 64, "é" * 64]
)
def test_a_file_is_written_nowhere_but_under_its_sha256(sha256: str, tmp_path: Path) -> None:
    """The name came from the coordinator and became a path as it was."""
    folder = tmp_path / "deep" / "blobs"
    files = Files(cast(CoordinatorClient, None), folder, lambda _: None)
    with pytest.raises(CorruptError, match="SHA-256 is none"):
        files.blob(pb.Blob(name="x", sha256=sha256, size=3))
    with pytest.raises(CorruptError, match="SHA-256 is none"):
        files.checkpoint(pb.Checkpoint(sha256=sha256, size=3))
    with pytest.raises(CorruptError, match="SHA-256 is none"):
        Manifest.of(pb.Blob(name="x", sha256=sha256, size=3))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", ["../x.json", "/x.json", "a/b.json", "a\0.json", "..", ".", "", "pytorch_model.bin", "modeling.py", "x.pt"]
)
def test_a_models_folder_holds_no_name_that_leads_out_and_nothing_that_runs(name: str) -> None:
    with pytest.raises(CorruptError):
        require_data(name)


@pytest.mark.parametrize("name", ["config.json", "model-00001.safetensors", "merges.txt", "tokenizer.model"])
def test_a_models_own_files_are_taken(name: str) -> None:
    require_data(name)


@pytest.mark.parametrize("chunk", [1 << 40, 0])
def test_a_chunk_that_fills_the_memory_is_refused(chunk: int) -> None:
    """Whoever fetches a chunk has it in memory before it is verified."""
    with pytest.raises(CorruptError, match="a chunk of it has"):
        Manifest.of(pb.Blob(name="x", sha256="0" * 64, size=1 << 40, chunk_size=chunk, chunks=bytes(32)))
    offer = xpb.Snapshot(sha256="0" * 64, size=1 << 28, chunk_size=1 << 28, chunks=bytes(32))
    with pytest.raises(CorruptError, match="in chunks of"):
        _manifest(offer)


def test_an_error_that_cannot_be_read_is_one() -> None:
    """DecodeError escaped."""
    assert isinstance(_detailed(b"\xff", _INVITE), ProtocolError)


@pytest.mark.parametrize("said", [b"[" * 5000, b"[]", b"\xff", b'{"a":' * 5000, b"9" * 5000])
def test_a_configuration_that_is_none_is_said_so(said: bytes) -> None:
    with pytest.raises(CorruptError, match=r"config\.json"):
        _read(said)


@pytest.mark.parametrize("size", [float("inf"), -1, "x", None, [], 1 << 60])
def test_a_size_that_no_model_has_is_none(size: object) -> None:
    run = pb.Run(latest=pb.Checkpoint(size=100), layout=pb.DataLayout(sequence_length=8))
    config = {"hidden_size": size, "num_hidden_layers": 2, "vocab_size": size}
    assert needs_of(run, runspec.example(), config).device < 1 << 20


@pytest.mark.parametrize("shards", [(), (0,), (5, 0), ((1 << 32) - 1,)])
def test_a_layout_that_preparation_never_makes_is_refused(shards: tuple[int, ...]) -> None:
    """Its order is a list in memory; without samples a position was divided by zero."""
    with pytest.raises(CorruptError, match="layout"):
        Layout.received(shards, 8, 1)


@pytest.mark.parametrize(("start", "stop"), [(5, 3), (0, (1 << 64) - 1)])
def test_a_ledger_with_a_range_that_is_none_does_not_add_up(start: int, stop: int) -> None:
    entry = pb.LedgerEntry(range=pb.Range(start=start, stop=stop), state="counted", member_id="m")
    found = replay([entry], Layout((6, 4), 8, 3))
    assert f"a range from {start} to {stop} is none" in found.verdict
    assert not Range(start, stop).sound


@pytest.mark.parametrize("text", ["x = " + "[" * 5000, "x = " + "9" * 5000, "[run]\n" + "#" * 70_000])
def test_a_spec_that_exhausts_the_parser_is_a_wrong_spec(text: str) -> None:
    """RecursionError, and ValueError for numbers of thousands of digits."""
    with pytest.raises(SpecError):
        runspec.loads(text)


def test_a_long_statement_costs_no_hours() -> None:
    """Where its key is was looked for by reading it again with each of its lines."""
    with pytest.raises(SpecError, match=r"\[x\] is unknown"):
        runspec.loads("x = [\n" + "1,\n" * 20_000 + "]\n")


@pytest.mark.parametrize("text", ["[" * 5000, '{"statement":' * 1000, "x" * 10_000])
def test_a_hand_over_without_an_end_is_forged(text: str) -> None:
    """Anybody may write one into the DHT."""
    with pytest.raises(HandoverError):
        verified(text, "r", "0" * 32)


# ── files ───────────────────────────────────────────────────────────────────────────────────────


def _file(path: Path, header: str, data: bytes = b"") -> Path:
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode() + data)
    return path


def _tensors(*spans: tuple[Any, Any], shape: Any = (0,)) -> str:
    return json.dumps({f"t{i}": {"dtype": "U8", "shape": shape, "data_offsets": span} for i, span in enumerate(spans)})


@pytest.mark.parametrize(
    "header",
    [
        "[" * 5000,
        _tensors((0.0, 8.0)),
        _tensors((0, 8), shape=(1e999,)),
        _tensors((0, 8), (0, 8), (0, 8)),
        _tensors((0, 3), (5, 8)),
        _tensors((0, 8), shape=None),
        _tensors((False, 8)),
    ],
)
def test_a_state_that_was_built_to_deceive_is_torn(header: str, tmp_path: Path) -> None:
    """RecursionError; offsets that are no integers; a million tensors of the same bytes, each hashed."""
    with pytest.raises(CorruptError, match="torn or was altered"):
        state_digest(_file(tmp_path / "state", header, bytes(8)))


def test_an_empty_tensor_between_others_is_none_of_these(tmp_path: Path) -> None:
    assert len(read_header(_file(tmp_path / "state", _tensors((0, 3), (3, 3), (3, 8)), bytes(8))).tensors) == 3


def test_a_number_that_no_double_holds_is_no_value_of_an_action() -> None:
    maintaining = Maintaining("law", cast(Any, None), cast(Any, None))
    with pytest.raises(UsageError, match="values that it does not take"):
        maintaining._request("MakeInvite", {"days": 10**400})


# ── peers ───────────────────────────────────────────────────────────────────────────────────────


def _nested(depth: int) -> bytes:
    data = msgpack.packb([])
    for _ in range(depth):
        data = msgpack.packb(msgpack.ExtType(0x40, b"\x91" + data))
    return data


def test_tuples_within_tuples_do_not_end_the_process() -> None:
    """A kilobyte of them was a segmentation fault in every node of the DHT that it was sent to."""
    with pytest.raises(ValueError, match="within each other"):
        MSGPackSerializer.loads(_nested(1000))
    assert MSGPackSerializer.loads(MSGPackSerializer.dumps((1, (2, 3)))) == (1, (2, 3))


def test_a_peer_id_that_can_be_none_is_not_written_out() -> None:
    """Each of 300 kB in an answer of the DHT kept a node busy for three seconds."""
    assert PeerID(bytes(64)).to_bytes() == bytes(64)
    with pytest.raises(ValueError, match="a peer id of 65 bytes"):
        PeerID(bytes(65))


@pytest.mark.parametrize(
    ("subkey", "value"),
    [(b"", b"\xc1"), (b"\xc1", b"\x01"), (b"", _nested(500)), (b"", b"\xc6" + bytes(LARGEST)), (b"\x90", b"\x01")],
)
def test_a_record_that_nobody_can_read_is_not_taken(subkey: bytes, value: bytes) -> None:
    """One of them made every look-up of the members fail, for all members."""
    assert not Readable().validate(DHTRecord(b"k", subkey, value, 1.0))


def test_a_members_record_is_taken() -> None:
    dumps = MSGPackSerializer.dumps
    record = DHTRecord(b"k" * 20, dumps(b"\x12\x20" + bytes(32)), dumps([1.8e9, False, True, "m"]), 1.0)
    assert Readable().validate(record)


def test_addresses_that_are_none_are_left_out() -> None:
    """One in a member's heartbeat kept everybody from joining: the coordinator passes them on."""
    good = "/ip4/127.0.0.1/tcp/1/p2p/QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC"
    assert _usable(["garbage", good, "", "/ip4/10.0.0.1/tcp/1", "/p2p/!", "\0", "/" * 4000]) == [good]


def test_a_relay_that_announces_a_long_answer_is_not_read() -> None:
    async def length(data: bytes) -> int:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        return await circuit._length(reader)

    assert asyncio.run(length(b"\x85\x01")) == 133
    for data in (b"\xff" * 9 + b"\x01", b"\x80" * 1000, b"\xff\xff\x7f"):
        with pytest.raises((circuit.DecodeError, EOFError)):
            asyncio.run(length(data))


def test_a_part_of_many_dimensions_is_not_multiplied_out() -> None:
    """The product of a million sizes would have held up the event loop for minutes."""
    part = runtime_pb2.Tensor(size=[(1 << 31) - 1] * 500_000, dtype="float32", buffer=bytes(4000))
    assert decoded(part.SerializeToString(), 1000, "none") is None
    with pytest.raises(Exception, match="another size"):
        ExactAllReduce._check(SimpleNamespace(_codec=part.compression), part, torch.Size([1000]))  # type: ignore[arg-type]


def test_a_relay_has_no_room_for_a_million_tiny_payloads() -> None:
    async def bring() -> None:
        carrier = Carrier(room=1 << 30)
        first = xpb.PayloadPart(group_id=b"g", sha256="0", manifest=map(str, range(5000)), size=1)
        taken = asyncio.ensure_future(carrier._group_of(first, b"p"))
        await asyncio.sleep(0)
        assert not carrier._groups.joined(b"g")
        taken.cancel()

    asyncio.run(bring())


@pytest.mark.parametrize("speed", [float("nan"), float("inf"), -1.0, 1e300])
def test_a_speed_that_is_none_is_not_counted(speed: float) -> None:
    """int() raised, and the member's result was lost."""
    assert not sane(xpb.Rate(peer_id=b"p", bytes_per_second=speed), {b"p"})


def test_only_speeds_of_who_sends_in_the_group_are_kept() -> None:
    assert sane(xpb.Rate(peer_id=b"p", bytes_per_second=1.0), {b"p"})
    assert not sane(xpb.Rate(peer_id=b"made up", bytes_per_second=1.0), {b"p"})


def test_a_group_that_is_none_for_this_peer_is_not_taken_part_in() -> None:
    """The worker ended with KeyError, StopIteration or AssertionError."""

    def group(*peers: bytes, client_mode: bool = False) -> xpb.Group:
        return xpb.Group(members=[xpb.GroupMember(peer_id=p, payload="x", client_mode=client_mode) for p in peers])

    assert not attempt.unsound(group(b"a", b"b"), b"a", "x")
    assert "without" in attempt.unsound(group(b"b"), b"a", "x")
    assert "without" in attempt.unsound(group(b"a", b"b"), b"a", "another payload")
    assert "twice" in attempt.unsound(group(b"a", b"b", b"b"), b"a", "x")
    same = [xpb.GroupMember(peer_id=peer, payload="x", member="one") for peer in (b"a", b"b")]
    assert "twice" in attempt.unsound(xpb.Group(members=same), b"a", "x")
    assert "can be none" in attempt.unsound(group(b"a", bytes(65)), b"a", "x")
    for role in ("leader", "relay"):
        named = xpb.Group(members=group(b"a").members, **{role: bytes(65)})
        assert "can be none" in attempt.unsound(named, b"a", "x")
    assert "nobody" in attempt.unsound(group(b"a", client_mode=True), b"a", "x")
