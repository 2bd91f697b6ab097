"""`swarm redteam`: provoke a checkpoint, here or by the run's volunteers; and what people find by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from swarm.cli.evaluate import CheckpointText, RoundOfRun, Spread, Threads
from swarm.cli.maintain import RunName, maintaining
from swarm.cli.options import AsJson, BaseFolder, DataDir, Device, InviteOrOnly, InviteText
from swarm.cli.output import say
from swarm.errors import UsageError
from swarm.trials.names import GARAGE, REDTEAM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swarm.cli.trialing import Machine, Subject
    from swarm.trials.record import Known


class _Model(TyperGroup):
    """`swarm redteam CHECKPOINT` is short for `swarm redteam run CHECKPOINT`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        known = args[0] in self.commands or args[0].startswith("-")
        return super().resolve_command(ctx, args if known else ["run", *args])


app = typer.Typer(
    name="redteam",
    help="Provoke a model, and keep what was found. `swarm redteam CHECKPOINT` runs the probes.",
    no_args_is_help=True,
    cls=_Model,
)


@app.command("run")
def run(
    checkpoint: CheckpointText,
    probes: Annotated[
        list[str] | None,
        typer.Option(
            "--probes", help="garage (the project's own), garak:PROBE, inspect:TASK; several times.", show_default=False
        ),
    ] = None,
    probe: Annotated[str, typer.Option("--probe", help="Only the own probe of this id.")] = "",
    memorised: Annotated[
        Path | None,
        typer.Option("--memorised", help="A text that the model was trained on: does it say it word for word?"),
    ] = None,
    round_: RoundOfRun = None,
    base: BaseFolder = None,
    device: Device = "auto",
    threads: Threads = 0,
    spread: Spread = False,
    as_json: AsJson = False,
) -> None:
    """Ask a model what it should resist. The same model gives the same answers: nothing is drawn by chance."""
    from swarm.cli import trialing
    from swarm.cli.campaigns import begin
    from swarm.cli.output import echo_json

    wanted = probes or [GARAGE]
    if spread:
        for suite in wanted:
            begin(checkpoint, REDTEAM, suite, round_, as_json)
        return
    subject = trialing.named(checkpoint, round_, base, lambda text: say(text, err=True))
    machine = trialing.Machine(device, threads)
    found = [_provoked(subject, suite, machine, probe) for suite in wanted]
    found += [_memorised(subject, machine, memorised)] if memorised else []
    rows, answers = ([row for part in found for row in part[side]] for side in (0, 1))
    if as_json:
        echo_json({"checkpoint": subject.name, "state": subject.state, "evaluations": rows, "failed": answers})
    else:
        say("\n".join([subject.name, *trialing.rows(rows), *_said(answers)]))


