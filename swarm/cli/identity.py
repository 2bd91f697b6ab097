"""`swarm identity`: the key that a volunteer's credit belongs to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swarm.cli.options import AsJson
from swarm.errors import NotFoundError, UsageError, from_os_error

if TYPE_CHECKING:
    from swarm.identity import Identity

app = typer.Typer(name="identity", help="The key that your credit belongs to.", no_args_is_help=True)
Folder = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", help="A peer's folder with an identity of its own; by default $SWARM_HOME.", show_default=False
    ),
]


@app.command("show")
def show(data_dir: Folder = None, as_json: AsJson = False) -> None:
    """Print your id, and which folders of runs have an identity of their own."""
    from swarm import paths
    from swarm.cli.output import echo_json
    from swarm.identity import FILE

    path = (data_dir or paths.home()) / FILE
    own = {file.parent.name: _load(file).member_id for file in sorted(paths.peers().glob(f"*/{FILE}"))}
    found = {"id": _load(path).member_id if path.exists() else "", "file": str(path), "own": own}
    if as_json:
        echo_json(found)
        return
    typer.echo(f"{found['id'] or 'none yet: the first join makes it'}  {path}")
    for name, member_id in own.items():
        typer.echo(f"{member_id}  only for the run {name}")


@app.command("backup")
def backup(data_dir: Folder = None) -> None:
    """Print the 24 words that are your identity. Write them down; show them to nobody."""
    from swarm import paths
    from swarm.identity import FILE
    from swarm.phrase import phrase_of

    words = phrase_of(_load((data_dir or paths.home()) / FILE)).split()
    for row in range(0, len(words), 6):
        typer.echo("  ".join(f"{row + n + 1:2} {word:<8}" for n, word in enumerate(words[row : row + 6])).rstrip())
    typer.echo("Write them down, in this order. Who has them can take part in your name.", err=True)


@app.command("restore")
def restore(
    data_dir: Folder = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put it in the place of the one that is here, which is kept beside it.")
    ] = False,
) -> None:
    """Take up an identity again from its 24 words, which are asked for, or read from stdin."""
    from swarm import paths
    from swarm.phrase import identity_of

    words = typer.prompt("The 24 words", err=True) if sys.stdin.isatty() else sys.stdin.read()
    identity = identity_of("".join(letter if letter.isalpha() else " " for letter in words))
    path = _place(identity, data_dir or paths.home(), replace)
    typer.echo(f"{identity.member_id}  {path}")


def _place(identity: Identity, folder: Path, replace: bool) -> Path:
    """Put it into the folder. Raises UsageError when another one is there and shall stay, DiskError."""
    from swarm.identity import FILE

    path = folder / FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.exists():
            old = _load(path)
            if old.public_key == identity.public_key:
                return path
            _require_replace(old, path, replace)
            path.rename(path.with_name(f"identity-{old.member_id}.pem"))
        identity.save(path)
    except OSError as error:
        raise from_os_error(error, "keeping the identity") from error
    return path


def _require_replace(old: Identity, path: Path, replace: bool) -> None:
    if not replace:
        raise UsageError(
            f"{path} holds another identity, {old.member_id}; nothing was changed.",
            "With --replace the new one takes its place, and the old one is kept beside it.",
        )


def _load(path: Path) -> Identity:
    from swarm.identity import Identity

    if not path.exists():
        raise NotFoundError(f"There is no identity in {path.parent}.", "The first `swarm join` makes one.")
    return Identity.load_or_create(path.parent)
