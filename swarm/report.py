"""The report of a run, for its model card and for a blog post: from what its coordinator tells to a document. Pure.

It is for everybody: of the members only those are named who agreed to be (`credit`), and of what members said there are
numbers, the texts that the model wrote, and titles of findings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from swarm.curves import Chart, Point, Series
from swarm.document import Block, Document, Paragraph, Pictures, Quote, Rows, Section, Table
from swarm.modelcard import Release, credited, data, training, unnamed
from swarm.proto import coordinator_pb2 as pb
from swarm.texts import MOST
from swarm.thinning import evenly
from swarm.trials import chapter
from swarm.units import size
from swarm.version import __version__

_LINES = 40  # of a table of evaluations or names
_HOUR = 3600.0
_LATEST = 253_402_300_799  # the last second of the year 9999
_ROUNDS = 6  # whose texts are shown of each prompt

# Kinds of decisions (coordinator.kinds) that were faults or came of them, and how many there were of each.
SURVIVED = {
    "CoordinatorBack": "the coordinator was started again, or had stood still",
    "MemberLost": "members fell silent",
    "MemberLeft": "members left",
    "LeaseExpired": "leases ended before their samples were counted, and those were lent again",
    "Quarantined": "members dropped what they had computed, because they could not trust it",
    "DigestsDiffer": "members held another state than the others, and took theirs",
    "RoundDenied": "parts of the swarm were told not to make a round, because others might be making it",
    "WentBack": "the run went back to an earlier state",
    "EvaluationDenied": "measurements were refused",
    "SpotChecked": "members' work was done again by others, to see whether it was true",
}


@dataclass(frozen=True)
class Facts:
    """What the coordinator tells of a run: `release` holds its spec, its status and its newest checkpoint."""

    release: Release
    checkpoints: Sequence[pb.Checkpoint]
    history: pb.History
    record: Sequence[pb.RecordEntry] = ()


def compose(facts: Facts) -> Document:
    """The same document for the same facts."""
    run = facts.release.spec.run
    sections = [
        Section("How it went", _course(facts)),
        Section("What the model wrote", list(_texts(facts))),
        Section("Evaluations", _evaluations(facts)),
        Section("Tested in the open", list(chapter.blocks(facts.record))),
        Section("What was trained", [Rows(list(training(facts.release)))]),
        Section("On what", [Rows([*data(facts.release), *_digests(facts.release.run)])]),
        Section("Who took part", list(_members(facts))),
        Section("What became of the samples", _ledger(facts)),
        Section("What it survived", list(_survived(facts))),
        Section("Checkpoints", _checkpoints(facts.checkpoints)),
        Section("Software and sources", _sources(facts)),
    ]
    return Document(
        run.title or run.name,
        [
            *[Paragraph(run.description)] * bool(run.description),
            Paragraph(_state(facts)),
            Rows(list(_figures(facts)), large=True),
        ],
        [section for section in sections if section.blocks],
    )


def _state(facts: Facts) -> str:
    status, at = facts.release.status, facts.history.newest_at
    if status.halted:
        state = f"It was stopped in round {status.round:,}: {status.halted}."
    elif status.finished:
        state = f"It is finished: {status.round:,} rounds are done."
    else:
        state = f"It goes on: round {status.round:,} of {status.total_rounds:,}."
    return f"A run that volunteers trained together. {state} As of {_time(at)}."


def _figures(facts: Facts) -> Iterator[tuple[str, str]]:
    status, history = facts.release.status, facts.history
    yield "rounds", f"{status.round:,}"
    yield "samples counted", f"{sum(one.samples for one in history.totals if one.state == 'counted'):,.0f}"
    yield "members whose work counted", f"{sum(bool(member.counted_samples) for member in status.members):,}"
    if status.evaluations:
        first, *_, newest = (status.evaluations[0], *status.evaluations)
        yield "held-out loss", f"{first.heldout_loss:.2f} → {newest.heldout_loss:.2f}"
    lasted = history.newest_at - history.begun_at
    yield "from the first to the newest event", _long(lasted)
    if lasted:
        yield "rounds in an hour", f"{status.round / lasted * _HOUR:,.0f}"
    yield "computing, all machines", _long(sum(span.computed_seconds for span in history.spans))
    yield "sent by members", size(sum(span.bytes_sent for span in history.spans))


# ── curves ─────────────────────────────────────────────────────────────────────────────────────


def _course(facts: Facts) -> list[Block]:
    charts = [chart for chart in _charts(facts) if not chart.empty]
    return [Pictures(charts)] if charts else []


def _charts(facts: Facts) -> Iterator[Chart]:
    spans, evaluations = facts.history.spans, facts.release.status.evaluations
    heldout: list[Point] = [(found.round, found.heldout_loss) for found in evaluations]
    training_loss: list[Point] = [(_middle(span), span.loss if span.has_loss else None) for span in spans]
    losses = (Series("while training", training_loss), Series("held out", heldout, dotted=True))
    yield Chart("Loss, nats per token", [one for one in losses if one.values])
    yield _amounts("Samples counted in a round", {"samples": [(_middle(span), span.samples) for span in spans]})
    yield _amounts("Members in a round", {"members": [(_middle(span), span.members) for span in spans]})
    yield _amounts(
        "Seconds of a round",
        {
            "computing": [(_middle(span), span.compute_seconds) for span in spans],
            "all else": [(_middle(span), span.exchange_seconds) for span in spans],
        },
    )


def _amounts(title: str, series: Mapping[str, list[Point]]) -> Chart:
    return Chart(title, [Series(name, points) for name, points in series.items()], from_zero=True)


def _middle(span: pb.Span) -> float:
    return (span.first + span.last) / 2


# ── measurements and texts ─────────────────────────────────────────────────────────────────────


def _evaluations(facts: Facts) -> list[Block]:
    found = facts.release.status.evaluations
    if not found:
        return []
    names = sorted({name for one in found for name in one.metrics})
    by = _names(facts)
    columns = ["#Round", "#Held-out loss", *(f"#{name}" for name in names), "State", "Measured by"]
    rows = [
        [
            f"{one.round:,}",
            f"{one.heldout_loss:.4f}",
            *(f"{one.metrics[name]:.4g}" if name in one.metrics else "" for name in names),
            one.digest[:16],
            _by(one.evaluated_by, by),
        ]
        for one in evenly(found, _LINES)
    ]
    return [*_left_out(len(found), "are shown"), Table(columns, rows)]


def _texts(facts: Facts) -> Iterator[Block]:
    """Of each prompt the texts over the rounds, the newest first: that is what the model can do now."""
    by = _names(facts)
    found: dict[str, list[tuple[pb.Evaluation, str]]] = {}
    for one in reversed(facts.history.evaluations):
        for sample in one.samples:
            found.setdefault(sample.prompt, []).append((one, sample.text))
    for prompt in list(found)[:MOST]:
        for one, text in evenly(found[prompt], _ROUNDS):
            yield Quote(f"Round {one.round:,}, as told by {_by(one.evaluated_by, by)}", prompt, text)


def _names(facts: Facts) -> dict[str, str]:
    return {member.member_id: member.credit for member in facts.release.status.members}


def _by(member: str, names: Mapping[str, str]) -> str:
    return names.get(member) or f"member {member[:8]}"


# ── members, samples, faults ───────────────────────────────────────────────────────────────────


def _members(facts: Facts) -> Iterator[Block]:
    members = facts.release.status.members
    named, others = credited(members), unnamed(members)
    whole = max(1, sum(samples for _, samples in named) + sum(others))
    if named:
        yield from _left_out(len(named), "names, those with most samples")
        rows = [(name, f"{samples:,}", f"{samples / whole:.1%}") for name, samples in named[:_LINES]]
        yield Table(["Name", "#Samples counted", "#Part"], rows)
    if others:
        more, one = " more" * bool(named), len(others) == 1
        verb = "member gives no name: its" if one else "members give no name: their"
        yield Paragraph(f"{len(others):,}{more} {verb} {sum(others):,} samples are {sum(others) / whole:.1%} of all.")
    if banned := facts.history.banned:
        yield Paragraph(f"{banned:,} {'key is' if banned == 1 else 'keys are'} banned.")


def _ledger(facts: Facts) -> list[Block]:
    totals = facts.history.totals
    rows = [(one.state, one.why, f"{one.samples:,.0f}") for one in sorted(totals, key=lambda one: one.state)]
    words = (
        "Every range of samples is lent to one member until a deadline. What came in time counted; what did not was "
        "lent again. Rejected is what was reported and could not count."
    )
    return [Paragraph(words), Table(["Outcome", "Why", "#Samples"], rows)] if rows else []


def _survived(facts: Facts) -> Iterator[Block]:
    found = dict(facts.history.decisions)
    found["CoordinatorBack"] = found.get("CoordinatorBack", 0) - 1  # its first start
    rows = [(f"{found[kind]:,}", says) for kind, says in SURVIVED.items() if found.get(kind, 0) > 0]
    if rows:
        yield Table(["#Times", "What"], rows)
    if unknown := found.get("", 0):
        yield Paragraph(f"{unknown:,} older decisions are in none of these numbers: their kind was not kept.")
    if facts.history.happenings:
        yield Rows([(_time(one.at), one.text) for one in facts.history.happenings])


def _checkpoints(found: Iterable[pb.Checkpoint]) -> list[Block]:
    ordered = sorted(found, key=lambda one: one.round)
    rows = [(f"Round {one.round:,}", f"digest {one.digest}; {size(one.size)}, SHA-256 {one.sha256}") for one in ordered]
    return [Rows(rows)] if rows else []


def _digests(run: pb.Run) -> Iterator[tuple[str, str]]:
    shards = hashlib.sha256("".join(f"{blob.sha256}\n" for blob in run.shards).encode()).hexdigest()
    yield "Digest", f"SHA-256 {shards}, of the list of those of the {len(run.shards):,} files of samples, one a line"
    yield "Held-out samples", f"SHA-256 {run.heldout.sha256}"
    for blob in run.base:
        yield f"Base, {blob.name}", f"SHA-256 {blob.sha256}"


def _sources(facts: Facts) -> list[Block]:
    found = sorted(facts.history.versions.items())
    members = ", ".join(f"{version or 'unknown'} ({number:,})" for version, number in found)
    rows = [
        ("Coordinator", f"garage-swarm {facts.release.run.version}"),
        ("This report", f"garage-swarm {__version__}"),
    ]
    words = (
        "Samples, checkpoints and decisions are the coordinator's own count. Losses, times and bytes are what members "
        "reported; held-out losses and texts are the word of the one member that is named with each."
    )
    return [Rows([*rows, *[("Members", members)] * bool(members)]), Paragraph(words)]


# ── words ──────────────────────────────────────────────────────────────────────────────────────


def _left_out(number: int, what: str) -> list[Block]:
    return [Paragraph(f"{_LINES} of {number:,} {what}.")] if number > _LINES else []


def _long(seconds: float) -> str:
    """94.2 min, 3.1 h; a night and a month both in hours, as machines lend them."""
    return f"{seconds / 60:.1f} min" if seconds < 2 * _HOUR else f"{seconds / _HOUR:,.1f} h"


def _time(at: float) -> str:
    """`at` in Unix seconds."""
    if not 0 <= at <= _LATEST:
        return "no known time"
    found = datetime.fromtimestamp(at, UTC)
    return f"{found.day} {found:%B %Y, %H:%M} UTC"
