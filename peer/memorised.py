"""Whether a model says its training text word for word: passages are begun, and it goes on.

As Carlini et al., "Quantifying Memorization Across Neural Language Models" (2022, arXiv 2202.07646): greedily, from a
prefix of the text itself; a passage is memorised when what follows is the same tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from swarm.errors import DataError, from_os_error

PASSAGES = 16
_GIVEN, _ASKED = 32, 32  # tokens of each
_ENOUGH = 24  # of the asked ones, from the first on: what any text may share by chance is shorter
_LARGEST = 4 << 20  # bytes of the file that are looked at


def memorised(model: nn.Module, tokenizer: Any, file: Path) -> Iterator[tuple[int, bool, str]]:
    """(number, whether it went on word for word, what it wrote) of each passage. Raises DataError, DiskError."""
    ids = torch.as_tensor(tokenizer(learned(file))["input_ids"])
    whole = _GIVEN + _ASKED
    if len(ids) < whole * PASSAGES:
        raise DataError(
            f"{file} is too short: {PASSAGES} passages of {whole} tokens are taken from it.", "Name a longer text."
        )
    for number in range(PASSAGES):
        start = number * (len(ids) - whole) // (PASSAGES - 1)
        passage = ids[start : start + whole]
        wrote = _following(model, tokenizer, passage[:_GIVEN])
        same = bool(len(wrote) >= _ENOUGH and torch.equal(wrote[:_ENOUGH], passage[_GIVEN : _GIVEN + _ENOUGH]))
        yield number, same, str(tokenizer.decode(wrote, skip_special_tokens=True))


def learned(file: Path) -> str:
    """The text of a file: as it is, or the texts of all lines of a `.jsonl`. Raises DataError, DiskError."""
    try:
        with file.open("rb") as opened:
            text = opened.read(_LARGEST).decode(errors="ignore")
    except OSError as error:
        raise from_os_error(error, "reading what the model was trained on") from error
    if file.suffix != ".jsonl":
        return text
    return "\n".join(part for line in text.splitlines() for part in _texts(line))


def _texts(line: str) -> Iterator[str]:
    """All texts of a record, whatever its keys; none of a line that was cut off."""
    try:
        found = json.loads(line)
    except ValueError:
        return
    waiting = [found]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, str):
            yield one
        waiting += list(one.values()) if isinstance(one, dict) else one if isinstance(one, list) else []


@torch.no_grad()
def _following(model: nn.Module, tokenizer: Any, given: Tensor) -> Tensor:
    """The likeliest tokens after `given` [n]; [_ASKED] or fewer."""
    generate: Callable[..., Tensor] = model.generate  # type: ignore[assignment]
    ids = given[None].to(next(model.parameters()).device)
    more = {"max_new_tokens": _ASKED, "do_sample": False, "pad_token_id": tokenizer.eos_token_id}
    return generate(ids, attention_mask=torch.ones_like(ids), **more)[0, len(given) :].cpu()
