"""What peers and tools take from a coordinator, from an invite, from the local network, and as files."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch
from google.protobuf.message import DecodeError, Message
from rich.console import Console
from safetensors.torch import save

from peer import admission
from peer.admission import prospect, require_fit
from peer.base import manifests
from peer.checkpoint import read_state, state_digest, state_metadata, write_state
from peer.checkup import of_machine
from peer.data import read_samples
from peer.desk import Desk
from peer.fetch import Files
from peer.machine import look
from peer.needs import needs_of
from peer.outbox import REPORT, Item, Outbox
from peer.session import Session
from peer.shards import Shards
from swarm import handover, lent, passes, receipts, runspec, wire
from swarm.chunks import Manifest, chunked
from swarm.cli import ledger as ledger_lines
from swarm.cli import peers as peer_lines
from swarm.cli.show import news, status_view
from swarm.client import CoordinatorClient
from swarm.discovery import entry
from swarm.document import to_html, to_markdown
from swarm.errors import NotFoundError
from swarm.identity import ServerCertificate, server_certificate
from swarm.invite import Invite
from swarm.modelcard import Release, card
from swarm.proto import coordinator_pb2 as pb
from swarm.ranges import Layout
from swarm.replay import replay
from swarm.report import Facts, compose
from swarm.tensorfile import MAX_HEADER, read_header
from swarm.tensorfile import state_digest as file_digest
from tests.fuzz.run import Decoder
from tests.sessions import session_of

SMALL = 1 << 20  # bytes: of what is tried
MEMORY = 64 << 20  # bytes: what an answer of the size tried here may take
_INVITE = Invite("127.0.0.1", 7700, "law", "0" * 32, "token")


@cache
def scratch() -> Path:
    """A folder of this process; files in it are written again and again."""
    folder = tempfile.TemporaryDirectory(prefix="fuzz-")
    _FOLDERS.append(folder)
    return Path(folder.name)


_MADE = time.time()
_CONFIG = b'{"hidden_size": 8, "num_hidden_layers": 2, "vocab_size": 300}'
_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []


def written(data: bytes, name: str = "file") -> Path:
    path = scratch() / name
    path.write_bytes(data)
    return path


def of_message(
    name: str, take: Callable[[Any], object], seeds: tuple[Message, ...], covers: tuple[type[Message], ...] = ()
) -> Decoder:
    """A row whose input is a message, of which gRPC or hivemind read the bytes."""
    kind = type(seeds[0])

    def parse_and_take(data: bytes) -> object:
        try:
            message = kind.FromString(data)
        except DecodeError:
            return None  # the call fails
        return take(message)

    found = tuple(seed.SerializeToString() for seed in seeds)
    return Decoder(name, parse_and_take, found, SMALL, MEMORY, message=kind, covers=(kind, *covers))


# ── what a coordinator answers ──────────────────────────────────────────────────────────────────


class Answering:
    """A client whose coordinator gives one answer to everything; real code reads it."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self.invite = _INVITE

    def get_run(self) -> Any:
        return self._answer

    def download_range(self, _sha256: str, _offset: int, length: int) -> bytes:
        return _CONFIG[:length]

    def download(self, _sha256: str, _size: int, target: Path, _progress: object = None) -> None:
        assert target.resolve().is_relative_to(scratch().resolve()), target
        raise NotFoundError("not here", "")

    def __getattr__(self, _: str) -> Callable[..., Any]:
        return lambda *_args, **_kwargs: self._answer


def _blob(name: str, data: bytes = b"{}", chunk: int = 4 << 20) -> pb.Blob:
    sha256, size, chunks = chunked(written(data, "blob"), chunk)
    return pb.Blob(name=name, sha256=sha256, size=size, chunk_size=chunk, chunks=chunks)


