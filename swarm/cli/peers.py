"""`swarm peers`, `swarm ban`, `swarm unban`, `swarm trust`: who takes part, who shall not, and who is trusted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from swarm.cli.maintain import RunName, maintaining
from swarm.cli.options import AsJson, DataDir
from swarm.cli.output import console, say

if TYPE_CHECKING:
    from rich.table import Table

    from swarm.proto import coordinator_pb2 as pb

_ROWS = 1000

MemberName = Annotated[
    str, typer.Argument(metavar="MEMBER", help="Its id, the beginning of one, or its name, when only one key has that.")
]


def peers(run: RunName = "", data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List all members that the run ever had: with which invite, since when, what they did, how far they are
    trusted, and who is banned."""

    from swarm.cli.output import echo_json

    with maintaining(run, data_dir) as client:
        found = client.peers()
    if as_json:
        echo_json(found)
    else:
        console().print(_table(found, time.time()))


def ban(
    member: MemberName,
    why: Annotated[str, typer.Option("--why", help="The reason; the member is told.")],
    run: RunName = "",
    data_dir: DataDir = None,
) -> None:
    """Put a member out, in all seats of its key, and let it in no more. What it contributed stays counted."""
    with maintaining(run, data_dir) as client:
        made = client.ban(member, why)
    say(f"{made.name} ({made.key}) is banned; its members end within seconds")


def unban(member: MemberName, run: RunName = "", data_dir: DataDir = None) -> None:
    """Let a banned member in again."""
    with maintaining(run, data_dir) as client:
        lifted = client.unban(member)
    say(f"{lifted.name} ({lifted.key}) may join again")


def trust(
    member: MemberName,
    why: Annotated[str, typer.Option("--why", help="The reason; the member sees it.")] = "",
    revoke: Annotated[bool, typer.Option("--revoke", help="Take that back.")] = False,
    run: RunName = "",
    data_dir: DataDir = None,
) -> None:
    """Trust a member, in all seats of its key: it is not on probation, whatever spot checks say."""
    with maintaining(run, data_dir) as client:
        found = client.trust(member, why, revoke)
    if revoke:
        say(f"{member} ({found.key}) is trusted no more than others")
    else:
        say(f"{member} ({found.key}) is trusted: what it is lent from now on weighs in full")


def _table(found: list[pb.PeerRecord], now: float) -> Table:
    """Who is here first, then who was seen last. A member's name and id stay whole: with them it is banned."""
    from rich.table import Table

    from swarm.cli.output import add_row, count, first_rows, member_short

    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("Member", "Since", "Rounds", "Counted"):
        table.add_column(name, no_wrap=True)
    for name in ("Rejected", "State", "Trust", "Invite"):
        table.add_column(name, overflow="fold")
    here_first = sorted(found, key=lambda item: (not item.live, -item.last_seen))
    for item in first_rows(table, here_first, _ROWS):
        who, done = member_short(item.name, item.member_id), (count(item.rounds), count(item.counted_samples))
        add_row(table, who, _since(item, now), *done, _rejected(item), _state(item, now), _trust(item), _invite(item))
    return table


def _trust(item: pb.PeerRecord) -> str:
    """What its samples weigh, and by how many checks that is known."""
    found = item.trust
    checks = f", {found.clean} of {found.checks} checks clean in a row" if found.checks else ""
    by = f", trusted by {found.trusted_by}" if found.trusted_by else ""
    why = f" ({found.why})" if found.why and not item.probation else ""
    return f"weighs {item.share:.0%}{checks}{by}{why}{item.probation and f'; {item.probation}'}"


def _invite(item: pb.PeerRecord) -> str:
    return f"{item.role} {item.invite}{item.invite_note and f' ({item.invite_note})'}"


def _since(item: pb.PeerRecord, now: float) -> str:
    from swarm.cli.output import duration

    return f"{duration(now - item.since)} ago" if item.since else ""


def _state(item: pb.PeerRecord, now: float) -> str:
    from swarm.cli.output import duration

    if item.banned_at:
        return f"banned {duration(now - item.banned_at)} ago: {item.banned_why}"
    if item.live:
        return "here"
    return f"seen {duration(now - item.last_seen)} ago{item.why and f': {item.why}'}"


def _rejected(item: pb.PeerRecord) -> str:
    from swarm.cli.output import count

    return f"{count(item.rejected_samples)}{item.rejected_why and f': {item.rejected_why}'}"
