"""From what a coordinator tells to a report: true, for everybody to read, the same for the same run."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import pytest

from coordinator import decisions, kinds, rounds
from coordinator.watches import SpotChecked
from swarm.curves import Chart
from swarm.document import Document, Pictures, Quote, Rows, Section, Table, to_html, to_markdown
from swarm.modelcard import Release
from swarm.proto import coordinator_pb2 as pb
from swarm.report import SURVIVED, Facts, compose
from swarm.runspec import example

ANNA, BOB, CARL = "a" * 16, "b" * 16, "c" * 16
EVIL = "<script>alert('evil')</script>"


def status(**changes: Any) -> pb.Status:
    found = pb.Status(run="my-run", round=60, total_rounds=200, global_samples=3840, **changes)
    for who, name, credit, counted in (
        (ANNA, "anna", "Anna Müller", 3000),
        (BOB, EVIL, "", 800),
        (CARL, "carl", "Carl", 0),
        ("d" * 16, "dora", EVIL, 40),
    ):
        found.members.add(member_id=who, name=name, credit=credit, counted_samples=counted)
    for number in (0, 20, 40, 60):
        found.evaluations.add(round=number, heldout_loss=7 - number / 20, digest=f"{number:064x}", evaluated_by=ANNA)
    found.evaluations[2].metrics["bleu"] = 31.25
    return found


def history(**changes: Any) -> pb.History:
    found = pb.History(begun_at=1.77e9, newest_at=1.77e9 + 7200, **changes)
    for number in range(60):
        found.spans.add(
            first=number, last=number, rounds=1, loss=7.0, has_loss=number != 30, members=3, samples=64,
            compute_seconds=2.0, exchange_seconds=1.0, bytes_sent=1e6, computed_seconds=6.0,
        )  # fmt: skip
    for number in (40, 60):
        evaluation = found.evaluations.add(round=number, evaluated_by=BOB)
        evaluation.samples.add(prompt="The court ", text=f"{EVIL} of round {number}\n</pre>```")
    found.totals.add(state="rejected", why="already counted", samples=16)
    found.totals.add(state="counted", samples=3840)
    found.decisions["CoordinatorBack"] = 3
    found.decisions["Quarantined"] = 2
    found.happenings.add(at=1.77e9 + 60, kind="WentBack", text=f"The run went back: {EVIL}.")
    found.versions["0.2.0"] = 2
    return found


def facts(state: pb.Status | None = None, past: pb.History | None = None) -> Facts:
    spec, state = example(), state or status()
    newest = pb.Checkpoint(round=60, digest="d" * 64, sha256="e" * 64, size=4_080_000, global_samples=3840)
    run = pb.Run(name="my-run", version="0.2.0", shards=[pb.Blob(sha256="1" * 64)], heldout=pb.Blob(sha256="2" * 64))
    return Facts(Release(spec, run, state, newest, merged=False), [newest], past or history())


def section(document: Document, title: str) -> Section:
    return next(one for one in document.sections if one.title == title)


def words(document: Document) -> str:
    return to_html(document)


def test_only_who_agreed_is_named_whatever_their_name() -> None:
    for text in (words(compose(facts())), to_markdown(compose(facts()), "{number}.svg")):
        assert "Anna Müller" in text
        assert not any(name in text for name in ("anna", "carl", "Carl", "dora"))
        assert "1 more member gives no name: its 800 samples are 20.8% of all." in text


def test_hostile_names_and_texts_stay_texts() -> None:
    page, markdown = words(compose(facts())), to_markdown(compose(facts()), "{number}.svg")
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(&#x27;evil&#x27;)") == 4  # a credit, two texts, and a reason
    outside = "\n".join(line for line in markdown.splitlines() if not line.startswith("    "))
    assert outside.count("<script") == outside.count("\\<script\\>alert") > 0
    assert markdown.count("    The court <script>") == 2


def test_the_same_run_gives_the_same_report() -> None:
    assert words(compose(facts())) == words(compose(facts()))
    assert "2 February 2026, 04:40 UTC" in words(compose(facts()))  # the newest event, not the time of the report


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "It goes on: round 60 of 200."),
        ({"finished": True}, "It is finished: 60 rounds are done."),
        ({"halted": "most diverged"}, "It was stopped in round 60: most diverged."),
    ],
)
def test_the_report_says_how_the_run_stands(changes: dict[str, Any], says: str) -> None:
    assert says in words(compose(facts(status(**changes))))


def test_curves_are_of_all_rounds_and_have_gaps() -> None:
    [pictures] = section(compose(facts()), "How it went").blocks
    assert isinstance(pictures, Pictures)
    loss, samples, *_ = pictures.charts
    training, heldout = loss.series
    assert [point for point in training.points if point[1] is None] == [(30, None)]
    assert heldout.points == [(0, 7.0), (20, 6.0), (40, 5.0), (60, 4.0)]
    assert samples.series[0].points[0] == (0, 64.0)
    assert isinstance(loss, Chart)


def test_figures() -> None:
    large = next(block for block in compose(facts()).lead if isinstance(block, Rows))
    assert dict(large.rows) == {
        "rounds": "60",
        "samples counted": "3,840",
        "members whose work counted": "3",
        "held-out loss": "7.00 → 4.00",
        "from the first to the newest event": "2.0 h",
        "rounds in an hour": "30",
        "computing, all machines": "6.0 min",
        "sent by members": "60 MB",
    }


def test_texts_are_shown_newest_first_with_who_tells_them() -> None:
    quotes = [block for block in section(compose(facts()), "What the model wrote").blocks if isinstance(block, Quote)]
    assert [quote.title for quote in quotes] == [
        f"Round {number}, as told by member {BOB[:8]}" for number in (60, 40)
    ]  # who is not named there either
    assert {quote.given for quote in quotes} == {"The court "}


def test_evaluations_have_a_column_for_each_metric_and_are_few() -> None:
    [table] = section(compose(facts()), "Evaluations").blocks
    assert isinstance(table, Table)
    assert table.columns == ["#Round", "#Held-out loss", "#bleu", "State", "Measured by"]
    assert table.rows[2] == ["40", "5.0000", "31.25", "0" * 16, "Anna Müller"]
    many = status()
    for number in range(80, 8000, 20):
        many.evaluations.add(round=number, heldout_loss=4.0)
    note, table = section(compose(facts(many)), "Evaluations").blocks
    assert isinstance(table, Table)
    assert len(table.rows) == 40
    assert note.text == "40 of 400 are shown."  # type: ignore[union-attr]


def test_faults_are_counted_without_the_first_start_and_only_where_there_were_any() -> None:
    table, happened = section(compose(facts()), "What it survived").blocks
    assert isinstance(table, Table)
    assert [row[0] for row in table.rows] == ["2", "2"]
    assert [row[1] for row in table.rows] == [SURVIVED["CoordinatorBack"], SURVIVED["Quarantined"]]
    assert isinstance(happened, Rows)


def test_the_kinds_of_faults_are_kinds_of_decisions() -> None:
    known = {name for part in (decisions, rounds) for name, _ in inspect.getmembers(part, inspect.isclass)}
    assert set(SURVIVED) <= known | {kinds.LOST, SpotChecked.__name__}


def test_a_run_that_has_just_begun_has_a_report() -> None:
    nothing = compose(facts(pb.Status(run="my-run", total_rounds=200), pb.History(begun_at=1.77e9, newest_at=1.77e9)))
    assert {one.title for one in nothing.sections} == {
        "What was trained", "On what", "Checkpoints", "Software and sources"
    }  # fmt: skip
    assert words(nothing)


def test_a_run_before_kinds_were_kept_says_so() -> None:
    old = history()
    old.decisions[""] = 12
    assert "12 older decisions are in none of these numbers" in words(compose(facts(past=old)))


def test_adapters_and_their_base_are_named() -> None:
    found = facts()
    model = found.release.spec.model.model_copy(update={"source": "org/base", "method": "lora", "revision": "0" * 40})
    release = replace(found.release, spec=found.release.spec.model_copy(update={"model": model}))
    release.run.base.add(name="model.safetensors", sha256="9" * 64)
    page = words(compose(replace(found, release=release)))
    assert "Base, model.safetensors" in page
    assert "rank 16" in page
