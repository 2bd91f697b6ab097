"""`swarm serve`: a bundle's model behind OpenAI's API, and a page to chat."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated

import typer

from swarm.cli.bundles import (
    Accept,
    Allow,
    BundleFolder,
    NoPlugins,
    Signers,
    Unsandboxed,
    require_terms,
)
from swarm.cli.options import BaseFolder, Device
from swarm.errors import UsageError, from_os_error


def serve(
    bundle: BundleFolder,
    host: Annotated[str, typer.Option(help="The address to listen on; 0.0.0.0 is all of them.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    name: Annotated[
        list[str] | None,
        typer.Option("--name", help="A name by which it is reached, if not by its address. May be repeated."),
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option("--key-file", help="A file with the API key that requests must show.", show_default=False),
    ] = None,
    signer: Signers = None,
    base: BaseFolder = None,
    device: Device = "auto",
    allow: Allow = None,
    no_plugins: NoPlugins = False,
    unsandboxed_plugins: Unsandboxed = False,
    accept: Accept = False,
) -> None:
    """Answer over HTTP until Ctrl-C: OpenAI's clients work unchanged, and there is a page for people."""
    from peer.serving.app import Api
    from peer.serving.opening import Wishes, ready
    from peer.serving.server import bound
    from peer.serving.server import serve as run
    from swarm import log, paths

    key = _key(key_file)
    with bound(host, port) as listening:
        opened = ready(bundle, Wishes(base, device, allow or (), not no_plugins, unsandboxed_plugins, signer or ()))
        require_terms(opened.bundle.name, opened.answering.policy, accept)
        app = Api(opened, bool(key)).app(name or (), key)
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listening.getsockname()[1]}"
        log.setup(paths.home() / "serve.log")
        run(app, listening, lambda: _say(address, host, bool(key), opened.answering.engine.name))
        opened.answering.plugins.stop()


def _say(address: str, host: str, has_key: bool, engine: str) -> None:
    typer.echo(f"{address} is the page; OpenAI's API is at {address}/v1 ({engine}). Ctrl-C ends it.")
    if not has_key and not _loopback(host):
        typer.echo("Whoever reaches this address may use the model; --key-file demands a key.", err=True)


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _key(path: Path | None) -> str:
    """Raises UsageError for an empty one, DiskError."""
    if path is None:
        return ""
    try:
        key = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise from_os_error(error, "reading the API key") from error
    if not key:
        raise UsageError(f"{path} is empty.", "Write the key into it, for example: openssl rand -hex 32")
    return key
