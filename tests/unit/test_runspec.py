"""The run spec: what is accepted, what is refused and how, and the road back to TOML."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from swarm.errors import SpecError
from swarm.runspec import RunSpec, differences, example, load, loads
from swarm.spec_errors import key_lines

ROOT = Path(__file__).parents[2]
REVISION = "0123456789abcdef0123456789abcdef01234567"


def spec_text(**changes: dict[str, Any]) -> str:
    """A valid spec as TOML, with sections' keys replaced, added, or (None) left out."""
    sections: dict[str, dict[str, Any]] = {
        "run": {"name": "a-run"},
        "model": {"source": "preset:tiny-llama", "tokenizer": "bpe:1024"},
        "data": {"source": "builtin:pydoc-topics"},
        "training": {"rounds": 10, "target_batch_size": 64},
    }
    for name, values in changes.items():
        sections[name] = {**sections.get(name, {}), **values}
    return "\n".join(
        "\n".join(
            [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items() if value is not None)]
        )
        for name, values in sections.items()
    )


def test_the_smallest_spec_has_the_documented_defaults() -> None:
    spec = loads(spec_text())
    assert (spec.run.seed, spec.data.field, spec.data.split, spec.data.sequence_length) == (0, "text", "train", 128)
    assert (spec.data.heldout_fraction, spec.training.mode, spec.training.micro_batch_size) == (0.05, "gradient", 8)
    assert (spec.training.learning_rate, spec.training.schedule, spec.training.clip_norm) == (3e-3, "cosine", 1.0)
    assert (spec.training.beta1, spec.training.beta2, spec.training.eps) == (0.9, 0.95, 1e-8)
    assert (spec.exchange.compression, spec.exchange.grace_seconds, spec.exchange.timeout_seconds) == ("none", 5, 60)
    assert (spec.checkpoint.every_rounds, spec.checkpoint.keep) == (20, 3)


def test_runs_that_were_begun_with_a_key_by_its_earlier_name_go_on() -> None:
    earlier = {"local": {"min_contributors": 3}}
    assert loads(spec_text(**earlier)).exchange.min_contributors == 1, "it meant nothing in gradient mode"
    local = {**earlier, "training": {"mode": "local"}}
    assert loads(spec_text(**local)).exchange.min_contributors == 3
    assert loads(spec_text(**local, exchange={"min_contributors": 2})).exchange.min_contributors == 2


@pytest.mark.parametrize("path", [*(ROOT / "runs").glob("*.toml"), *(ROOT / "runs").glob("*/run.toml")], ids=str)
def test_example_runs_are_valid(path: Path) -> None:
    """Each is named by its file, or by its folder where there is more than a file."""
    assert load(path).run.name == (path.parent.name if path.stem == "run" else path.stem)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {"source": "./folder", "tokenizer": "model"}},
        {"model": {"source": "../folder", "tokenizer": "bytes"}},
        {"model": {"source": "org/name-1.5B", "revision": REVISION, "tokenizer": "model"}},
        {"model": {"tokenizer": "bytes"}},
        {"data": {"source": "texts/*.txt"}},
        {"data": {"source": "hf:org/name"}},
        {"data": {"source": "pairs.jsonl", "template": "{en}\n{de}"}},
        {"data": {"source": "pairs.parquet", "field": "de"}},
        {"training": {"warmup_samples": 639, "learning_rate": 1, "clip_norm": 0}},
        {"exchange": {"compression": "8bit"}},
    ],
)
def test_accepted(changes: dict[str, dict[str, Any]]) -> None:
    assert isinstance(loads(spec_text(**changes)), RunSpec)


