"""The gate tells everything that is missing, each with what to do; and what it says of licences."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.bundle.gate import Facts, missing, refusal
from swarm.bundle.licences import objection, wrong
from swarm.bundle.manifest import Evaluation, Finding
from swarm.errors import SpecError, UsageError
from swarm.releasing import Release, figure
from swarm.runspec import example, loads
from swarm.trials.names import SEVERITIES, STATES

ANNA, BEN, STRANGER = ("a" * 32, "b" * 32, "f" * 32)
RULES = Release(evaluations=["arc:acc >= 0.4"], signers=[ANNA, BEN], signatures=2)
ENOUGH = Facts(
    model="Apache-2.0",
    data="CC-BY-4.0",
    base="MIT",
    evaluations=[Evaluation(suite="arc", metric="acc", value=0.5, samples=10)],
    findings=[],
    signers=frozenset({ANNA, BEN}),
)


def finding(severity: Any = "high", state: Any = "open") -> Finding:
    return Finding(id="F1", title="tells secrets", severity=severity, state=state)


def said(rules: Release = RULES, **facts: Any) -> str:
    """What is missing, as one text."""
    return "\n".join(item.what for item in missing(rules, replace(ENOUGH, **facts)))


def test_when_everything_is_there_nothing_is_missing() -> None:
    assert missing(RULES, ENOUGH) == []


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"evaluations": []}, "no evaluation arc:acc"),
        ({"evaluations": [Evaluation(suite="arc", metric="acc", value=0.3, samples=1)]}, "arc:acc is 0.3"),
        (
            {"evaluations": [], "claimed": [Evaluation(suite="arc", metric="acc", value=0.9, samples=10)]},
            "arc:acc is 0.9 by one member's word",
        ),
        ({"findings": None}, "no record of findings"),
        ({"findings": [finding()]}, "F1 (high) is open: tells secrets"),
        ({"findings": [finding("critical")]}, "F1 (critical)"),
        ({"model": ""}, "licence of the model is not stated"),
        ({"data": ""}, "licence of the data is not stated"),
        ({"base": ""}, "licence of the base is not stated"),
        ({"data": "Do what you like"}, "licence of the data, "),
        ({"base": "Llama-3"}, "SPDX knows no licence Llama-3"),
        ({"data": "CC-BY-NC-4.0"}, "by the licence of its data: CC-BY-NC-4.0 allows no commercial use"),
        ({"base": "CC-BY-SA-4.0"}, "by the licence of its base: CC-BY-SA-4.0 wants"),
        ({"signers": frozenset({ANNA})}, f"1 of 2 signatures are there; who may still sign: {BEN}"),
        ({"signers": frozenset({ANNA, STRANGER})}, "1 of 2 signatures"),
    ],
)
def test_what_is_missing_is_named(facts: dict[str, Any], words: str) -> None:
    assert words in said(**facts)


def test_a_spec_that_names_nobody_can_release_nothing() -> None:
    assert "names nobody who may release" in said(Release(), signers=frozenset({ANNA}))


def test_every_one_of_several_evaluations_must_reach_it() -> None:
    values = [Evaluation(suite="arc", metric="acc", value=value, samples=1) for value in (0.9, 0.1)]
    assert "arc:acc is 0.1" in said(evaluations=values)


@settings(deadline=None)  # the first one loads the list of licences
@given(st.sampled_from(SEVERITIES), st.sampled_from([*SEVERITIES, "any"]), st.sampled_from(STATES))
def test_findings_count_from_the_limit_on_while_they_are_open(severity: str, limit: Any, state: str) -> None:
    rules = RULES.model_copy(update={"findings": limit})
    counts = state == "open" and limit != "any" and SEVERITIES.index(severity) >= SEVERITIES.index(limit)
    assert bool(said(rules, findings=[finding(severity, state)])) == counts


def test_a_model_without_a_base_needs_no_licence_of_one() -> None:
    assert not said(base=None)


def test_the_list_is_complete_and_each_has_a_remedy() -> None:
    facts = Facts("", "", "", [], None, frozenset())
    found = missing(RULES, facts)
    assert len(found) == 6
    assert all(item.remedy for item in found)
    error = refusal(found)
    assert "6 things are missing" in error.what
    assert all(item.what in error.what and item.remedy in error.what for item in found)
    assert [item.signature for item in found] == [False] * 5 + [True]


# ── licences ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("source", "model", "words"),
    [
        ("MIT", "Apache-2.0", ""),
        ("MIT", "CC-BY-NC-4.0", ""),
        ("CC-BY-SA-4.0", "CC-BY-SA-4.0", ""),
        ("CC-BY-SA-4.0", "MIT", "same licence"),
        ("CC-BY-SA-4.0", "GPL-3.0-only", ""),
        ("GPL-3.0-only", "CC-BY-SA-4.0", "same licence"),
        ("CC-BY-SA-4.0 OR MIT", "MIT", ""),
        ("CC-BY-SA-4.0 AND MIT", "MIT", "CC-BY-SA-4.0"),
        ("GPL-3.0-only", "MIT OR GPL-3.0-only", "MIT is another"),
        ("GPL-3.0-only", "MIT AND GPL-3.0-only", ""),
        ("CC-BY-NC-4.0", "Apache-2.0", "no commercial use"),
        ("CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", ""),
        ("CC-BY-NC-4.0", "CC-BY-NC-ND-4.0", "no commercial use"),
        ("CC-BY-NC-SA-4.0", "CC-BY-NC-4.0", "same licence"),
        ("CC-BY-ND-4.0", "CC-BY-ND-4.0", "no derived works"),
        ("CC-BY-NC-ND-4.0", "CC-BY-NC-ND-4.0", "no derived works"),
        ("GPL-2.0-only WITH Classpath-exception-2.0", "GPL-2.0-only", ""),
        ("LicenseRef-llama", "MIT", "not in the table"),
        ("MIT AND (CC-BY-4.0 OR CC-BY-ND-4.0)", "MIT", ""),
    ],
)
def test_licences_fit_or_do_not(source: str, model: str, words: str) -> None:
    found = objection(source, model)
    assert words in found if words else not found


def test_what_the_maintainers_examined_is_taken_for_compatible() -> None:
    assert not objection("LicenseRef-llama AND MIT", "MIT", ["LicenseRef-llama"])


@pytest.mark.parametrize("text", ["MIT", "mit", "MIT OR Apache-2.0", "LicenseRef-x", "Apache-2.0 WITH LLVM-exception"])
def test_sound_expressions(text: str) -> None:
    assert not wrong(text)


@pytest.mark.parametrize("text", ["", "MIT AND", "(MIT", "MIT Apache-2.0", "Foo-1.0", "MIT WITH Foo", "MIT/BSD", "🦙"])
def test_unsound_expressions(text: str) -> None:
    assert wrong(text)


@settings(deadline=None)
@given(st.text(max_size=30))
def test_no_text_is_too_odd_for_an_answer(text: str) -> None:
    if not wrong(text):
        objection(text, "MIT")
        objection("MIT", text)


def test_without_the_library_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swarm.extras.find_spec", lambda name: None)
    with pytest.raises(UsageError) as error:
        missing(RULES, ENOUGH)
    assert "pip install 'garage-swarm[release]'" in error.value.remedy


# ── the run spec ─────────────────────────────────────────────────────────────────────────────────


def test_a_figure_says_suite_metric_and_value() -> None:
    low = figure("heldout:loss <= 2.5")
    assert (low.suite, low.metric, low.holds(2.5), low.holds(2.6)) == ("heldout", "loss", True, False)
    assert figure("mmlu/law:acc,none>=-1e-3").value == -0.001


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("evaluations", '["arc >= 0.4"]'),
        ("evaluations", '["arc:acc > 0.4"]'),
        ("findings", '"bad"'),
        ("signers", '["abc"]'),
        ("signers", f'["{ANNA}", "{ANNA}"]'),
        ("signatures", "0"),
        ("recall", '"ftp://x"'),
    ],
)
def test_a_spec_with_a_wrong_gate_is_refused_with_its_line(key: str, value: str) -> None:
    lines = example().to_toml().split("[release]\n")
    changed = "\n".join(f"{key} = {value}" if line.startswith(f"{key} =") else line for line in lines[1].split("\n"))
    with pytest.raises(SpecError, match=rf"line \d+: release\.{key}"):
        loads(f"{lines[0]}[release]\n{changed}")


def test_no_more_signatures_than_signers() -> None:
    with pytest.raises(ValueError, match="as many as there are"):
        Release(signers=[ANNA], signatures=2)
