"""`swarm trials`: the campaigns of a run, and how they go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from swarm.cli.maintain import RunName, maintaining
from swarm.cli.options import AsJson, DataDir, InviteOrOnly
from swarm.cli.output import say
from swarm.errors import UsageError
from swarm.trials.names import SPREAD, TOLERANCE, UNIT_ITEMS, UNIT_SECONDS

if TYPE_CHECKING:
    from swarm.proto import coordinator_pb2 as pb
    from swarm.trials.record import Ended

app = typer.Typer(
    name="trials", help="Evaluations and red-teaming that a run's volunteers compute.", no_args_is_help=True
)


def begin(run: str, kind: str, suite: str, round_: int | None, as_json: bool) -> None:
    """Start a campaign as the run's maintainer. Raises UsageError for what is not spread, NotFoundError, …"""
    from swarm.cli.checkpoints import chosen
    from swarm.cli.output import echo_json
    from swarm.proto import coordinator_pb2 as pb

    if SPREAD.get(kind) != suite:
        raise UsageError(
            f"{suite} is not spread over volunteers: it would fetch or run what they cannot look at.",
            f"Leave --spread out, or take {SPREAD[kind]}.",
        )
    wish = pb.Campaign(kind=kind, suite=suite, unit_items=UNIT_ITEMS[kind], seconds=UNIT_SECONDS)
    wish.tolerance = TOLERANCE[kind]
    with maintaining(run, None) as client:
        wish.round = chosen(client.checkpoints(), round_).round
        found = client.start_campaign(wish)
    if as_json:
        echo_json(found)
        return
    of = f"{found.items} items of {suite} on the checkpoint of round {wish.round}"
    say(f"{found.id}: {of}, in {_units(found)} units")
    say("volunteers compute them with: swarm join INVITE --work trials")


@app.command("list")
def list_(invite: InviteOrOnly = "", as_json: AsJson = False) -> None:
    """List a run's campaigns: those that go on, and what the others found."""
    from swarm.cli import known
    from swarm.cli.output import echo_json
    from swarm.trials.client import TrialClient
    from swarm.trials.record import read

    with known.client(TrialClient, invite) as client:
        going, ended = client.open_campaigns(), read(client.record()).campaigns
    if as_json:
        echo_json({"open": going, "ended": [_as_json(one) for one in ended]})
        return
    for campaign in going:
        say(_going(campaign))
    for one in ended:
        say("\n".join(_lines(one)))
    if not (going or ended):
        say("This run had no campaigns.")


@app.command("stop")
def stop(
    id_: Annotated[str, typer.Argument(metavar="ID", help="As `swarm trials list` names it: C1.")],
    why: Annotated[str, typer.Option("--why", help="The reason; everybody sees it.")] = "",
    run: RunName = "",
    data_dir: DataDir = None,
) -> None:
    """End a campaign before its last unit; its figures are those of the units that are settled."""
    with maintaining(run, data_dir) as client:
        client.stop_campaign(id_, why)
    say(f"{id_} ended")


@app.command("receipts")
def receipts(invite: InviteOrOnly = "", data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List the coordinator's signed words on the units that this machine computed; each is verified."""
    from swarm import paths
    from swarm.cli import known
    from swarm.cli.output import echo_json
    from swarm.trials.receipts import FILE, verified

    run = known.invite(invite)
    found = verified((data_dir or paths.peer_dir(run.run)) / FILE, run.fingerprint)
    if as_json:
        echo_json(found)
        return
    for one in found:
        what = f"unit {one.unit} of {one.campaign} ({one.suite}, round {one.round})"
        say(f"{one.number:>5}  {what}: {'counted' if one.counted else f'not counted, {one.why}'}")
    items = sum(one.items for one in found if one.counted)
    say(f"{sum(one.counted for one in found)} of {len(found)} units counted, with {items} items")


def _going(campaign: pb.Campaign) -> str:
    settled = f"{campaign.settled} of {_units(campaign)} units settled"
    return f"{campaign.id}  {campaign.suite} on round {campaign.round}: {settled}"


def _units(campaign: pb.Campaign) -> int:
    return -(-campaign.items // max(1, campaign.unit_items))  # of a stranger's there may be 0


def _lines(one: Ended) -> list[str]:
    from swarm.cli.trialing import rows

    why = f" ({one.why})" if one.why else ""
    failed = [f"    not resisted: {', '.join(one.failed)}"] if one.failed else []
    found = rows([figure.model_dump() for figure in one.figures])
    return [f"{one.id}  {one.suite} on round {one.round}: ended{why}", *(f"    {row}" for row in found), *failed]


def _as_json(one: Ended) -> dict[str, object]:
    return {**vars(one), "figures": [figure.model_dump() for figure in one.figures]}
