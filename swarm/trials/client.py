"""What is asked of a coordinator about trials: units for a volunteer, findings, and the public record."""

from __future__ import annotations

from collections.abc import Sequence

from swarm.client import CoordinatorClient
from swarm.errors import CorruptError
from swarm.identity import Identity
from swarm.proto import coordinator_pb2 as pb
from swarm.trials.answers import Item
from swarm.trials.chain import Entry, commitment, parsed, require_whole

_MOST = 100_000  # entries of a record that are read


class TrialClient(CoordinatorClient):
    """For whoever has an invite of the run."""

    def take_unit(self, identity: Identity, receipts: int = 0) -> pb.TakeUnitResponse:
        """A unit to compute, or why there is none; and the receipts of this key after so many. Raises BannedError."""
        request = pb.TakeUnitRequest(run=self.invite.run, proof=self._proof(identity), receipts=receipts)
        return self._call(self._stub.TakeUnit, request)

    def answer_unit(self, identity: Identity, campaign: str, unit: int, items: Sequence[Item]) -> None:
        """Tell what was found; twice changes nothing. Raises NotFoundError when the unit is settled, UsageError."""
        found = [
            pb.ItemAnswer(index=one.index, value=one.value, weight=one.weight, digest=bytes.fromhex(one.digest))
            for one in items
        ]
        request = pb.AnswerUnitRequest(run=self.invite.run, campaign=campaign, unit=unit, items=found)
        request.proof.CopyFrom(self._proof(identity))
        self._call(self._stub.AnswerUnit, request)

    def report_finding(self, title: str, severity: str, category: str, reproduction: str, disclose: float = 0.0) -> str:
        """Put a finding into the public record; its id. The reproduction is told from `disclose` on (Unix seconds; 0:
        at once). Raises UsageError, OverloadError.
        """
        request = pb.ReportFindingRequest(
            run=self.invite.run,
            title=title,
            severity=severity,
            category=category,
            reproduction=reproduction,
            disclose=disclose,
        )
        return str(self._call(self._stub.ReportFinding, request).id)

    def _proof(self, identity: Identity) -> pb.KeyProof:
        nonce, signature = self._answered(identity, 0)
        return pb.KeyProof(public_key=identity.public_key, nonce=nonce, signature=signature)

    def open_campaigns(self) -> list[pb.Campaign]:
        """Those that go on."""
        request = pb.GetRecordRequest(run=self.invite.run, after=_MOST)
        return list(self._call(self._stub.GetRecord, request).campaigns)

    def record(self) -> list[pb.RecordEntry]:
        """All entries, verified: each follows from the one before it, and says what it committed to. What may not be
        told yet is missing. Raises CorruptError.
        """
        found: list[pb.RecordEntry] = []
        while len(found) < _MOST:
            page = self._call(self._stub.GetRecord, pb.GetRecordRequest(run=self.invite.run, after=len(found)))
            found += page.entries
            if len(found) >= page.count or not page.entries:
                break
        require_whole(map(entry_of, found))
        for entry in found:
            _require_committed(entry)
        return found


def entry_of(message: pb.RecordEntry) -> Entry:
    return Entry(message.number, message.at, message.kind, message.body, message.previous, message.hash)


def _require_committed(message: pb.RecordEntry) -> None:
    """Raises CorruptError when the text is not the one that the entry committed to."""
    if message.opened and not _committed(message):
        raise CorruptError(
            f"What the coordinator tells of entry {message.number} is not what the entry committed to.",
            "Do not believe it; ask the maintainer.",
        )


def _committed(message: pb.RecordEntry) -> bool:
    opened, said = parsed(message.opened), parsed(message.body)
    try:
        return commitment(str(opened.get("salt")), str(opened.get("text"))) == said.get("reproduction")
    except ValueError:
        return False
