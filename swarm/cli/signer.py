"""`swarm signer`: the keys of those who release models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from swarm.cli.bundles import BundleFolder
from swarm.cli.options import AsJson
from swarm.errors import NotFoundError

app = typer.Typer(
    name="signer", help="Keys that sign released models: your own, and those that you trust.", no_args_is_help=True
)
Key = Annotated[
    Path | None,
    typer.Option("--key", help="Your private key; by default $SWARM_HOME/signer.pem.", show_default=False),
]


def own_key() -> Path:
    """Where the key lies when none is named."""
    from swarm import paths

    return paths.home() / "signer.pem"


@app.command("new")
def new(
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The private key's file; by default $SWARM_HOME/signer.pem.", show_default=False),
    ] = None,
) -> None:
    """Make a key: the private file for you alone, and beside it the public one, .pub, for everybody."""
    from swarm.bundle import keys
    from swarm.cli.output import say

    signer = keys.new(out or own_key())
    typer.echo(f"{signer.public.fingerprint}  {signer.path}")
    say(
        f"Put the fingerprint into release.signers of the run spec, and publish {signer.path.with_suffix('.pub')}. "
        "Keep a copy of the private key offline: who has it can release in your name.",
        err=True,
    )


@app.command("show")
def show(key: Key = None) -> None:
    """Print your key's fingerprint, and the public key."""
    from swarm.bundle import keys

    signer = keys.load(key or own_key())
    typer.echo(f"{signer.public.fingerprint}  {signer.path}")
    typer.echo(signer.public.pem.decode(), nl=False)


@app.command("sign")
def sign(bundle: BundleFolder, key: Key = None) -> None:
    """Sign a draft, or a bundle, after checking that it is whole. Look at it first: swarm inspect."""
    from swarm.bundle import keys, signatures
    from swarm.bundle.verify import examined

    signer, found = keys.load(key or own_key()), examined(bundle)
    [target] = signatures.sign(bundle, signer)
    typer.echo(f"{target}: {found.bundle.name} {found.bundle.version}, digest {found.digest}")


@app.command("trusted")
def trusted(as_json: AsJson = False) -> None:
    """List whom you trust, for each run by its fingerprint: those whom you agreed to with swarm verify --trust."""
    from swarm import paths
    from swarm.bundle import trust
    from swarm.cli.output import echo_json

    runs = trust.everybody(paths.home())
    if as_json:
        echo_json({run: signing.model_dump(mode="json") for run, signing in runs.items()})
        return
    for run, signing in sorted(runs.items()):
        typer.echo(f"run {run}: {signing.whom()}")
    if not runs:
        typer.echo("Nobody yet: swarm verify --trust asks and remembers.", err=True)


@app.command("forget")
def forget(
    signer: Annotated[
        str,
        typer.Argument(metavar="SIGNER", help="A fingerprint, or the file of a public key."),
    ],
) -> None:
    """Trust a signer no longer, for any run. Where too few are left, its bundles are refused until you agree anew."""
    from swarm import paths
    from swarm.bundle import trust
    from swarm.bundle.keys import fingerprint_of

    one, home = fingerprint_of(signer), paths.home()
    before = {run: signing for run, signing in trust.everybody(home).items() if one in signing.signers}
    if not before:
        raise NotFoundError(f"You do not trust {one} for any run.", "swarm signer trusted lists whom you trust.")
    after = trust.forget(home, one)
    for run in sorted(before):
        left = f"still {after[run].whom()}" if run in after else "nobody any more; swarm verify --trust asks anew"
        typer.echo(f"{one} is forgotten for the run {run}: trusted for it is {left}.")
