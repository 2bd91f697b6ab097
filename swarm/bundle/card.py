"""What a bundle adds to its model card: how to verify it, what it may do, what was found. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from swarm.bundle.caps import Caps, Plugin
from swarm.bundle.manifest import Evaluation, Finding, Lineage, Signing
from swarm.markdown import escaped, in_line


def added(
    lineage: Lineage,
    signing: Signing,
    evaluations: Iterable[Evaluation],
    findings: Iterable[Finding],
    caps: Caps,
) -> str:
    """Sections in Markdown, to stand behind the card of an exported model."""
    sections = {
        "Verify": _verify(lineage, signing),
        "Evaluations of the release": [_evaluation(item) for item in evaluations],
        "What red-teaming found": [_finding(item) for item in findings],
        "Caps": [_CAPS, *_caps(caps)],
    }
    return "".join(f"\n## {title}\n\n{_list(lines)}" for title, lines in sections.items())


def _list(lines: Iterable[str]) -> str:
    return "".join(f"- {line}\n" for line in list(lines) or ["None."])


_CAPS = (
    "Enforced when this bundle is run with `swarm chat` or `swarm serve`; for every other program they are advice, "
    "and nothing holds it to them."
)


def _verify(lineage: Lineage, signing: Signing) -> list[str]:
    return [
        "`swarm verify FOLDER`; or, without garage-swarm, for each signature, with a public key that its owner "
        "gave you: `model_signing verify key --signature signatures/KEYID.sig --public_key KEYID.pub .`",
        f"Run `{lineage.run}`, fingerprint `{lineage.fingerprint}`, round {lineage.round}",
        f"Ledger root `{lineage.ledger}`: `swarm ledger root INVITE --round {lineage.round}` computes it anew",
        f"Signed by {signing.needed} or more of: {', '.join(signing.signers) or 'nobody named'}",
    ]


def _evaluation(item: Evaluation) -> str:
    answers = f", {item.answers} independent answers" if item.answers > 1 else ""
    return f"**{in_line(item.suite)}**: {in_line(item.metric)} {item.value:.4g} ({item.samples:,} samples{answers})"


def _finding(item: Finding) -> str:
    return f"**{in_line(item.id)}** ({item.severity}, {item.state}): {in_line(item.title)}"


def _caps(caps: Caps) -> Iterable[str]:
    """Everything that differs from nothing."""
    notices = {"Notice": caps.notice, "Regions": caps.regions, "System prompt": caps.system_prompt}
    yield from (f"{name}: {escaped(' '.join(text.split()))}" for name, text in notices.items() if text)
    if caps.minimum_age:
        yield f"For users of {caps.minimum_age} years or more"
    lengths = f"{caps.prompt_tokens:,} tokens of prompt, {caps.answer_tokens:,} of answer"
    yield f"At most {lengths}, {caps.requests_per_minute} requests a minute"
    yield from (f"Refused: {escaped(item.topic)} ({item.where})" for item in caps.filters)
    yield from map(plugin, caps.plugins)


def plugin(item: Plugin) -> str:
    """Its name and its rights in one line."""
    rights = ["may open connections" if item.network else "no network"]
    rights += [f"may read {', '.join(map(escaped, item.read))}"] if item.read else []
    rights += [f"may write {', '.join(map(escaped, item.write))}"] if item.write else []
    limits = f"{item.seconds:g} s, {item.memory_mb} MB"
    return f"Plugin {escaped(item.name)}: {'; '.join(rights)}; {limits}. {escaped(' '.join(item.description.split()))}"
