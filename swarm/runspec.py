"""The run spec: one TOML file that says what a run is. See docs/run-spec.md."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from pydantic.fields import FieldInfo

from swarm import tomltext
from swarm.errors import SpecError
from swarm.releasing import Release
from swarm.sections import (
    BUILTIN_TEXT,
    Checkpoint,
    Data,
    Evaluation,
    Exchange,
    Local,
    Lora,
    Model,
    Run,
    Section,
    Tracking,
    Training,
    Trust,
)
from swarm.spec_errors import key_lines, spec_error, syntax_error

_LARGEST = 1 << 16  # letters: it may be a stranger's


class RunSpec(Section):
    """A whole run spec."""

    run: Run
    model: Model
    lora: Lora = Field(default_factory=Lora)
    data: Data
    training: Training
    local: Local = Field(default_factory=Local)
    exchange: Exchange = Field(default_factory=Exchange)
    trust: Trust = Field(default_factory=Trust)
    checkpoint: Checkpoint = Field(default_factory=Checkpoint)
    evaluation: Evaluation = Field(default_factory=Evaluation)
    tracking: Tracking = Field(default_factory=Tracking)
    release: Release = Field(default_factory=Release)

    def to_toml(self, explained: bool = False) -> str:
        """The spec as TOML with every key written out, so that later defaults do not change a run.

        `explained` adds to every key a comment that says what it means.
        """
        meanings = known_keys() if explained else {}
        sections = self.model_dump().items()
        return "\n".join(f"[{name}]\n{_assignments(values, meanings.get(name, {}))}" for name, values in sections)


def example() -> RunSpec:
    """A spec to begin with."""
    return RunSpec(
        run=Run(name="my-run", title="My run"),
        model=Model(source="preset:tiny-llama", tokenizer="bpe:1024"),
        data=Data(source=BUILTIN_TEXT),
        training=Training(rounds=200, target_batch_size=64),
    )


def load(path: Path) -> RunSpec:
    """The run spec in the file `path`. Raises SpecError that lists everything that is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SpecError(f"{path} is not UTF-8 text (byte {error.start}).", "Save it as UTF-8.") from error
    except OSError as error:
        remedy = "Check the path; `swarm run-spec init` writes an example."
        raise SpecError(f"The run spec {path} cannot be read: {error.strerror}.", remedy) from error
    return loads(text, str(path))


def loads(text: str, origin: str = "run spec") -> RunSpec:
    """The run spec in `text`; `origin` names it in errors. Raises SpecError as `load` does."""
    if len(text) > _LARGEST:
        raise SpecError(f"{origin} has {len(text)} letters; no run spec has more than {_LARGEST}.", "Shorten it.")
    try:
        raw: dict[str, Any] = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also for numbers of thousands of digits, and nesting without end
        raise syntax_error(error, origin) from error
    _renamed(raw)
    try:
        return RunSpec.model_validate(raw)
    except ValidationError as error:
        raise spec_error(error.errors(), key_lines(text), known_keys(), origin) from None


def _renamed(raw: dict[str, Any]) -> None:
    """Take a key by its earlier name: runs that were begun with it hold it. In gradient mode it meant nothing."""
    local, training = raw.get("local"), raw.get("training")
    if not isinstance(local, dict) or "min_contributors" not in local:
        return
    needed, exchange = local.pop("min_contributors"), raw.setdefault("exchange", {})
    if isinstance(training, dict) and training.get("mode") == "local" and isinstance(exchange, dict):
        exchange.setdefault("min_contributors", needed)


def known_keys() -> dict[str, dict[str, str]]:
    """Every section with its keys and what they mean, in the order of the documentation."""
    return {name: _meanings(field.annotation) for name, field in RunSpec.model_fields.items()}


def _meanings(section: Any) -> dict[str, str]:
    fields: dict[str, FieldInfo] = section.model_fields
    return {key: field.description or "" for key, field in fields.items()}


def differences(old: RunSpec, new: RunSpec) -> dict[str, tuple[Any, Any]]:
    """The keys whose values differ, as `section.key`, with the old and the new value."""
    before, after = old.model_dump(), new.model_dump()
    return {
        f"{section}.{key}": (value, after[section][key])
        for section, values in before.items()
        for key, value in values.items()
        if value != after[section][key]
    }


def _assignments(values: dict[str, Any], meanings: dict[str, str]) -> str:
    lines = {key: f"{key} = {tomltext.value(value)}" for key, value in values.items()}
    explained = {key: f"{line:<38}# {meanings[key]}" if key in meanings else line for key, line in lines.items()}
    return "".join(f"{line}\n" for line in explained.values())
