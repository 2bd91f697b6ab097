"""What a run's report says of its trials: figures that its volunteers found, and findings by hand. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from swarm.document import Block, Paragraph, Table
from swarm.proto import coordinator_pb2 as pb
from swarm.texts import line
from swarm.trials.record import Ended, Known, read

_LINES = 60  # of a table
_LONGEST = 200  # letters of a title


def blocks(entries: Sequence[pb.RecordEntry]) -> Iterator[Block]:
    """Nothing for a run without entries. How findings are reproduced is not in a report. Raises CorruptError."""
    found = read(entries)
    if rows := [row for campaign in found.campaigns for row in _figures(campaign)]:
        yield Paragraph("Measured by volunteers; each part by two or more who did not know of each other.")
        names = ("Campaign", "#Round", "Suite", "Figure", "#Value", "#Items", "#Found by")
        yield Table(names, rows[-_LINES:])
    if found.findings:
        yield Paragraph("Found by hand, and how it is with it.")
        shown = [_finding(one) for one in found.findings[-_LINES:]]
        yield Table(("Finding", "Severity", "State", "What", "Reported"), shown)


def _figures(campaign: Ended) -> list[list[str]]:
    of = [campaign.id, f"{campaign.round:,}"]
    return [
        [*of, one.suite, one.metric, f"{one.value:.4g}", f"{one.samples:,}", str(one.answers)]
        for one in campaign.figures
    ]


def _finding(one: Known) -> list[str]:
    found, day = one.finding, datetime.fromtimestamp(one.at, UTC)
    return [found.id, found.severity, found.state, line(f"{one.category}: {found.title}", _LONGEST), f"{day:%Y-%m-%d}"]
