"""The command `swarm`. One file per command; each imports what it needs when it runs, so that help is instant."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from swarm import lifetime, paths
from swarm.cli import (
    audit,
    backup,
    campaigns,
    chat,
    checkpoints,
    config,
    control,
    data,
    demo,
    discover,
    doctor,
    evaluate,
    export,
    fsck,
    handover,
    identity,
    inspect,
    invite,
    join,
    launch,
    ledger,
    page,
    peers,
    pull,
    push,
    recall,
    receipts,
    redteam,
    release,
    report,
    run,
    run_spec,
    runs,
    serve,
    service,
    signer,
    status,
    verify,
)
from swarm.cli.output import say
from swarm.errors import SwarmError, UsageError, from_os_error
from swarm.version import __version__

app = typer.Typer(
    name="swarm",
    help="Train one model together on volunteers' GPUs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # main() says errors in one line
)
app.command("launch")(launch.launch)
app.command("join")(join.join)
app.command("pause")(control.pause)
app.command("resume")(control.resume)
app.command("stop")(control.stop)
app.command("discover")(discover.discover)
app.command("doctor")(doctor.doctor)
app.command("demo")(demo.demo)
app.command("export")(export.export)
app.command("push")(push.push)
app.command("pull")(pull.pull)
app.command("evaluate")(evaluate.evaluate)
app.command("status")(status.status)
app.command("chat")(chat.chat)
app.command("serve")(serve.serve)
app.command("report")(report.report)
app.command("runs")(runs.runs)
app.command("page")(page.page)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.command("handover")(handover.handover)
app.command("fsck")(fsck.fsck)
app.command("peers")(peers.peers)
app.command("ban")(peers.ban)
app.command("unban")(peers.unban)
app.command("trust")(peers.trust)
app.command("audit")(audit.audit)
app.command("release")(release.release)
app.command("verify")(verify.verify)
app.command("inspect")(inspect.inspect)
app.command("recall")(recall.recall)
app.add_typer(data.app)
app.add_typer(checkpoints.app)
app.add_typer(ledger.app)
app.add_typer(receipts.app)
app.add_typer(run.app)
app.add_typer(redteam.app)
app.add_typer(campaigns.app)
app.add_typer(run_spec.app)
app.add_typer(invite.app)
app.add_typer(identity.app)
app.add_typer(config.app)
app.add_typer(service.app)
app.add_typer(signer.app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"garage-swarm {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error (also: SWARM_DEBUG=1).")
    ] = False,
) -> None:
    if debug:
        os.environ["SWARM_DEBUG"] = "1"  # also for the processes that the command starts


def main() -> None:
    """Run the command line; an error becomes one line on stderr and its exit code (docs/exit-codes.md)."""
    lifetime.follow_parent()
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # gRPC's own lines say nothing that our errors do not
    # torch makes this folder as soon as it is imported, else below /tmp, and nobody removes it
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(paths.cache() / "torch"))
    try:
        _require_system()
        app(prog_name="swarm")
    except Exception as error:
        if os.environ.get("SWARM_DEBUG"):
            raise
        failure = _in_our_words(error)
        separator = "\n" if "\n" in failure.what else " "
        say(f"swarm: {failure.what}{separator}{failure.remedy}".rstrip(), err=True)
        sys.exit(failure.exit_code)


def _require_system() -> None:
    """Say at once, and not after a download, where this cannot run."""
    if sys.platform == "win32":
        raise UsageError(
            "Garage Swarm does not run on Windows itself, because its network library, hivemind, does not.",
            "Use WSL2 (in a terminal: wsl --install, then install it there as on Linux), or the container in docker/.",
        )


def _in_our_words(error: Exception) -> SwarmError:
    if isinstance(error, SwarmError):
        return error
    if isinstance(error, OSError):
        return from_os_error(error, "running the command")
    return SwarmError(
        f"An error that should not happen: {type(error).__name__}: {error}.",
        "Please report it with the output of the same command with --debug after `swarm`.",
    )
