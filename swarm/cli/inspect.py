"""`swarm inspect`: what a bundle says of itself, and whether it is whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from swarm.cli.bundles import BundleFolder
from swarm.cli.options import AsJson
from swarm.errors import CorruptError, SwarmError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from swarm.bundle.manifest import Bundle
    from swarm.bundle.verify import Examined

Rows = Iterable[tuple[str, str]]


def inspect(bundle: BundleFolder, as_json: AsJson = False) -> None:
    """Show what a bundle says of itself, whether it is whole, and who signed it. Loads nothing as a model."""
    from swarm.bundle import manifest
    from swarm.bundle.folder import require_bundle
    from swarm.cli.output import echo_json

    require_bundle(bundle)
    said = manifest.read(bundle)
    look = _looked(bundle)
    if as_json:
        echo_json({"bundle": said.model_dump(mode="json"), **look.facts()})
    else:
        _show(said, look)
    if look.flaw:  # what it says of itself was shown all the same
        raise look.flaw


@dataclass(frozen=True)
class _Look:
    """`found`, or the `flaw` for which it is not whole; and why its signatures do not suffice here."""

    found: Examined | None
    flaw: SwarmError | None = None
    doubt: str = ""

    def facts(self) -> dict[str, Any]:
        found = self.found
        return {
            "digest": found.digest if found else "",
            "whole": found is not None,
            "trusted": found is not None and not self.doubt,
            "why": str(self.flaw or self.doubt),
            "signers": sorted(found.signers) if found else [],
        }


def _looked(folder: Path) -> _Look:
    """Raises CorruptError when it is not known whom the user trusts."""
    from swarm import paths
    from swarm.bundle import trust
    from swarm.bundle.verify import doubt, examined

    try:
        found = examined(folder)
    except (CorruptError, UsageError) as error:
        return _Look(None, error)
    return _Look(found, doubt=doubt(found, trust.trusted(paths.home(), found.bundle, ())))


def _show(said: Bundle, look: _Look) -> None:
    _print(f"{said.name} {said.version}", _head(said, look))
    _print("Where it comes from", _lineage(said))
    _print("Contributors who agreed to be named", _contributors(said))
    _print("Evaluations", _evaluations(said))
    _print("What red-teaming found", _findings(said))
    _print("Caps", _caps(said))
    _print("Files", _files(said))


def _head(said: Bundle, look: _Look) -> Iterator[tuple[str, str]]:
    found = look.found
    yield "Title", said.title or "none"
    yield "State", "whole" if found else f"NOT VERIFIED: {look.flaw}"
    yield "Digest", found.digest if found else "not known"
    yield "Signed by", ", ".join(sorted(found.signers)) or "nobody" if found else "not known"
    if found:
        yield "Trusted", f"NOT HERE: {look.doubt}" if look.doubt else "yes: those whom you trust for this run signed it"
    yield "Must sign", said.signing.whom()
    yield "Licence", said.license or "not stated"
    yield (
        "Made",
        f"{said.created}, with {', '.join(f'{name} {v}' for name, v in said.tools.items()) or 'tools unknown'}",
    )
    yield "Recalls", f"looked for at {said.recall}" if said.recall else "looked for nowhere"


def _lineage(said: Bundle) -> Iterator[tuple[str, str]]:
    from swarm.cli.output import count

    line = said.lineage
    yield "Run", f"{line.run}, fingerprint {line.fingerprint}"
    yield "Round", f"{count(line.round)}, with {count(line.samples)} samples"
    if line.base:
        yield "Base", f"{line.base.source} {line.base.revision} ({line.base.license or 'licence not stated'})"
        yield "Base's digest", line.base.sha256
    digests = {"State": line.state, "Run spec": line.spec, "Data": line.data, "Ledger root": line.ledger}
    yield from digests.items()


def _contributors(said: Bundle) -> Iterator[tuple[str, str]]:
    from swarm.cli.output import count

    for item in said.contributors:
        yield item.name, f"{count(item.samples)} samples in {count(item.rounds)} rounds"


def _evaluations(said: Bundle) -> Iterator[tuple[str, str]]:
    from swarm.cli.output import count

    for item in said.evaluations:
        answers = f", {item.answers} answers" if item.answers > 1 else ""
        yield f"{item.suite}:{item.metric}", f"{item.value:.4g} ({count(item.samples)} samples{answers})"


def _findings(said: Bundle) -> Iterator[tuple[str, str]]:
    for item in said.findings:
        yield f"{item.id} ({item.severity}, {item.state})", item.title


def _caps(said: Bundle) -> Iterator[tuple[str, str]]:
    from swarm.bundle.card import plugin

    caps = said.caps
    yield "System prompt", caps.system_prompt or "none"
    yield "Lengths", f"{caps.prompt_tokens} tokens of prompt, {caps.answer_tokens} of answer"
    yield "Rate", f"{caps.requests_per_minute} requests a minute"
    yield "Refused", ", ".join(f"{item.topic} ({item.where})" for item in caps.filters) or "nothing by topic"
    yield "Age", f"{caps.minimum_age} or more" if caps.minimum_age else "any"
    yield "Regions", caps.regions or "no notice"
    yield "Notice", caps.notice or "none"
    for item in caps.plugins:
        yield item.name, plugin(item)


def _files(said: Bundle) -> Iterator[tuple[str, str]]:
    from swarm.units import size

    for part in said.parts:
        yield part.path, f"{part.kind}, {size(part.size)}, {part.sha256[:16]}…"


def _print(title: str, rows: Rows) -> None:
    from rich.table import Table
    from rich.text import Text

    from swarm.cli.output import add_row, console

    rows = list(rows)
    longest = max((len(word) for _, value in rows for word in value.split()), default=0)
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(min_width=longest)  # digests and fingerprints stay in one piece, however narrow the terminal is
    for name, value in rows:
        add_row(table, name, value)
    if not table.row_count:
        table.add_row("none", "")
    console().print(Text(title, style="bold"), table, sep="\n", crop=False)
    typer.echo()
