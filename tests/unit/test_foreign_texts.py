"""What members and coordinators say, where it is shown: no markup, no Markdown, nothing that a terminal obeys."""

from __future__ import annotations

import io
import logging
import sys
from typing import Any

import pytest
from rich.console import Console, RenderableType

from coordinator import translate
from swarm import cli, log, modelcard
from swarm.bundle.manifest import Evaluation, Finding
from swarm.cli import audit, campaigns, ledger, peers, redteam, runs
from swarm.cli.output import echo_json, say
from swarm.cli.show import status_view
from swarm.cli.view import View, render
from swarm.errors import UsageError
from swarm.invite import Invite
from swarm.markdown import in_line
from swarm.proto import coordinator_pb2 as pb
from swarm.trials.record import Ended, Known
from swarm.wire import _detailed
from tests import bundles

ESC = "\x1b]0;owned\x07\x1b[2J\x9b31m"
EVIL = [f"[/x]{ESC}", f"[link=https://evil.example]here[/link]{ESC}", f"[bold]x\x00\x08{ESC}"]
evil = pytest.mark.parametrize("name", EVIL)


def harmless(shown: str, name: str) -> None:
    """What was written is there as a text, and nothing else than rich's own codes is there for the terminal."""
    assert not {"\x07", "\x08", "\x00", "\x9b"} & set(shown)
    assert "\x1b]" not in shown
    assert "\x1b[2J" not in shown
    assert name.partition("\x1b")[0].rstrip("\x00\x08") in shown


def on_terminal(what: RenderableType) -> str:
    out = io.StringIO()
    Console(file=out, force_terminal=True, width=400, legacy_windows=False).print(what)
    return out.getvalue()


@evil
def test_status(name: str) -> None:
    member = pb.Member(member_id="m", name=name, live=True, phase=name, why=name, device=name, share=1)
    measured = pb.Evaluation(round=1, metrics={name: 1.0}, evaluated_by="m", samples=[pb.TextSample(text=name)])
    words: dict[str, Any] = dict.fromkeys(("run", "title", "halted", "stuck", "paused"), name)
    status = pb.Status(members=[member], decisions=[name], evaluations=[measured], **words)
    status.members.add(member_id="n", name=name, why=name)
    harmless(on_terminal(status_view(status, 0.0)), name[:10])


@evil
def test_peers(name: str) -> None:
    found = pb.PeerRecord(
        member_id="m", name=name, why=name, rejected_why=name, invite_note=name, banned_why=name, probation=name
    )
    harmless(on_terminal(peers._table([found], 0.0)), name)


@evil
def test_the_ledger(name: str) -> None:
    lines = [ledger.Line(0, "rejected", "m", name, [])]
    harmless(on_terminal(ledger._table(lines, {"m": name}, None)), name)


@evil
def test_a_peers_own_screen(name: str) -> None:
    event = {"event": "status", "phase": "waiting", "why": name, "round": 0, "samples": 0}
    harmless(on_terminal(render(View().after({**event, "seat": ""}, 0.0))), name)


@evil
def test_what_is_printed_in_lines(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    figure = Evaluation(suite=name, metric=name, value=1.0, samples=1)
    ended = Ended("C1", "evaluate", name, 1, "s", 0.0, name, (figure,), (name,))
    finding = Finding(id="F1", title=name, severity="low", state="open")
    known = Known(finding, name, "i", 0.0, 0.0, name, (name,))
    for text in (
        *campaigns._lines(ended),
        *redteam._lines(known),
        audit._sentence({"at": "now", "about": name, "why": name}),
    ):
        say(text)
    runs._print([{"name": name, "why": name}])
    echo_json({"why": name})
    harmless(capsys.readouterr().out.replace("\\u001b", ""), name[:4])


@evil
def test_errors(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A coordinator's, as they come over the wire, and any other as it is printed."""
    detail = pb.ErrorDetail(code="REFUSED", what=f"{name}\nforged", remedy=name)
    error = _detailed(detail.SerializeToString(), Invite("h", 1, "r", "ab" * 16, "t"))
    assert str(error).isprintable()

    def fails(**_: object) -> None:
        raise UsageError(name, name)

    monkeypatch.setattr(cli, "app", fails)
    monkeypatch.delenv("SWARM_DEBUG", raising=False)
    with pytest.raises(SystemExit):
        cli.main()
    harmless(capsys.readouterr().err, name)


@evil
def test_logs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    log.setup()
    logging.getLogger("garage-swarm.x").info("%s\nforged", name)
    sys.stderr.flush()
    said = capsys.readouterr().err
    harmless(said, name)
    assert said.count("\n") == 1, "one record is one line"


@evil
def test_what_enters_is_one_plain_line(name: str) -> None:
    report = translate.round_report("m", pb.RoundReport(dropped_why=f"{name}\nmore"))
    assert report.dropped_why.isprintable()
    with pytest.raises(UsageError, match="plain names"):
        translate.evaluation("m", pb.Evaluation(digest="0" * 64, metrics={name: 1.0}))


@pytest.mark.parametrize("name", ["loss**\n\n# Safe!", "<img src=x>", "[get it](http://evil.example)"])
def test_the_model_card(name: str) -> None:
    measured = pb.Evaluation(round=1, heldout_loss=2.0, metrics={name: 1.0})
    members = [pb.Member(name="m", credit=name, counted_samples=1)]
    status = pb.Status(evaluations=[measured], members=members)
    release = modelcard.Release(bundles.spec(), pb.Run(), status, pb.Checkpoint(round=1, digest="0" * 64), merged=False)
    text = modelcard.card(release)
    assert name not in text
    assert not [line for line in text.splitlines() if line.startswith(("# Safe", "<"))]
    assert text.count(in_line(name)) == 2
