"""A run's status for people. Pure: messages in, renderables and lines out."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from swarm.cli.output import add_row, count, duration, first_rows, member_short, metrics, rate
from swarm.proto import coordinator_pb2 as pb
from swarm.texts import shown

_ROUNDS = 8
_DECISIONS = 6
_MEMBERS = 200
_LETTERS = 240  # of a text


def status_view(status: pb.Status, now: float) -> RenderableType:
    """Everything that `swarm status` shows; `now` in Unix seconds."""
    parts: list[RenderableType] = [_head(status), _members(status, now)]
    if status.rounds:
        parts += [Text(), _rounds(status.rounds)]
    if texts := _texts(status):
        parts += [Text(), *texts]
    if status.decisions:
        parts += [Text(), Text("Last decisions", style="bold"), _decisions(status.decisions)]
    return Group(*parts)


def _head(status: pb.Status) -> Text:
    state = "finished" if status.finished else _progress(status)
    head = Text(shown(status.run), style="bold")
    head.append(f"  {shown(status.title)}\n" if status.title else "\n", style="not bold")
    if status.halted:
        head.append(f"stopped: {shown(status.halted)}\n", style="bold red")
    if status.stuck:
        head.append(f"stands still: {shown(status.stuck)}\n", style="bold red")
    if steered := status.paused or status.ended:
        head.append(f"{shown(steered)}\n", style="bold yellow")
    head.append(f"{state}\n", style="not bold")
    samples = f"{count(status.global_samples)} samples, epoch {status.epoch}"
    head.append(f"{samples} ({status.epoch_fraction:.0%} done), {rate(status.samples_per_second)}", style="not bold")
    if status.HasField("latest"):
        head.append(f", checkpoint of round {status.latest.round}", style="not bold")
    if status.evaluations:
        head.append(f"\n{shown(_measured(status.evaluations))}", style="not bold")
    return head.append("\n")


def _measured(evaluations: Sequence[pb.Evaluation]) -> str:
    """The newest evaluation, next to that of the weights that the run began with."""
    newest = max(evaluations, key=lambda item: item.round)
    base = [f" (base {item.heldout_loss:.2f})" for item in evaluations if item.round == 0 < newest.round]
    more = f", {metrics(newest.metrics)}" if newest.metrics else ""
    return f"held-out loss {newest.heldout_loss:.2f} at round {count(newest.round)}{''.join(base)}{more}"


def _texts(status: pb.Status) -> list[Text]:
    """What the newest model writes, and who says so; none when nobody did."""
    newest = max(status.evaluations, key=lambda item: item.round, default=pb.Evaluation())
    if not newest.samples:
        return []
    names = {member.member_id: member.name for member in status.members}
    by = member_short(names.get(newest.evaluated_by, "?"), newest.evaluated_by)
    return [
        Text(f"What it writes at round {count(newest.round)}, says {shown(by)}", style="bold"),
        *map(_text, newest.samples),
    ]


def _text(sample: pb.TextSample) -> Text:
    """On one line, the prompt apart from what the model wrote."""
    prompt, text = (" ".join(shown(part).split()) for part in (sample.prompt, sample.text))
    gap = " " * (sample.prompt[-1:].isspace() or sample.text[:1].isspace())
    more = "…" * (len(text) > _LETTERS)
    return Text.assemble(f"· {prompt}", (f"{gap}{text[:_LETTERS]}{more}", "dim"))


def _progress(status: pb.Status) -> str:
    live = sum(member.live for member in status.members)
    return f"round {count(status.round)} of {count(status.total_rounds)}, {live} live member{'' if live == 1 else 's'}"


def _members(status: pb.Status, now: float) -> RenderableType:
    if not status.members:
        return Text("No member yet; share the invite.")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("Member", max_width=16, overflow="ellipsis", no_wrap=True)
    table.add_column("Counted", justify="right")
    table.add_column("Rejected", justify="right")
    table.add_column("Speed", justify="right")
    table.add_column("Loss", justify="right")
    table.add_column("Does")
    if any(member.live and member.device for member in status.members):
        table.add_column("Device", max_width=16, overflow="ellipsis", no_wrap=True)
    here_first = sorted(status.members, key=lambda member: (not member.live, member.name))
    for member in first_rows(table, here_first, _MEMBERS):
        add_row(table, *_member(member, status.round, now)[: len(table.columns)], style="" if member.live else "dim")
    return table


def _member(member: pb.Member, round_: int, now: float) -> tuple[str, ...]:
    return (
        member.name or member.member_id,
        count(member.counted_samples),
        count(member.rejected_samples),
        rate(member.samples_per_second) if member.live else "",
        f"{member.loss:.3f}" if member.loss and member.live else "",
        doing(member, round_) if member.live else _gone(member, now),
        member.device if member.live else "",
    )


def _gone(member: pb.Member, now: float) -> str:
    return f"gone for {duration(now - member.last_seen)}{member.why and f': {member.why}'}"


def doing(member: pb.Member, round_: int) -> str:
    """What a member does, and why it waits when it does; `round_` is the run's."""
    weighs = "" if member.share == 1 else f", weighs {member.share:.0%}" if member.share else ", on probation"
    if member.why:
        return f"{member.phase}{weighs}: {member.why}"
    where = "" if member.round == round_ else f" of round {member.round}"
    return f"{member.phase}, {count(member.samples_in_round)} samples{where}{weighs}"


def _rounds(rounds: Sequence[pb.Round]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("Round", "Loss", "Samples", "Members", "Compute", "Exchange"):
        table.add_column(title, justify="right")
    table.add_column("Digest")
    for done in rounds[:_ROUNDS]:
        agreed = "agreed" if done.agreed else "DISAGREED"
        add_row(
            table,
            str(done.round),
            f"{done.loss:.3f}",
            count(done.samples),
            str(done.members),
            f"{done.compute_seconds:.1f} s",
            f"{done.exchange_seconds:.1f} s",
            f"{done.digest[:8]} {agreed}",
        )
    return table


def _decisions(decisions: Sequence[str]) -> Table:
    table = Table.grid(padding=(0, 1))
    for decision in decisions[:_DECISIONS]:
        add_row(table, "·", decision, style="dim")
    return table


def news(before: pb.Status | None, now: pb.Status) -> list[str]:
    """What happened between two looks, oldest first: one line per round and per decision."""
    known = before.rounds[0].round if before and before.rounds else -1
    rounds = [round_line(done) for done in reversed(now.rounds) if done.round > known]
    fresh = _fresh(list(before.decisions) if before else [], list(now.decisions))
    stuck = [f"The run stands still: {now.stuck}."] if now.stuck and (before is None or not before.stuck) else []
    return list(reversed(fresh)) + rounds + stuck


def round_line(done: pb.Round) -> str:
    """One finished round in one line."""
    seconds = done.compute_seconds + done.exchange_seconds
    agreed = "" if done.agreed else "  DIGESTS DIFFER"
    return (
        f"round {done.round} done  loss {done.loss:.3f}  {count(done.samples)} samples  "
        f"{done.members} member{'' if done.members == 1 else 's'}  {seconds:.1f} s{agreed}"
    )


def _fresh(before: list[str], now: list[str]) -> list[str]:
    """The part of `now` (newest first, bounded) that is newer than `before`."""
    shift = next((i for i in range(len(now)) if now[i:] == before[: len(now) - i]), len(now))
    return now[:shift]
