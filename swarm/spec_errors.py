"""What is wrong with a run spec, in sentences that name the key, the line, what was found, what is right."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic_core import ErrorDetails

from swarm.errors import SpecError

KeyPath = tuple[str | int, ...]
Known = Mapping[str, Mapping[str, str]]  # section -> key -> what it means

_TYPES = {
    "string_type": "a text in quotes",
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "model_type": "a section",
    "dict_type": "a section",
    "list_type": "a list in brackets",
}
_BOUNDS = {
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
    "too_long": "{max_length} of them or fewer",
}


_LONGEST = 50  # lines of a statement


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line of every section and key of a valid TOML text.

    Each statement is read by tomllib alone: lines are added until they parse. So strings and arrays over
    several lines, dotted keys and inline tables need no grammar here. Behind a statement of very many lines, which
    would be read as often, nothing is found.
    """
    lines: dict[KeyPath, int] = {}
    table: KeyPath = ()
    statement, start = "", 1
    for number, line in enumerate(text.split("\n"), start=1):
        statement += line + "\n"
        try:
            found = list(_paths(tomllib.loads(statement)))
        except tomllib.TOMLDecodeError:
            if number - start < _LONGEST:
                continue
            return lines
        if statement.lstrip().startswith("["):
            table, found = found[-1], [()]
        lines |= {table + path: start for path in found}
        statement, start = "", number + 1
    return lines


def _paths(value: Mapping[str, Any], prefix: KeyPath = ()) -> Iterator[KeyPath]:
    for key, item in value.items():
        yield (*prefix, key)
        if isinstance(item, dict):
            yield from _paths(item, (*prefix, key))


def syntax_error(error: Exception, origin: str) -> SpecError:
    """A text that is no TOML; tomllib's message names line and column."""
    return SpecError(
        f"{origin} is not valid TOML: {error}.",
        "Look at that line: texts need quotes, every quote and bracket its end, every key a value.",
    )


def spec_error(errors: Iterable[ErrorDetails], lines: Mapping[KeyPath, int], known: Known, origin: str) -> SpecError:
    """One error that lists all `errors`, in the order of their lines; `known` says what keys there are."""
    located = sorted((_line(error["loc"], lines), _sentence(error, known)) for error in errors)
    listed = [f"  {f'line {line}: ' if line else ''}{sentence}" for line, sentence in located]
    count = "one error" if len(listed) == 1 else f"{len(listed)} errors"
    return SpecError(
        "\n".join([f"{origin} has {count}:", *listed]),
        "Correct the file and run `swarm run-spec check` on it; docs/run-spec.md explains every key.",
    )


def _line(path: KeyPath, lines: Mapping[KeyPath, int]) -> int:
    """The key's line; a missing key's section's; 0 when that is missing as well."""
    return lines.get(path) or lines.get(path[:-1], 0)


def _sentence(error: ErrorDetails, known: Known) -> str:
    path = error["loc"]
    name = ".".join(map(str, path)) if len(path) > 1 else f"[{path[0]}]"
    kind = error["type"]
    if kind == "extra_forbidden":
        return _unknown(path, name, known)
    if kind == "missing":
        return _missing(path, name, known)
    return f"{name} is {_shown(error['input'])}; {_hint(error)}."


def _missing(path: KeyPath, name: str, known: Known) -> str:
    meaning = known[str(path[0])][str(path[1])] if len(path) > 1 else "it must be given"
    return f"{name} is missing: {meaning}."


def _unknown(path: KeyPath, name: str, known: Known) -> str:
    names = list(known if len(path) == 1 else known[str(path[0])])
    close = get_close_matches(str(path[-1]), names, n=1)
    advice = f"did you mean {close[0]}?" if close else f"known are {', '.join(names)}."
    return f"{name} is unknown; {advice}"


def _hint(error: ErrorDetails) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return f"right would be {context['expected']}"
    if kind in _BOUNDS:
        return f"right would be {_BOUNDS[kind].format(**context)}"
    return f"right would be {_TYPES.get(kind, error['msg'])}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
