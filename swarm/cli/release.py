"""`swarm release`: from an exported model to a signed bundle, when everything is there that the run spec wants."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swarm.cli.options import AsJson
from swarm.cli.output import say

if TYPE_CHECKING:
    from swarm.bundle.gate import Missing
    from swarm.bundle.keys import Signer
    from swarm.bundle.making import Exported, Policy
    from swarm.bundle.record import Record


def release(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The folder that `swarm export` wrote.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The bundle to make; by default NAME-VERSION.", show_default=False),
    ] = None,
    key: Annotated[
        list[Path] | None,
        typer.Option(
            "--key", help="A private key to sign with; by default $SWARM_HOME/signer.pem.", show_default=False
        ),
    ] = None,
    version: Annotated[
        str, typer.Option("--version", help="Of the release; by default round-N.", show_default=False)
    ] = "",
    caps: Annotated[
        Path | None, typer.Option("--caps", help="What the model may do: a TOML file.", show_default=False)
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(
            "--record", help="The folder of evaluations and findings; by default the run's.", show_default=False
        ),
    ] = None,
    invite: Annotated[
        str, typer.Option("--invite", help="The run's invite: what its public record says counts, too.")
    ] = "",
    check: Annotated[bool, typer.Option("--check", help="Only say what is missing; write nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a signed bundle of an exported model, or say everything that a release still lacks."""
    from swarm.bundle import making
    from swarm.bundle import release as releasing
    from swarm.cli.output import echo_json

    exported = making.exported(model)
    policy = _policy(exported, version, caps)
    target = output or Path(f"{exported.spec.run.name}-{policy.version}")
    wanted = releasing.wanted(exported, _record(exported, record, invite), policy, target)
    signers = _signers(key)
    if check:
        _tell(releasing.lacking(wanted, signers), as_json)
        return
    found = releasing.release(wanted, signers)
    if as_json:
        echo_json({"bundle": str(target), "digest": found.digest, "signers": sorted(found.signers)})
    else:
        say(f"{target}: {found.bundle.name} {found.bundle.version}, digest {found.digest}")


def _policy(exported: Exported, version: str, caps: Path | None) -> Policy:
    """Raises UsageError, SpecError."""
    from swarm.bundle.caps import Caps
    from swarm.bundle.capsfile import load
    from swarm.bundle.making import Policy, require_version

    chosen = version or f"round-{exported.origin.lineage.round}"
    require_version(chosen)
    policy, plugins = load(caps) if caps else (Caps(), {})
    return Policy(chosen, policy, plugins, (), ())


def _record(exported: Exported, folder: Path | None, invite: str) -> Record:
    """What the files say, and the run's coordinator when it is named. Raises CorruptError, UnreachableError."""
    from swarm import paths
    from swarm.bundle.record import read

    state = exported.origin.lineage.state
    kept = read(folder or paths.run_dir(exported.spec.run.name), state)
    return kept.joined(_public(invite, state)) if invite else kept


def _public(invite: str, state: str) -> Record:
    from swarm.bundle.record import Record
    from swarm.cli import known
    from swarm.trials.client import TrialClient
    from swarm.trials.record import read, release_facts

    with known.client(TrialClient, invite) as client:
        return Record(*release_facts(read(client.record()), state))


def _signers(named: list[Path] | None) -> list[Signer]:
    """The keys that are named, else the one of this user, if there is one."""
    from swarm.bundle import keys
    from swarm.cli.signer import own_key

    own = own_key()
    return [keys.load(path) for path in named or ([own] if own.exists() else [])]


def _tell(lacking: list[Missing], as_json: bool) -> None:
    """Raises UnreadyError when something is missing; with --json the list is printed, too."""
    from swarm.bundle.gate import refusal
    from swarm.cli.output import echo_json

    if as_json:
        missing = [{"what": item.what, "remedy": item.remedy} for item in lacking]
        echo_json({"ready": not lacking, "missing": missing})
    if lacking:
        raise refusal(lacking)
    if not as_json:
        say("Everything is there.")