@pytest.mark.parametrize(
    ("changes", "key", "expected"),
    [
        ({"run": {"name": "My Run"}}, "run.name", "a-z, 0-9 and -"),
        ({"run": {"name": None, "title": "x"}}, "run.name", "missing"),
        ({"run": {"seed": -1}}, "run.seed", "0 or more"),
        ({"model": {"source": "preset:Tiny"}}, "model.source", "preset:tiny-llama"),
        ({"model": {"source": "gpt2"}}, "model.source", "org/name"),
        ({"model": {"source": "org/name", "tokenizer": "model"}}, "model.revision", "40 hex"),
        ({"model": {"source": "org/name", "revision": "main"}}, "model.revision", "40 hex"),
        ({"model": {"revision": REVISION}}, "model.revision", "only a hub model"),
        ({"model": {"tokenizer": "model"}}, "model.tokenizer", "preset"),
        ({"model": {"tokenizer": "bpe:256"}}, "model.tokenizer", "more than 256"),
        ({"model": {"tokenizer": None}}, "model.tokenizer", "missing"),
        ({"data": {"source": "x.csv"}}, "data.source", ".jsonl"),
        ({"data": {"source": "builtin:wiki"}}, "data.source", "builtin:pydoc-topics"),
        ({"data": {"source": "hf:name"}}, "data.source", "hf:org/name"),
        ({"data": {"field": "de", "template": "{en}"}}, "data.template", "exclude each other"),
        ({"data": {"template": "no field"}}, "data.template", "names in braces"),
        ({"data": {"template": "{en.__class__}"}}, "data.template", "names in braces"),
        ({"data": {"template": "{}"}}, "data.template", "names in braces"),
        ({"data": {"template": "{en"}}, "data.template", "names in braces"),
        ({"data": {"heldout_fraction": 0}}, "data.heldout_fraction", "more than 0"),
        ({"data": {"sequence_length": "128"}}, "data.sequence_length", "whole number"),
        ({"training": {"mode": "async"}}, "training.mode", "'gradient'"),
        ({"training": {"rounds": 0}}, "training.rounds", "1 or more"),
        ({"training": {"rounds": True}}, "training.rounds", "whole number"),
        ({"training": {"rounds": 1.5}}, "training.rounds", "whole number"),
        ({"training": {"micro_batch_size": 65}}, "training.micro_batch_size", "(64) or less"),
        ({"training": {"warmup_samples": 640}}, "training.warmup_samples", "less than the run's samples (640)"),
        ({"training": {"schedule": "cos"}}, "training.schedule", "'cosine'"),
        ({"training": {"beta1": 1.0}}, "training.beta1", "less than 1"),
        ({"training": {"learning_rate": 0}}, "training.learning_rate", "more than 0"),
        ({"training": {"round": 3}}, "training.round", "did you mean rounds?"),
        ({"training": {"zzz": 3}}, "training.zzz", "known are mode, rounds"),
        ({"exchange": {"compression": "fp8"}}, "exchange.compression", "'fp16'"),
        ({"exchange": {"timeout_seconds": 5.0}}, "exchange.timeout_seconds", "exchange.grace_seconds"),
        ({"checkpoint": {"keep": 0}}, "checkpoint.keep", "1 or more"),
        ({"chekpoint": {"keep": 1}}, "[chekpoint]", "did you mean checkpoint?"),
    ],
)
def test_refused_with_key_line_and_remedy(changes: dict[str, dict[str, Any]], key: str, expected: str) -> None:
    text = spec_text(**changes)
    with pytest.raises(SpecError) as caught:
        loads(text, "my.toml")
    [line] = [line for line in caught.value.what.splitlines() if key in line]
    assert expected in line
    assert line.startswith("  line ")
    assert caught.value.what.startswith("my.toml has one error:")
    named = text.splitlines()[int(line.split()[1].rstrip(":")) - 1]
    assert named.startswith((key.rsplit(".", maxsplit=1)[-1], "["))  # a missing key is placed at its section


def test_all_errors_come_at_once_in_the_order_of_lines() -> None:
    text = spec_text(
        run={"name": "X"}, training={"rounds": -1, "target_batch_size": "a", "schedule": "?"}, data={"x": 1}
    )
    with pytest.raises(SpecError) as caught:
        loads(text)
    lines = [int(line.split()[1].rstrip(":")) for line in caught.value.what.splitlines()[1:]]
    assert len(lines) == 5
    assert lines == sorted(lines)


def test_a_missing_section_is_named() -> None:
    with pytest.raises(SpecError, match=r"\[model\] is missing"):
        loads('[run]\nname = "x"\n')


@pytest.mark.parametrize("text", ["[run", "a = ", 'x = "open', "[run]\nname = x", "[a]\n[a]"])
def test_what_is_no_toml_is_said_with_its_line(text: str) -> None:
    with pytest.raises(SpecError, match=r"run spec is not valid TOML: .*line \d|end of document"):
        loads(text)


def test_a_missing_file_and_a_wrong_encoding_are_spec_errors(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read"):
        load(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes('[run]\ntitle = "Bärchen"'.encode("latin-1"))
    with pytest.raises(SpecError, match="not UTF-8"):
        load(tmp_path / "latin.toml")


def test_lines_are_right_whatever_the_layout() -> None:
    text = (
        '# [training]\n[run]\nname = "x"\ndescription = """\n[data]\nrounds = 3\n"""\n\n'
        '[ training ]\nbeta1 = 0.9\n"rounds" = 1\ndata.x = [\n  1,\n  2,\n]\nmodel = { source = "a", b = 1 }\r\nz = 1'
    )
    assert key_lines(text) == {
        ("run",): 2,
        ("run", "name"): 3,
        ("run", "description"): 4,
        ("training",): 9,
        ("training", "beta1"): 10,
        ("training", "rounds"): 11,
        ("training", "data"): 12,
        ("training", "data", "x"): 12,
        ("training", "model"): 16,
        ("training", "model", "source"): 16,
        ("training", "model", "b"): 16,
        ("training", "z"): 17,
    }


@given(
    title=st.text(st.characters(exclude_categories=["Cs"])), rate=st.floats(1e-300, 1e300), rounds=st.integers(1, 2**62)
)
def test_toml_and_back_is_the_same_spec(title: str, rate: float, rounds: int) -> None:
    training = {"rounds": rounds, "target_batch_size": 64, "learning_rate": rate}
    spec = RunSpec.model_validate(
        {**example().model_dump(), "run": {"name": "x", "title": title}, "training": training}
    )
    assert loads(spec.to_toml()) == spec
    assert loads(spec.to_toml(explained=True)) == spec


def test_a_spec_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValidationError):
        example().run.name = "other"  # type: ignore[misc]


def test_differences_name_the_keys() -> None:
    old = example()
    new = loads(old.to_toml().replace("rounds = 200", "rounds = 300").replace('"My run"', '"Ours"'))
    assert differences(old, new) == {"run.title": ("My run", "Ours"), "training.rounds": (200, 300)}
    assert differences(old, old) == {}


def test_every_key_is_described_and_in_the_schema() -> None:
    schema = RunSpec.model_json_schema()["$defs"]
    assert all(item["description"] for section in schema.values() for item in section["properties"].values())
