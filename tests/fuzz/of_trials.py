"""What a coordinator tells of trials: units, receipts for them, and the public record."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

from google.protobuf.message import Message

from swarm import receipts as files
from swarm.cli import campaigns, redteam
from swarm.cli.trialing import Machine
from swarm.cli.volunteer import Volunteer
from swarm.identity import Identity
from swarm.proto import coordinator_pb2 as pb
from swarm.trials import receipts
from swarm.trials.chain import START, commitment, following
from swarm.trials.client import TrialClient
from swarm.trials.probes import digest
from swarm.trials.record import read, release_facts
from tests.fuzz.of_files import MEMORY, SMALL, certificate, of_message, scratch, written
from tests.fuzz.run import Decoder

_CAMPAIGN = pb.Campaign(id="C1", kind="redteam", suite="garage", suite_digest=digest(), items=56, unit_items=8)
_FIGURE = {"suite": "garage", "metric": "resisted", "value": 0.5, "samples": 56, "answers": 2}
_ENDED = {
    "campaign": "C1", "kind": "redteam", "suite": "garage", "round": 3, "state": "d" * 64, "why": "",
    "figures": [_FIGURE], "failed": ["toxicity-1"],
}  # fmt: skip
_SALT = "00" * 16
_FINDING = {
    "id": "F1", "title": "t", "severity": "high", "category": "c", "invite": "i", "disclose": 1.0, "size": 6,
    "reproduction": commitment(_SALT, "ask it"),
}  # fmt: skip
_RESOLVED = {"id": "F1", "state": "fixed", "note": "n", "by": "m"}


def _record() -> pb.GetRecordResponse:
    head, entries = START, list[pb.RecordEntry]()
    for kind, body in (("campaign", _ENDED), ("finding", _FINDING), ("finding-state", _RESOLVED)):
        entry = following(len(entries), head, 1.8e9, kind, body)
        opened = f'{{"salt":"{_SALT}","text":"ask it"}}' if kind == "finding" else ""
        entries.append(pb.RecordEntry(**vars(entry), opened=opened))
        head = entry.hash
    return pb.GetRecordResponse(entries=entries, count=3, campaigns=[_CAMPAIGN])


class _Client(TrialClient):
    """One whose coordinator answers everything with the same."""

    def __init__(self, answer: Message) -> None:
        self._answer = answer
        self.invite = SimpleNamespace(run="law")  # type: ignore[assignment]
        self._stub: Any = SimpleNamespace(GetRecord=None)

    def _call(self, *_: object) -> Any:
        return self._answer


def _told(answer: pb.GetRecordResponse) -> None:
    client = _Client(answer)
    found = read(client.record())
    release_facts(read(client.record()), "")
    for known in found.findings:
        redteam._lines(known)
    for ended in found.campaigns:
        campaigns._lines(ended)


def _entries(answer: pb.GetRecordResponse) -> None:
    """As if they had been verified: a coordinator may sign any nonsense."""
    found = read(answer.entries)
    assert len(found.findings) <= len(answer.entries)


def _unit(answer: pb.TakeUnitResponse) -> None:
    run = pb.Run(heldout=pb.Blob(sha256="1" * 64))
    client: Any = SimpleNamespace(
        take_unit=lambda *_: answer, get_run=lambda: run, checkpoints=list, certificate=certificate().certificate_pem
    )
    Volunteer(client, Identity.from_seed(bytes(32)), scratch(), Machine(), io.StringIO().write, lambda _: None).once()


def _receipt() -> Decoder:
    said = pb.TrialReceipt(run="law", member_id="m", number=1, campaign="C1", suite="garage", items=8, counted=True)
    path = scratch() / "trial-receipts"
    files.keep(path, certificate().certificate_pem, [receipts.signed(said, certificate())])
    seed = path.read_bytes()

    def take(data: bytes) -> None:
        for found in receipts.verified(written(data)):
            assert found == said

    return Decoder("trial receipts", take, (seed,), SMALL, MEMORY, covers=(pb.TrialReceipt,))


def decoders() -> list[Decoder]:
    given = pb.TakeUnitResponse(campaign=_CAMPAIGN, unit=1, first=8, count=8, deadline=1.8e9)
    idle = pb.TakeUnitResponse(why="w", receipts=[pb.SignedReceipt(receipt=b"r", signature=b"s")])
    return [
        of_message("answer: GetRecordResponse", _told, (_record(),)),
        of_message("answer: GetRecordResponse, its entries", _entries, (_record(),)),
        of_message("answer: TakeUnitResponse", _unit, (given, idle)),
        of_message("answer: AnswerUnitResponse", _ignored, (pb.AnswerUnitResponse(),)),
        of_message("answer: ReportFindingResponse", _ignored, (pb.ReportFindingResponse(id="F1"),)),
        of_message(
            "answer: ResolveFindingResponse", _ignored, (pb.ResolveFindingResponse(entry=_record().entries[2]),)
        ),
        of_message("answer: StartCampaignResponse", _started, (pb.StartCampaignResponse(campaign=_CAMPAIGN),)),
        of_message("answer: StopCampaignResponse", _ignored, (pb.StopCampaignResponse(campaign=_CAMPAIGN),)),
        _receipt(),
    ]


def _started(answer: pb.StartCampaignResponse) -> None:
    campaigns._going(answer.campaign)


def _ignored(_: Message) -> None:
    """Nothing of it is used."""