def run_message() -> pb.Run:
    spec = runspec.example()
    return pb.Run(
        name=spec.run.name,
        spec_toml=spec.to_toml(),
        model=[_blob("config.json", _CONFIG)],
        shards=[_blob("shard-00000.safetensors")],
        heldout=_blob("heldout.safetensors"),
        base=[_blob("model.safetensors")],
        layout=pb.DataLayout(shard_samples=[20, 30], sequence_length=8, seed=1, targets_per_sample=8.0),
        latest=pb.Checkpoint(round=0, digest="0" * 64, sha256="1" * 64, size=1000),
        bootstrap=["/ip4/127.0.0.1/tcp/1/p2p/QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC"],
        data=pb.DataFacts(documents=3),
        server_time=_MADE,
        version="1",
    )


def _run(run: pb.Run) -> None:
    """What a joining peer does with it before it fetches anything, and with every name of a file in it."""
    run.server_time += time.time() - _MADE
    found = prospect(cast(CoordinatorClient, Answering(run)), scratch())
    require_fit(found, ["cpu"])


def _files(run: pb.Run) -> None:
    files = Files(cast(CoordinatorClient, Answering(run)), scratch() / "blobs", lambda _: None)
    for fetch in (
        lambda: files.model_folder(list(run.model)),
        lambda: files.checkpoint(run.latest),
        lambda: files.blob(run.heldout),
    ):
        try:
            fetch()
        except NotFoundError:
            continue


def _shards(run: pb.Run) -> None:
    layout = {"shard_samples": list(run.layout.shard_samples), "sequence_length": run.layout.sequence_length}
    layout["seed"] = run.layout.seed
    shards = [Manifest.of(blob).facts() for blob in run.shards]
    setup: Any = SimpleNamespace(
        spec=runspec.example(), shards=shards, folder=str(scratch()), layout=layout, base=manifests([])
    )
    Shards(setup, cast(Any, None), lambda _: None)


def _session(answer: Any) -> Session:
    folder = scratch() / "session" / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    return session_of(cast(CoordinatorClient, answer), _outbox(), folder)


@cache
def _outbox() -> Outbox:
    return Outbox(scratch() / "outbox.sqlite")


def _joined(answer: pb.JoinResponse) -> None:
    session = _session(_Joining(answer))
    session._enter(0)
    session._due.wait(min(session._interval, 1e-4))
    session._due.wait(timeout=0) if 0 < session._interval < 1e6 else session._due.wait(session._interval)


class _Joining(Answering):
    def recall_leases(self, *_: object) -> int:
        return 0


def _beat(answer: pb.HeartbeatResponse) -> None:
    session = _session(_Joining(answer))
    session.on_evaluation = lambda found: {"round": found.round, **dict(found.metrics)}  # type: ignore[assignment, return-value]
    session._beat()


def _leased(answer: pb.TakeLeaseResponse) -> None:
    leased = _session(Answering(answer)).lease(64).lease
    if leased is not None:
        assert 0 < len(leased.range) <= 64


def _receipts(answer: pb.ReportRoundsResponse) -> None:
    sender = _session(SimpleNamespace(report_rounds=lambda *_: answer)).sender
    sender.on_signed = lambda signed: receipts.keep(scratch() / receipts.FILE, certificate().certificate_pem, signed)
    sender._send_reports([Item(number, REPORT, b"") for number in range(len(answer.signed))])


def _status(status: pb.Status) -> None:
    Console(file=io.StringIO(), width=100).print(status_view(status, 1.8e9))
    news(None, status)
    card(Release(runspec.example(), run_message(), status, status.latest, merged=False))
    _report(status, pb.History())


def _report(status: pb.Status, history: pb.History) -> None:
    release = Release(runspec.example(), run_message(), status, status.latest, merged=False)
    made = compose(Facts(release, [status.latest], history))
    assert "<script" not in to_html(made)
    to_markdown(made, "{number}.svg")


def _subject(answer: pb.GetCheckResponse) -> None:
    client, session = SimpleNamespace(get_check=lambda *_: answer), SimpleNamespace(member_id="m")
    found = Desk._subject(SimpleNamespace(_client=client, session=session), "c", 1)  # type: ignore[arg-type]
    assert set(found) == {"own", "control"}


