"""`swarm discover`: the runs on the local network; and choosing one of them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swarm.cli.options import AsJson
from swarm.cli.output import say
from swarm.errors import InviteError, NotFoundError, UsageError
from swarm.texts import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from swarm.discovery import Found
    from swarm.interfaces import Choice
    from swarm.invite import Invite

_SECONDS = 3.0


def discover(
    seconds: Annotated[float, typer.Option("--seconds", min=0.5, max=60, help="How long to listen.")] = _SECONDS,
    as_json: AsJson = False,
) -> None:
    """List the runs that are announced on the local network, or say why none was found."""
    from swarm.cli.output import echo_json
    from swarm.discovery import search

    result = search(seconds)
    if as_json:
        echo_json({"runs": [_plain(found) for found in result.found], "interfaces": _looked(result.choices)})
    elif result.found:
        for number, found in enumerate(result.found, 1):
            say(f"{number}. {line(found)}")
        say("swarm join --nearby offers them.")
    else:
        say(nothing_found(result.choices))


def choose(yes: bool) -> Invite:
    """The run on the local network that the volunteer wants: with `yes` the only open one, else asked for.

    Raises NotFoundError when there is none, UsageError when nobody can be asked, InviteError, UnreachableError.
    """
    from swarm.discovery import answering, search

    say(f"Looking for runs on the local network, {_SECONDS:g} s …", err=True)
    result = search(_SECONDS)
    if not result.found:
        raise NotFoundError(nothing_found(result.choices), "Or ask the run's maintainer for an invite.")
    found = pick(result.found, yes) or _ask(result.found)
    return answering(found) if found.open else asked_invite(found)


def pick(found: Sequence[Found], yes: bool) -> Found | None:
    """The run that needs no question; None when there is more than one way to go on."""
    usable = [item for item in found if item.open and item.compatible and item.state != "finished"]
    return usable[0] if yes and len(usable) == 1 else None


def line(found: Found) -> str:
    """A run, for people."""
    needs = "open: no invite needed" if found.open else "needs an invite"
    version = "" if found.compatible else "; another version of garage-swarm"
    where = found.invites[0].address
    return f"{found.run}  {found.state}, round {found.round}  {where}  {found.fingerprint[:8]}…  {needs}{version}"


def nothing_found(choices: Iterable[Choice]) -> str:
    """Where was looked, where not and why, and what else may be the matter."""
    used = [f"{item.name} ({', '.join(str(a.ip) for a in item.addresses)})" for item in choices if item.addresses]
    left = [f"{item.name} ({item.why})" for item in choices if not item.addresses]
    hints = "A router may keep Wi-Fi devices apart (guest networks do), and a firewall may drop UDP port 5353."
    lines = [
        "No run was found on the local network.",
        f"Looked on: {', '.join(used) or 'no interface'}.",
        *([f"Left out: {', '.join(left)}."] if left else []),
        *([hints] if used else ["This machine is in no local network."]),
    ]
    return "\n".join(lines)


def _ask(found: Sequence[Found]) -> Found:
    listed = "\n".join(f"{number}. {line(item)}" for number, item in enumerate(found, 1))
    if not sys.stdin.isatty():
        raise UsageError(
            f"There is no terminal to ask at which of these runs to join:\n{listed}",
            "Give an invite: swarm join 'INVITE'; or --yes, which takes the only open one.",
        )
    say(listed, err=True)
    number = int(typer.prompt("Which one?", type=int, default=1, err=True))
    if not 1 <= number <= len(found):
        raise UsageError(f"There is no run {number} in the list.", f"Say a number from 1 to {len(found)}.")
    return found[number - 1]


def asked_invite(found: Found) -> Invite:
    """An invite that the volunteer pastes, for the run that was found. Raises InviteError."""
    from swarm.invite import Invite

    invite = Invite.of(typer.prompt(f"{shown(found.run)} needs an invite; paste it here", err=True).strip())
    if invite.fingerprint != found.fingerprint:
        raise InviteError(
            f"This invite is for another coordinator than the one that announces {found.run} here.",
            "Ask who gave you the invite; to join its run all the same: swarm join 'INVITE'.",
        )
    return invite


def _plain(found: Found) -> dict[str, Any]:
    return {
        "run": found.run,
        "fingerprint": found.fingerprint,
        "addresses": [invite.address for invite in found.invites],
        "round": found.round,
        "state": found.state,
        "open": found.open,
        "compatible": found.compatible,
    }


def _looked(choices: Iterable[Choice]) -> list[dict[str, Any]]:
    return [
        {"name": item.name, "addresses": [str(address) for address in item.addresses], "why": item.why}
        for item in choices
    ]
