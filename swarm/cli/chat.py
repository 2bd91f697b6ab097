"""`swarm chat`: talk with a bundle's model in the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from functools import partial
from io import TextIOWrapper
from typing import TYPE_CHECKING, Annotated

import typer

from swarm.cli.bundles import (
    Accept,
    Allow,
    BundleFolder,
    NoPlugins,
    Signers,
    Unsandboxed,
    clean,
    require_terms,
)
from swarm.cli.options import BaseFolder, Device
from swarm.errors import NotFoundError, OverloadError, SwarmError
from swarm.ration import Ration

if TYPE_CHECKING:
    from peer.serving.answering import Answering, Event
    from peer.serving.engine import Sampling
    from swarm.bundle.policy import Message

_HELP = "/reset begins anew, /personality NAME changes it (alone: lists them), Ctrl-C stops an answer, Ctrl-D leaves."


def chat(
    bundle: BundleFolder,
    personality: Annotated[str, typer.Option("--personality", help="An adapter of the bundle to begin with.")] = "",
    temperature: Annotated[float, typer.Option(min=0, max=2, help="0 takes the likeliest token.")] = 0.7,
    seed: Annotated[int | None, typer.Option(help="The same one gives the same answers.", show_default=False)] = None,
    signer: Signers = None,
    base: BaseFolder = None,
    device: Device = "auto",
    allow: Allow = None,
    no_plugins: NoPlugins = False,
    unsandboxed_plugins: Unsandboxed = False,
    accept: Accept = False,
) -> None:
    """Talk with a model; with a pipe each line is a question, and stdout holds the answers."""
    from peer.serving.engine import Sampling
    from peer.serving.opening import Wishes, ready

    opened = ready(bundle, Wishes(base, device, allow or (), not no_plugins, unsandboxed_plugins, signer or ()))
    require_terms(opened.bundle.name, opened.answering.policy, accept)
    talk = Chat(opened.answering, Sampling(0, temperature, seed=seed))
    if personality:
        talk.command(f"/personality {personality}")
    typer.echo(f"{clean(opened.bundle.title) or opened.bundle.name}, {opened.answering.engine.name}. {_HELP}", err=True)
    for line in _lines():
        talk.take(line)


class Chat:
    """One conversation."""

    def __init__(self, answering: Answering, sampling: Sampling) -> None:
        self._answering = answering
        self._sampling = sampling
        self._messages: list[Message] = []
        self._personality = ""
        self._ration = Ration(answering.policy.caps.requests_per_minute, 60.0, time.monotonic)

    def take(self, line: str) -> None:
        """A question or a command; what goes wrong with one of them is said, and the conversation goes on."""
        try:
            if line.startswith("/"):
                self.command(line)
            elif line.strip():
                self._ask(line)
        except SwarmError as error:
            typer.echo(f"swarm: {error}", err=True)

    def command(self, line: str) -> None:
        """Raises NotFoundError for an unknown one."""
        word, _, name = line.strip().partition(" ")
        if word == "/reset":
            self._messages = []
        elif word == "/personality" and not name:
            typer.echo(
                f"There are: {', '.join(self._answering.personalities) or 'none'}; - is the model itself.", err=True
            )
        elif word == "/personality" and name in ("-", *self._answering.personalities):
            self._personality = "" if name == "-" else name
        else:
            raise NotFoundError(f"There is no {clean(line)}.", _HELP)

    def _ask(self, line: str) -> None:
        from peer.serving.answering import Ask
        from swarm.bundle.policy import Message

        if not self._ration.permits(""):
            raise OverloadError("This model answers only so many questions in a minute.", "Wait a little.")
        asked = [*self._messages, Message("user", line)]
        said = _show(partial(self._answering.answer, Ask(tuple(asked), self._sampling, self._personality)))
        self._messages = [*asked, Message("assistant", said)] if said else self._messages


def _show(answer: Callable[[], Generator[Event, None, None]]) -> str:
    """Print the answer as it comes. Ctrl-C ends it; what was said until then is part of the conversation."""
    from peer.serving.answering import Call

    said: list[str] = []
    with suppress(KeyboardInterrupt), closing(answer()) as events:
        for event in events:
            if isinstance(event, str):
                said.append(event)
                typer.echo(clean(event), nl=False)
            elif isinstance(event, Call):
                typer.echo(f"[{event.name or 'no such tool'}{'' if event.ok else ' failed'}]", err=True)
    typer.echo()
    return "".join(said)


def _lines() -> Iterator[str]:
    """What the user writes, line by line, until its end. Ctrl-C at the prompt empties the line."""
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # a pipe may bring anything
    if not sys.stdin.isatty():
        yield from (line.rstrip("\r\n") for line in sys.stdin)
        return
    with suppress(ImportError):
        import readline  # noqa: F401  # arrow keys and earlier lines
    while True:
        try:
            yield input("> ")
        except EOFError:
            typer.echo(err=True)
            return
        except KeyboardInterrupt:
            typer.echo("\nCtrl-D leaves.", err=True)