def _peers(answer: pb.ListPeersResponse) -> None:
    Console(file=io.StringIO(), width=100).print(peer_lines._table(list(answer.peers), 1.8e9))


def _ledger(answer: pb.GetLedgerResponse) -> None:
    layout = Layout.received((6, 4), 8, 3)
    found = replay(answer.entries, layout)
    assert found.verdict
    ledger_lines.account(list(answer.entries), layout.samples_per_epoch)


def _simple(name: str, seed: Message, read: Callable[[Any], object] = lambda _: None) -> Decoder:
    """An answer of which single values are shown or compared."""
    return of_message(f"answer: {name}", read, (seed,))


def _answers() -> list[Decoder]:
    span = pb.Range(start=0, stop=8)
    entry_ = pb.LedgerEntry(range=span, state="counted", round=0, member_id="m", lease_id="1")
    member = pb.Member(member_id="m", name="n", live=True, phase="training", round=3, loss=2.0, last_seen=1.8e9)
    texts = [pb.TextSample(prompt="The ", text="cat")]
    measured = pb.Evaluation(round=0, digest="0" * 64, heldout_loss=2.0, metrics={"f1": 0.5}, samples=texts)
    status = pb.Status(
        run="r", title="t", round=3, total_rounds=9, members=[member], rounds=[pb.Round(round=2, loss=1.0)],
        latest=pb.Checkpoint(round=3, digest="0" * 64, sha256="1" * 64), decisions=["d"], evaluations=[measured],
    )  # fmt: skip
    history = pb.History(
        begun_at=1.8e9, newest_at=1.9e9, spans=[pb.Span(last=2, rounds=3, loss=2.0, has_loss=True, samples=8.0)],
        totals=[pb.LedgerTotal(state="counted", samples=8.0)], decisions={"MemberLost": 2}, versions={"0.1.0": 3},
        happenings=[pb.Happening(at=1.8e9, kind="WentBack", text="w")], evaluations=[measured], banned=1,
    )  # fmt: skip
    beat = pb.HeartbeatResponse(server_time=1.8e9, round=3, evaluation=measured, history="h", barred=["m"])
    beat.check.CopyFrom(pb.SpotCheck(id="c", member_id="m", since=3))
    invited = pb.InviteRecord(id="i", role="volunteer", made_at=1.8e9)
    banned = pb.BanRecord(key="m", name="n", why="w", banned_at=1.8e9)
    seen = pb.PeerRecord(member_id="m", name="n", invite="i", role="volunteer", since=1.8e9, last_seen=1.8e9, why="w")
    return [
        of_message("answer: Run, before joining", _run, (run_message(),)),
        of_message("answer: Run, its files", _files, (run_message(),)),
        of_message("answer: Run, its shards", _shards, (run_message(),)),
        of_message("answer: JoinResponse", _joined, (pb.JoinResponse(member_id="m", heartbeat_seconds=5.0),)),
        of_message("answer: HeartbeatResponse", _beat, (beat,)),
        of_message("answer: TakeLeaseResponse", _leased, (pb.TakeLeaseResponse(lease_id="1", range=span),)),
        of_message(
            "answer: ReportRoundsResponse",
            _receipts,
            (pb.ReportRoundsResponse(receipts=[pb.Receipt(round=1, range=span, counted=True)]),),
        ),
        of_message("answer: Status", _status, (status,)),
        of_message("answer: History", partial(_report, status), (history,)),
        of_message("answer: GetLedgerResponse", _ledger, (pb.GetLedgerResponse(entries=[entry_]),)),
        of_message("answer: GetCheckResponse", _subject, (pb.GetCheckResponse(own=[span], control=[span]),)),
        _simple("ReportCheckResponse", pb.ReportCheckResponse()),
        of_message("answer: ListPeersResponse", _peers, (pb.ListPeersResponse(peers=[seen]),)),
        _simple("BanResponse", pb.BanResponse(ban=banned)),
        _simple("TrustResponse", pb.TrustResponse(trust=pb.TrustRecord(key="m", checks=3, why="w"))),
        _simple("SteerRunResponse", pb.SteerRunResponse(course="on", why="w", round=1)),
        _simple("ApproveCheckpointResponse", pb.ApproveCheckpointResponse(checkpoint=pb.Checkpoint(approved_by="m"))),
        _simple("UnbanResponse", pb.UnbanResponse(ban=banned)),
        _simple("ListRunsResponse", pb.ListRunsResponse(runs=[pb.RunSummary(name="r")])),
        _simple("LeaveResponse", pb.LeaveResponse()),
        _simple("DialBackResponse", pb.DialBackResponse(observed_host="127.0.0.1")),
        _simple("ProbeResponse", pb.ProbeResponse(size=1, seconds=1.0), lambda it: it.size / max(it.seconds, 1e-6)),
        _simple("GrantRoundResponse", pb.GrantRoundResponse(granted=True)),
        _simple("RecallLeasesResponse", pb.RecallLeasesResponse(samples=3)),
        _simple("ReportEvaluationResponse", pb.ReportEvaluationResponse(accepted=True)),
        _simple("ListCheckpointsResponse", pb.ListCheckpointsResponse(checkpoints=[status.latest])),
        _simple("OfferCheckpointResponse", pb.OfferCheckpointResponse(wanted=True)),
        _simple("UploadResponse", pb.UploadResponse(size=1)),
        _simple("MakeInviteResponse", pb.MakeInviteResponse(token="t", invite=invited)),
        _simple("ListInvitesResponse", pb.ListInvitesResponse(invites=[invited])),
        _simple("RevokeInviteResponse", pb.RevokeInviteResponse(invite=invited)),
        _simple("ChallengeResponse", pb.ChallengeResponse(nonce=bytes(32))),
        _simple("PassResponse", pb.PassResponse(**{"pass": b"p"})),
        _simple("ChallengeRequest", pb.ChallengeRequest(run="r", public_key=bytes(32))),
        _simple("PassRequest", pb.PassRequest(run="r", member_id="m", peer_id=bytes(34))),
        Decoder(
            "answer: error detail",
            lambda data: wire._detailed(data, _INVITE),
            (pb.ErrorDetail(code="USAGE", what="w", remedy="r").SerializeToString(),),
            16 << 10,
            MEMORY,
            message=pb.ErrorDetail,
            covers=(pb.ErrorDetail,),
        ),
    ]


