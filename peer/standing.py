"""What became of this peer's samples, as its coordinator says it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from swarm.proto import coordinator_pb2 as pb


@dataclass
class Standing:
    """What the coordinator said about this peer's samples; several threads tell and hear of it."""

    counted: int = 0
    rejected: int = 0
    why: str = ""
    before: int = 0  # counted in earlier joins
    unheard: int = 0  # in reports that the coordinator has not answered yet
    share: float = 1.0  # what each sample weighs that is lent now
    probation: str = ""  # why that is nothing
    rounds: int = 0  # that its workers took part in
    _changing: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def reported(self, report: pb.RoundReport) -> None:
        """A report of a round waits for the coordinator."""
        samples = sum(part.range.stop - part.range.start for part in (*report.counted, *report.dropped))
        with self._changing:
            self.unheard += samples
            self.rounds += not report.dropped_why

    def answered(self, receipt: pb.Receipt) -> None:
        """The coordinator said what became of some samples."""
        samples = receipt.range.stop - receipt.range.start
        with self._changing:
            self.unheard = max(0, self.unheard - samples)
            if receipt.counted:
                self.counted += samples
            else:
                self.rejected += samples
                self.why = f"round {receipt.round}: {receipt.why}"

    def recounted(self, counted: int) -> None:
        """A coordinator that was restored says how many samples of this peer's are counted in all."""
        with self._changing:
            self.counted = max(0, counted - self.before)
