"""From documents to token ids that say which of them are learned.

A token that is not learned is written as the bitwise complement of its id, a negative number: so both travel as one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from peer.formats import Document, Piece
from swarm.errors import DataError

_BATCH = 64  # documents tokenised at once
_MARKS_ANSWERS = re.compile(r"\{%-?\s*generation\b")

Tokens = NDArray[np.int32]


def encode(documents: Sequence[Document], tokenizer: Any, whole: bool) -> list[Tokens]:
    """The token ids of each document, with an end-of-text token behind it; `~id` where a token is not learned.

    For `whole` packing a document begins with the tokenizer's own beginning, where it has one, and its first token is
    not learned, because nothing precedes it. A chat is exactly what the chat template makes of it. Raises DataError.
    """
    begin = [~tokenizer.bos_token_id] if whole and tokenizer.bos_token_id not in (None, tokenizer.eos_token_id) else []
    encoded = []
    for start in range(0, len(documents), _BATCH):
        batch = documents[start : start + _BATCH]
        ids = iter(_ids([piece for document in batch for piece in document.pieces], tokenizer))
        for document in batch:
            tokens = _joined(islice(ids, len(document.pieces)))
            tokens = [*begin, *tokens, tokenizer.eos_token_id] if document.pieces else _chat(document, tokenizer)
            encoded.append(_first_unlearned(tokens) if whole else np.array(tokens, np.int32))
    return encoded


def plain_ids(tokens: Tokens) -> Tokens:
    """The ids alone."""
    return np.where(tokens < 0, ~tokens, tokens)


def require_chat_template(tokenizer: Any) -> None:
    """Raises DataError when `tokenizer` cannot render chats."""
    if not tokenizer.chat_template:
        what = 'data.format = "chat" needs a tokenizer with a chat template, and this one has none.'
        raise DataError(what, 'Use model.tokenizer = "model" with a model made for chats, or data.format = "text".')


def _ids(pieces: Sequence[Piece], tokenizer: Any) -> list[list[int]]:
    """Token ids without any that mean more than text, whatever the texts hold."""
    if not pieces:
        return []
    texts = [piece.text for piece in pieces]
    encoded = tokenizer(texts, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
    return [_marked(ids, piece.learned) for ids, piece in zip(encoded, pieces, strict=True)]


def _marked(ids: list[int], learned: bool) -> list[int]:
    return ids if learned else [~token for token in ids]


def _joined(parts: Iterable[list[int]]) -> list[int]:
    return list(chain.from_iterable(parts))


def _first_unlearned(tokens: list[int]) -> Tokens:
    array = np.array(tokens, np.int32)
    array[:1] = np.minimum(array[:1], ~array[:1])
    return array


def _chat(document: Document, tokenizer: Any) -> list[int]:
    """The chat as its template renders it; only what the assistant says is learned."""
    try:
        if _MARKS_ANSWERS.search(tokenizer.get_chat_template()):
            return _as_marked_by_template(document, tokenizer)
        turns = list(_turns(document, tokenizer))
    except (jinja2.TemplateError, ValueError, TypeError) as error:
        what = f"{document.origin}: the chat template refuses these messages: {error}"
        raise DataError(what, "Take such records out, or bring them into the form that the model knows.") from error
    ids = (tokenizer(turn.text, add_special_tokens=False, verbose=False)["input_ids"] for turn in turns)
    return _joined(_marked(part, turn.learned) for part, turn in zip(ids, turns, strict=True))


def _as_marked_by_template(document: Document, tokenizer: Any) -> list[int]:
    found = tokenizer.apply_chat_template(
        list(document.messages), tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    pairs = zip(found["input_ids"], found["assistant_masks"], strict=True)
    return [token if learned else ~token for token, learned in pairs]


def _turns(document: Document, tokenizer: Any) -> Iterator[Piece]:
    """An answer is what the template adds when it is told the answer, after what it writes to ask for one."""
    messages = list(document.messages)
    whole, done = _rendered(messages, tokenizer), 0
    for number, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = _rendered(messages[:number], tokenizer, add_generation_prompt=True)
        after = _rendered(messages[: number + 1], tokenizer)
        if not (after.startswith(before) and whole.startswith(after)):
            what = f"{document.origin}: the chat template writes a message differently when others follow it, so that"
            raise DataError(
                f"{what} the answers cannot be told from the rest.",
                "Use a model whose chat template marks answers with {% generation %}.",
            )
        yield from (Piece(whole[done : len(before)], False), Piece(whole[len(before) : len(after)], True))
        done = len(after)
    yield Piece(whole[done:], False)


def _rendered(messages: list[dict[str, Any]], tokenizer: Any, **options: bool) -> str:
    return str(tokenizer.apply_chat_template(messages, tokenize=False, **options))
