"""What people see of a run: the status table, news lines, the volunteer's screen."""

from __future__ import annotations

import io
import json
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from swarm.cli import peers
from swarm.cli.output import duration, plain, rate
from swarm.cli.screen import open_screen
from swarm.cli.show import news, status_view
from swarm.cli.view import View, curve, line_of, render
from swarm.proto import coordinator_pb2 as pb


def shown(renderable: RenderableType, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


STATUS = pb.Status(
    run="tiny",
    round=41,
    total_rounds=200,
    members=[
        pb.Member(
            name="anna", share=1, live=True, phase="training", round=41, samples_in_round=24, samples_per_second=25.31
        ),
        pb.Member(name="bob", share=1, live=True, phase="waiting", why="12 samples of 64 are missing", round=41),
        pb.Member(name="carl", share=1, live=True, phase="training", round=40, samples_in_round=7),
        pb.Member(name="dora", live=False, last_seen=1000.0),
    ],
    rounds=[pb.Round(round=40, loss=4.1, digest="c0ffee42aa", agreed=True), pb.Round(round=39, agreed=False)],
    decisions=["dora left: no heartbeat for 15 s; its lease of samples 2,624 to 2,688 is free again", "carl joined"],
)


def test_the_status_says_what_each_member_does_and_why_it_waits() -> None:
    text = shown(status_view(STATUS, 4600.0))
    assert "round 41 of 200, 3 live members" in text
    assert "training, 24 samples" in text
    assert "waiting: 12 samples of 64 are missing" in text
    assert "training, 7 samples of round 40" in text
    assert "gone for 1 h" in text
    assert "c0ffee42 agreed" in text
    assert "DISAGREED" in text
    assert "dora left: no heartbeat" in text


def test_the_status_says_what_members_weigh_and_when_nobody_does() -> None:
    status = pb.Status()
    status.CopyFrom(STATUS)
    status.members[0].share, status.members[2].share = 0.25, 0.0
    status.stuck = "all members that are here are on probation"
    text = shown(status_view(status, 4600.0), 200)
    assert "training, 24 samples, weighs 25%" in text
    assert "training, 7 samples of round 40, on probation" in text
    assert "stands still: all members that are here are on probation" in text
    assert news(STATUS, status)[-1] == "The run stands still: all members that are here are on probation."
    assert not any("stands still" in line for line in news(status, status))


def test_the_screen_says_what_the_volunteers_samples_weigh_and_why() -> None:
    view = View().after({"event": "standing", "share": 0.0, "probation": "on probation: 1 of 3 clean spot checks"})
    assert "on probation: 1 of 3 clean spot checks" in shown(render(view), 120)
    view = view.after({"event": "standing", "share": 0.5, "probation": ""})
    assert "each sample weighs 50% of a full one" in shown(render(view), 120)
    assert "Weight" not in shown(render(view.after({"event": "standing", "share": 1.0})))


def test_the_status_shows_devices_and_the_newest_evaluation_next_to_the_first() -> None:
    status = pb.Status()
    status.CopyFrom(STATUS)
    status.members[0].device = "NVIDIA GeForce RTX 4090"
    status.evaluations.add(round=0, heldout_loss=3.021)
    assert "held-out loss 3.02 at round 0\n" in shown(status_view(status, 0.0), 200).replace(" \n", "\n")
    status.evaluations.add(round=40, heldout_loss=2.412, metrics={"bleu": 31.25})
    text = shown(status_view(status, 0.0), 200)
    assert "held-out loss 2.41 at round 40 (base 3.02), bleu 31.25" in text
    assert "NVIDIA GeForce " in text
    assert max(map(len, shown(status_view(status, 0.0), 60).splitlines())) <= 60


def test_the_status_shows_what_the_newest_model_writes_and_who_says_so() -> None:
    status = pb.Status()
    status.CopyFrom(STATUS)
    member = status.members[0]
    member.member_id = "c0ffee4200000000-1"
    assert "What it writes" not in shown(status_view(status, 0.0), 200)
    texts = [pb.TextSample(prompt="The ", text="cat\n[bold]sat[/]"), pb.TextSample(prompt="Was", text="ser " * 99)]
    status.evaluations.add(round=40, heldout_loss=2.4, evaluated_by=member.member_id, samples=texts)
    text = shown(status_view(status, 0.0), 400)
    assert f"What it writes at round 40, says {member.name} (c0ffee42-1)" in text
    assert "· The cat [bold]sat[/]" in text
    assert f"· Was{'ser ' * 60}…" in text


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_status_keeps_to_the_terminal(width: int) -> None:
    assert max(map(len, shown(status_view(STATUS, 0.0), width).splitlines())) <= width


def test_an_empty_run_says_what_to_do() -> None:
    assert "share the invite" in shown(status_view(pb.Status(run="x", total_rounds=9), 0.0))


def status_with(decisions: list[str], last_round: int = -1) -> pb.Status:
    rounds = [pb.Round(round=number, agreed=True) for number in range(last_round, -1, -1)]
    return pb.Status(decisions=decisions, rounds=rounds)


def test_news_are_told_once_and_in_order() -> None:
    before, now = status_with(["b", "a"], 2), status_with(["d", "c", "b", "a"], 4)
    told = news(before, now)
    assert told[:2] == ["c", "d"]
    assert [line.split("  ")[0] for line in told[2:]] == ["round 3 done", "round 4 done"]
    assert news(now, now) == []


@given(st.lists(st.text(max_size=3), max_size=30, unique=True), st.integers(1, 8), st.data())
def test_no_decision_is_missed_while_the_list_is_long_enough(every: list[str], kept: int, data: st.DataObject) -> None:
    stops = data.draw(st.lists(st.integers(0, len(every)), max_size=6).map(sorted))
    stops = [0, *stops]
    assume(all(stop - earlier <= kept for earlier, stop in pairwise(stops)))
    looks = [status_with(list(reversed(every[max(0, stop - kept) : stop]))) for stop in stops]
    assert [line for before, now in pairwise(looks) for line in news(before, now)] == every[: stops[-1]]


EVENTS = [
    {"event": "note", "text": "joined tiny"},
    {"event": "status", "phase": "training", "why": "", "round": 4, "samples": 24, "loss": 4.2, "rate": 33.1, "new": 1},
    {"event": "round", "round": 4, "loss": 4.1, "swarm_samples": 64, "members": 3, "seconds": 2.4, "counted": 24},
    {"event": "status", "phase": "waiting", "why": "12 samples are missing", "round": 5, "samples": 0, "loss": None},
    {"event": "end", "counted": 24, "rejected": 3, "finished": False},
]


def test_the_screen_shows_phase_reason_and_credit() -> None:
    view = View()
    for event in EVENTS:
        view = view.after(event)
    text = shown(render(view))
    assert "waiting: 12 samples are missing" in text
    assert "24 samples counted, 0 pending" in text
    waiting = view.after({"event": "standing", "counted": 24, "counted_before": 100, "unheard": 64})
    assert "24 samples counted (124 in all), 64 pending" in shown(render(waiting))
    assert "round 4 done" in text
    assert view.loss == 4.2  # a status without a loss keeps the last one


TRAFFIC = {"today": 12_000_000, "month": 345_000_000, "until": "07:30"}


def test_the_screen_shows_the_curve_the_next_rounds_end_traffic_and_heat() -> None:
    view = View()
    for number in range(6):
        event = {"event": "round", "round": number, "loss": 5.0 - number, "swarm_samples": 64, "members": 3}
        view = view.after({**event, "seconds": 30.0, "sent": 300_000, "received": 900_000}, now=30.0 * number)
    view = view.after({"event": "machine", "name": "RTX 4090", "celsius": 71.4, "watts": 310.0, **TRAFFIC})
    for number, loss in enumerate((4.0, 3.5, 3.25)):
        view = view.after({"event": "heldout", "round": 10 * number, "loss": loss, "metrics": {"bleu": 31.25}})
    view = view.after(EVENTS[1])
    text = shown(render(view, now=160.0), 100)
    assert "4.200  █▇▅▄▂▁" in text
    assert "it ends in about 20 s" in text
    assert "1.8 MB sent, 5.4 MB received" in text
    assert "3.250 after round 20, bleu 31.25  █▃▁" in text
    assert "12 MB today, 345 MB this month" in text
    assert "RTX 4090, 71 °C, 310 W" in text
    assert "next at 07:30" in text
    paused = shown(render(view.after({"event": "pause", "text": "paused until Sat 22:00: outside the hours"})))
    assert "paused until Sat 22:00" in paused
    assert "next at" not in paused
    assert "Round" not in paused


@given(st.lists(st.floats(-1e6, 1e6), max_size=60))
def test_a_curve_has_a_bar_for_each_number_and_keeps_their_order(losses: list[float]) -> None:
    bars = curve(losses)
    assert len(bars) == (len(losses) if len(losses) > 1 else 0)
    for (one, bar), (other, next_bar) in pairwise(zip(losses, bars, strict=False)):
        assert one >= other or bar <= next_bar


def test_without_a_terminal_lines_say_only_what_changes(capsys: pytest.CaptureFixture[str]) -> None:
    with open_screen(as_json=False) as show:
        for event in [*EVENTS[:2], EVENTS[1], *EVENTS[2:]]:
            show(event)
    assert capsys.readouterr().out.splitlines() == [
        "joined tiny",
        "training",
        "round 4 done  loss 4.100  64 samples  3 members  2.4 s",
        "waiting: 12 samples are missing",
        "Stopped. 24 of your samples counted, 3 were rejected.",
    ]


def test_with_json_every_event_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with open_screen(as_json=True) as show:
        for event in EVENTS:
            show(event)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == EVENTS


def test_a_dropped_round_says_why() -> None:
    assert "not counted: late by 4 s" in line_of({**EVENTS[2], "dropped_why": "late by 4 s"})


def test_messages_become_plain_json() -> None:
    found = plain(pb.Status(round=2**60, members=[pb.Member(name="a")], decisions=["x"]))
    assert found["round"] == 2**60
    assert found["members"][0]["name"] == "a"
    assert found["members"][0]["live"] is False
    assert found["latest"]["round"] == 0
    assert json.loads(json.dumps(found)) == found


def test_numbers_are_short() -> None:
    assert [duration(seconds) for seconds in (-1, 5, 60, 7200, 200000)] == ["0 s", "5 s", "1 min", "2 h", "2 d"]
    assert [rate(value) for value in (0, 25.31, 1234.5)] == ["0/s", "25.3/s", "1,234/s"]


def test_of_very_many_members_those_who_are_here_are_shown() -> None:
    gone = [pb.Member(member_id=f"gone-{number}", name=f"gone-{number}") for number in range(300)]
    text = shown(status_view(pb.Status(run="x", total_rounds=9, members=[*gone, *STATUS.members]), 4600.0), 200)
    assert all(member.name in text for member in STATUS.members if member.live)
    assert f"and {100 + len(STATUS.members)} more; --json lists all" in text


def test_of_very_many_peers_those_who_were_seen_last_are_listed() -> None:
    found = [pb.PeerRecord(member_id="m", name=f"peer-{number}", last_seen=number) for number in range(1500)]
    found.append(pb.PeerRecord(member_id="m", name="here", live=True))
    text = shown(peers._table(found, 4600.0), 200)
    assert all(name in text for name in ("here", "peer-1499 ", "peer-501 "))
    assert "peer-500 " not in text
    assert "and 501 more; --json lists all" in text
