"""`swarm signer`: the keys of those who release models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from swarm.cli.bundles import BundleFolder

app = typer.Typer(name="signer", help="The key with which you sign models that are released.", no_args_is_help=True)
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

    signer = keys.new(out or own_key())
    typer.echo(f"{signer.public.fingerprint}  {signer.path}")
    typer.echo(
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