# ── texts ───────────────────────────────────────────────────────────────────────────────────────


@cache
def certificate() -> ServerCertificate:
    return server_certificate(scratch() / "server")


def _handed_over() -> bytes:
    said = handover.Handover("law", "h", 1, 7, 3, "0" * 64, 1.8e9)
    return handover.signed(said, certificate()).encode()


def _handover(data: bytes) -> None:
    found = handover.verified(data.decode(errors="replace"), "law", certificate().fingerprint)
    found.moved(_INVITE)
    handover.later(found, handover.Handover("law", "h", 1, 6, 3, "0" * 64, 1.8e9))


def _announced(data: bytes) -> None:
    lines = [*data.decode(errors="replace").split("\n"), "", ""]
    properties: dict[str, str | None] = {}
    for line in lines[2:]:
        key, equals, value = line.partition("=")
        properties[key] = value if equals else None
    port = int.from_bytes(lines[0].encode()[:2], "big")
    found = entry(properties, lines[1].split(" "), port)
    if found:
        assert all(Invite.parse(str(item)) == item for item in found.invites)


def _invited(data: bytes) -> None:
    found = Invite.parse(data.decode(errors="replace"))
    assert Invite.parse(str(found)) == found


def _spec(data: bytes) -> None:
    text = data.decode(errors="replace")
    assert runspec.loads(runspec.loads(text).to_toml())


def _config(data: bytes) -> None:
    """A model's config.json, as a peer weighs it before it joins."""
    config, run = admission._read(data), run_message()
    needs = needs_of(run, runspec.example(), config)
    list(of_machine(look(scratch()), needs, ["cpu"]))


