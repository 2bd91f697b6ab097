"""The gate: everything that a release still lacks, each with what to do. Pure.

What must be there stands in the run spec's `[release]`, so that volunteers knew it before they took part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from swarm.bundle import licences
from swarm.bundle.manifest import Evaluation, Finding
from swarm.errors import UnreadyError
from swarm.releasing import Figure, Release, figure
from swarm.trials.names import SEVERITIES


@dataclass(frozen=True)
class Missing:
    """One thing that a release lacks. `signature`: that it is signatures, which a draft can gather."""

    what: str
    remedy: str
    signature: bool = False


@dataclass(frozen=True)
class Facts:
    """What there is. `base` is None for a model that began from nothing; `claimed` is one member's word, which nobody
    computed again; findings are None when nobody has looked for any, which is not the same as none.
    """

    model: str
    data: str
    base: str | None
    evaluations: Sequence[Evaluation]
    findings: Sequence[Finding] | None
    signers: frozenset[str]
    claimed: Sequence[Evaluation] = ()


def missing(rules: Release, facts: Facts) -> list[Missing]:
    """The whole list; empty when nothing is. Raises UsageError without the extra `release`."""
    return [
        *_evaluations(rules, facts),
        *_findings(rules, facts.findings),
        *_licences(rules, facts),
        *_signatures(rules, facts.signers),
    ]


def refusal(lacking: Iterable[Missing], remedy: str = "") -> UnreadyError:
    """The list as one error."""
    lines = [f"  - {item.what}\n    {item.remedy}" for item in lacking]
    count = "one thing is" if len(lines) == 1 else f"{len(lines)} things are"
    return UnreadyError(
        "\n".join([f"The release is refused: {count} missing.", *lines]),
        remedy or "Nothing was released; run the command again when it is there.",
    )


def _evaluations(rules: Release, facts: Facts) -> Iterator[Missing]:
    for wanted in map(figure, rules.evaluations):
        values = _values(wanted, facts.evaluations)
        if not values and (said := _values(wanted, facts.claimed)):
            yield Missing(
                f"{wanted.suite}:{wanted.metric} is {said[0]:g} by one member's word, which nobody computed again; "
                f"the spec wants {wanted}.",
                _EVALUATE,
            )
        elif not values:
            yield Missing(f"There is no evaluation {wanted.suite}:{wanted.metric}; the spec wants {wanted}.", _EVALUATE)
        elif bad := ", ".join(f"{value:g}" for value in values if not wanted.holds(value)):
            yield Missing(
                f"{wanted.suite}:{wanted.metric} is {bad}; the spec wants {wanted}.",
                "Train on, or release an earlier checkpoint that reaches it (swarm export --round).",
            )


def _values(wanted: Figure, found: Iterable[Evaluation]) -> list[float]:
    return [item.value for item in found if (item.suite, item.metric) == (wanted.suite, wanted.metric)]


def _findings(rules: Release, found: Sequence[Finding] | None) -> Iterator[Missing]:
    if rules.findings == "any":
        return
    if found is None:
        yield Missing(
            "There is no record of findings: nobody looked for what is wrong with the model.",
            "Let volunteers look: swarm redteam. A record without findings is one, too.",
        )
        return
    grave = SEVERITIES[SEVERITIES.index(rules.findings) :]
    for item in found:
        if item.state == "open" and item.severity in grave:
            yield Missing(
                f"The finding {item.id} ({item.severity}) is open: {item.title}",
                "Mitigate it (caps, training) or fix it, and say so in the record.",
            )


def _licences(rules: Release, facts: Facts) -> Iterator[Missing]:
    sources = {"data": (facts.data, "data.license")}
    if facts.base is not None:
        sources["base"] = (facts.base, "release.base_license")
    stated = {"model": (facts.model, "run.license")} | sources
    bad = {name: licences.wrong(text) for name, (text, _) in stated.items()}
    for name, (text, key) in stated.items():
        if bad[name]:
            what = f'The licence of the {name}, "{text}", cannot be judged: {bad[name]}.' if text else _unstated(name)
            yield Missing(what, f"Say it as {key} in the run spec, as an SPDX expression (https://spdx.org/licenses).")
    for name, (text, _) in sources.items():
        if bad["model"] or bad[name]:
            continue
        if why := licences.objection(text, facts.model, rules.cleared):
            yield Missing(f"The model may not be under {facts.model}, by the licence of its {name}: {why}.", _CLEAR)


def _unstated(name: str) -> str:
    return f"The licence of the {name} is not stated."


def _signatures(rules: Release, signers: frozenset[str]) -> Iterator[Missing]:
    if not rules.signers:
        yield Missing(
            "The run spec names nobody who may release.",
            "Make a key with `swarm signer new`, and write its fingerprint into release.signers.",
        )
        return
    there = [name for name in rules.signers if name in signers]
    if len(there) < rules.signatures:
        others = ", ".join(name for name in rules.signers if name not in signers)
        yield Missing(
            f"{len(there)} of {rules.signatures} signatures are there; who may still sign: {others}.",
            "Give their keys with --key, or let them sign a draft.",
            signature=True,
        )


_EVALUATE = (
    "Let two volunteers measure it (swarm evaluate --spread, then swarm release --invite), or measure it yourself "
    "(swarm evaluate) and write it into evaluations.jsonl."
)
_CLEAR = (
    "Give the model another licence, or take other data or another base. This is a small table and no legal advice: "
    "when you have examined it yourselves, name that licence in release.cleared."
)