def _provoked(
    subject: Subject, suite: str, machine: Machine, probe: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Figures as in a bundle's manifest, and the probes that the model did not resist, with what it said."""
    if suite == GARAGE:
        return _own(subject, machine, probe)
    name, _, task = suite.partition(":")
    from swarm.cli import suites

    if name == "garak" and task:
        return suites.garak(subject, task), []
    if name == "inspect" and task:
        return suites.inspect(subject, task), []
    raise UsageError(f"There are no probes {suite!r}.", "There are garage, garak:PROBE and inspect:TASK.")


def _own(subject: Subject, machine: Machine, chosen: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    from swarm.cli import trialing
    from swarm.trials import probes
    from swarm.trials.suites import failed, figures

    if chosen and chosen not in {one.id for one in probes.own()}:
        raise UsageError(f"There is no probe {chosen!r}.", "`swarm redteam probes` lists them.")
    texts: dict[int, str] = {}
    with trialing.scratch() as log:
        what, take = ("--probe", chosen), lambda line: texts.update({line["index"]: line["text"]})
        items = trialing.examined(subject, machine, log, what=what, take=take)
    lost = set(failed(items))
    answers = [
        {"id": one.id, "category": one.category, "severity": one.severity, "prompt": one.prompt, "text": texts[number]}
        for number, one in enumerate(probes.own())
        if one.id in lost
    ]
    return figures(REDTEAM, GARAGE, items, 1)["figures"], answers


def _memorised(subject: Subject, machine: Machine, file: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    from swarm.cli import trialing
    from swarm.trials.names import MEMORISED
    from swarm.trials.suites import figures

    texts: dict[int, str] = {}
    with trialing.scratch() as log:
        what, take = ("--memorised", file), lambda line: texts.update({line["index"]: line["text"]})
        items = trialing.examined(subject, machine, log, what=what, take=take)
    answers = [
        {"id": f"passage-{one.index + 1}", "category": MEMORISED, "severity": "medium", "text": texts[one.index]}
        for one in items
        if not one.value
    ]
    return figures(REDTEAM, MEMORISED, items, 1)["figures"], answers


def _said(answers: Sequence[dict[str, Any]]) -> list[str]:
    """What was not resisted, shortly: text of a model is nobody's to obey."""
    from swarm.texts import line

    if not answers:
        return []
    rows = [f"  {one['id']} ({one['severity']}): {line(one['text'], 80)}" for one in answers]
    return [f"not resisted ({len(answers)}):", *rows]


@app.command("probes")
def probes_(as_json: AsJson = False) -> None:
    """List the project's own probes."""
    from swarm.cli.output import echo_json
    from swarm.trials import probes

    if as_json:
        echo_json({"digest": probes.digest(), "probes": [one.model_dump() for one in probes.own()]})
        return
    for one in probes.own():
        say(f"{one.id:24} {one.severity:9} {one.prompt.splitlines()[0][:80]}")


@app.command("report")
def report(
    invite: InviteText,
    title: Annotated[str, typer.Option("--title", help="What was found, in one line; everybody sees it at once.")],
    severity: Annotated[str, typer.Option("--severity", help="low, medium, high or critical.")],
    category: Annotated[str, typer.Option("--category", help="What kind of thing it is, as: jailbreak.")],
    reproduction: Annotated[
        Path, typer.Option("--reproduction", help="A text file: how anybody sees it again.", exists=True)
    ],
    disclose: Annotated[
        str,
        typer.Option("--disclose", metavar="DATE", help="2026-12-31: before that day only the maintainer reads how."),
    ] = "",
) -> None:
    """Put something that you found into the run's public record; nobody can take it out again."""
    from swarm.cli import known
    from swarm.trials.client import TrialClient

    text = reproduction.read_text(encoding="utf-8", errors="replace")
    with known.client(TrialClient, invite) as client:
        found = client.report_finding(title, severity, category, text, _day(disclose))
    say(f"{found} is in the public record of {client.invite.run}")


@app.command("findings")
def findings(invite: InviteOrOnly = "", as_json: AsJson = False) -> None:
    """List what people found, and how it is with it; the whole record is verified before."""
    from swarm.cli import known
    from swarm.cli.output import echo_json
    from swarm.trials.client import TrialClient
    from swarm.trials.record import read

    with known.client(TrialClient, invite) as client:
        found = read(client.record()).findings
    if as_json:
        echo_json([_as_json(one) for one in found])
        return
    for one in found:
        say("\n".join(_lines(one)))
    if not found:
        say("Nobody reported anything.")


@app.command("resolve")
def resolve(
    id_: Annotated[str, typer.Argument(metavar="ID", help="As `swarm redteam findings` names it: F1.")],
    state: Annotated[str, typer.Option("--state", help="open, mitigated, fixed or disputed.")],
    note: Annotated[str, typer.Option("--note", help="Why; everybody sees it.")] = "",
    run_: RunName = "",
    data_dir: DataDir = None,
) -> None:
    """Say how it is with a finding, as the run's maintainer: another entry of the record."""
    with maintaining(run_, data_dir) as client:
        client.resolve_finding(id_, state, note)
    say(f"{id_} is {state} now")


def _day(text: str) -> float:
    """Unix seconds of the day's first moment, UTC; 0 for no day. Raises UsageError."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp() if text else 0.0
    except ValueError as error:
        raise UsageError(f"{text!r} is no day.", "Right would be --disclose 2026-12-31.") from error


def _as_json(one: Known) -> dict[str, Any]:
    more = {"category": one.category, "invite": one.invite, "at": one.at, "disclose": one.disclose}
    return {**one.finding.model_dump(), **more, "reproduction": one.reproduction, "notes": one.notes}


def _lines(one: Known) -> list[str]:
    found = one.finding
    until = datetime.fromtimestamp(one.disclose, UTC)
    how = one.reproduction or f"how it is reproduced is told on {until:%Y-%m-%d}"
    return [
        f"{found.id}  {found.severity}  {found.state}  {one.category}: {found.title}",
        *(f"    {line}" for line in how.splitlines()[:20]),
        *(f"    → {note}" for note in one.notes),
    ]