def _passes() -> Decoder:
    authority = passes.Authority.of("law", certificate().certificate_pem.decode().encode())
    said = pb.Pass(
        run="law", member="m", public_key=bytes(32), peer_id=bytes(34), role="volunteer", issued_at=1.0, expires_at=2.0
    )
    seed = passes.signed(said, certificate())

    def take(data: bytes) -> None:
        found = passes.opened(data, authority)
        if found is not None:
            passes.expired(found, 1.8e9, 1.8e9)

    return Decoder("pass", take, (seed,), SMALL, MEMORY, message=pb.SignedPass, covers=(pb.SignedPass, pb.Pass))


def _lent() -> Decoder:
    authority = passes.Authority.of("law", certificate().certificate_pem)
    said = pb.Lent(run="law", member="m", lease_id="1-ab", range=pb.Range(start=0, stop=8), share=0.5)
    seed = lent.signed(said, certificate())

    def take(data: bytes) -> None:
        assert lent.opened(data, authority) in (None, said)

    return Decoder(
        "word on a lease", take, (seed,), SMALL, MEMORY, message=pb.SignedLent, covers=(pb.SignedLent, pb.Lent)
    )


def _receipt() -> Decoder:
    part = pb.Receipt(round=3, range=pb.Range(start=0, stop=8), counted=True)
    said = pb.RoundReceipt(run="law", member_id="m", round=3, digest="0" * 64, parts=[part], issued_at=1.0)
    path = scratch() / "receipts"
    receipts.keep(path, certificate().certificate_pem, [receipts.signed(said, certificate())])
    seed = path.read_bytes()

    def take(data: bytes) -> None:
        for found in receipts.verified(written(data)).found:
            assert found == said

    return Decoder("receipts", take, (seed,), SMALL, MEMORY, covers=(pb.RoundReceipt,))


def _texts() -> list[Decoder]:
    announced = f"\x1e\x14\n10.0.0.1 fe80::1\nrun=law\nfp={'0' * 32}\ntoken=t\nround=3\nstate=running\nprotocol=1"
    example = runspec.example().to_toml().encode()
    return [
        Decoder("hand-over", _handover, (_handed_over(),), SMALL, MEMORY, covers=(pb.Handover,)),
        Decoder("invite", _invited, (str(_INVITE).encode(),), SMALL, MEMORY),
        Decoder("run spec", _spec, (example,), SMALL, MEMORY),
        Decoder("config.json", _config, (_CONFIG,), SMALL, MEMORY),
        Decoder("announcement on the local network", _announced, (announced.encode(),), SMALL, MEMORY),
        _passes(),
        _lent(),
        _receipt(),
    ]


# ── files ───────────────────────────────────────────────────────────────────────────────────────


def _state() -> bytes:
    tensors = {"model/w": torch.arange(6.0).reshape(2, 3), "outer/b": torch.zeros(4, dtype=torch.bfloat16)}
    path = scratch() / "seed"
    write_state(path, tensors, state_metadata("law", 3, 24, state_digest(tensors)))
    return path.read_bytes()


def _header(data: bytes) -> None:
    path = written(data)
    read_header(path)
    file_digest(path)


def _manifest(blob: pb.Blob) -> None:
    found = Manifest.of(blob)
    assert (scratch() / found.sha256).parent == scratch()
    found.span(found.count - 1)


def _files_() -> list[Decoder]:
    samples = save({"tokens": torch.zeros(3, 9, dtype=torch.int32), "marks": torch.ones(3, 9, dtype=torch.int16)})
    memory = 25 * MAX_HEADER  # a header as Python objects
    return [
        Decoder("state file: digest", _header, (_state(),), SMALL, memory),
        Decoder("state file: tensors", lambda data: read_state(written(data)), (_state(),), SMALL, memory),
        Decoder("shard", lambda data: read_samples(written(data)), (samples,), SMALL, memory),
        of_message("blob", _manifest, (_blob("config.json"), _blob("w.safetensors", bytes(100), 16))),
    ]


def decoders() -> list[Decoder]:
    return [*_answers(), *_texts(), *_files_()]
