"""What a record says, and what of it is learned: from texts and records to documents.

A document is a row of pieces, each learned or not, or the messages of a chat, which the tokenizer's chat template
renders. Records with nothing to learn, or with nothing but white space where there should be text, are left out.
Every error is a DataError that names file and line or record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from peer.sources import Found, Record, records
from swarm.errors import DataError
from swarm.sections import Data

# What stands before the text that is learned. Whoever uses a model writes its prompts in the same way.
INSTRUCTION_PROMPT = "### Task\n{instruction}\n\n### Answer\n"
INSTRUCTION_INPUT_PROMPT = "### Task\n{instruction}\n\n### Given\n{input}\n\n### Answer\n"
TRANSLATION_PROMPT = "Translate from {source} to {target}.\n\n{source}:\n{text}\n\n{target}:\n"

# Names in prompts, by the ISO 639-1 code that the field is called; any other field is its own name.
_LANGUAGES = {
    **{"ar": "Arabic", "bg": "Bulgarian", "bn": "Bengali", "ca": "Catalan", "cs": "Czech", "cy": "Welsh"},
    **{"da": "Danish", "de": "German", "el": "Greek", "en": "English", "es": "Spanish", "et": "Estonian"},
    **{"eu": "Basque", "fa": "Persian", "fi": "Finnish", "fr": "French", "ga": "Irish", "gl": "Galician"},
    **{"he": "Hebrew", "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian", "id": "Indonesian", "is": "Icelandic"},
    **{"it": "Italian", "ja": "Japanese", "ko": "Korean", "lt": "Lithuanian", "lv": "Latvian", "mt": "Maltese"},
    **{"nl": "Dutch", "no": "Norwegian", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian"},
    **{"sk": "Slovak", "sl": "Slovenian", "sr": "Serbian", "sv": "Swedish", "sw": "Swahili", "ta": "Tamil"},
    **{"th": "Thai", "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese", "zh": "Chinese"},
}


class Piece(NamedTuple):
    """A part of a document's text, and whether it is learned."""

    text: str
    learned: bool


@dataclass(frozen=True)
class Document:
    """`origin` is file and line or record. `text` is what it says, without prompts: its keys are drawn from it, and
    likeness is found by it. It is made of `pieces`, or of `messages` when it is a chat.
    """

    origin: str
    text: str
    pieces: tuple[Piece, ...] = ()
    messages: tuple[dict[str, Any], ...] = ()


def documents(data: Data, base: Path) -> Iterator[Document]:
    """The documents of `data`; paths are relative to `base`. Raises DataError, also while it is read."""
    made = (_made(found, data) for found in records(data, base, _fields(data)))
    return (document for document in made if document)


def plain(text: str, origin: str) -> Document:
    """A text, all of which is learned."""
    return Document(origin, text, (Piece(text, True),))


def languages(pair: str) -> tuple[str, str]:
    """The two fields of `data.pair`."""
    source, _, target = pair.replace("<>", ">").partition(">")
    return source, target


def language(field: str) -> str:
    """The language that a field such as "de" or "de_AT" holds, by its English name."""
    return _LANGUAGES.get(field.partition("_")[0].lower(), field)


def _fields(data: Data) -> tuple[str, ...]:
    """The fields that are needed; none means all."""
    fields: dict[str, tuple[str, ...]] = {
        "text": () if data.template else (data.field,),
        "chat": (_chat_field(data),),
        "instruction": ("instruction", "input", "output"),
        "translation": languages(data.pair),
    }
    return fields[data.format]


def _chat_field(data: Data) -> str:
    return "messages" if data.field == "text" else data.field


def _made(found: Found, data: Data) -> Document | None:
    origin, content = found
    if isinstance(content, str):
        if data.format != "text":
            what = f'{origin} is plain text, but data.format = "{data.format}" needs records with fields.'
            raise DataError(what, "Name .jsonl or .parquet files in data.source.")
        return plain(content, origin) if content.strip() else None
    return _FORMATS[data.format](content, data, origin)


def _text(record: Record, data: Data, origin: str) -> Document | None:
    remedy = "Name a field that every record has in data.field or data.template."
    try:
        text = data.template.format_map(record) if data.template else record[data.field]
    except KeyError as error:
        raise DataError(_lacks(record, str(error), origin), remedy) from error
    _require_text(text, data.field, origin)
    return plain(text, origin) if text.strip() else None


def _instruction(record: Record, _data: Data, origin: str) -> Document | None:
    instruction, answer = (_string(record, name, origin) for name in ("instruction", "output"))
    given = _string(record, "input", origin) if record.get("input") else ""
    if not instruction.strip() or not answer.strip():
        return None
    pattern = INSTRUCTION_INPUT_PROMPT if given.strip() else INSTRUCTION_PROMPT
    prompt = pattern.format(instruction=instruction, input=given)
    return Document(origin, "\n".join((instruction, given, answer)), (Piece(prompt, False), Piece(answer, True)))


def _translation(record: Record, data: Data, origin: str) -> Document | None:
    source, target = languages(data.pair)
    texts = {name: _string(record, name, origin) for name in (source, target)}
    if not all(text.strip() for text in texts.values()):
        return None
    text = "\n".join(texts.values())
    if "<" in data.pair and hashlib.sha256(text.encode()).digest()[-1] % 2:
        source, target = target, source
    prompt = TRANSLATION_PROMPT.format(source=language(source), target=language(target), text=texts[source])
    return Document(origin, text, (Piece(prompt, False), Piece(texts[target], True)))


def _chat(record: Record, data: Data, origin: str) -> Document | None:
    field = _chat_field(data)
    messages = record.get(field)
    if field not in record:
        raise DataError(_lacks(record, repr(field), origin), "Name the list of messages in data.field.")
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        what = f"{origin}: the field {field!r} is no list of messages but {messages!r:.60}."
        raise DataError(what, 'Right would be [{"role": "user", "content": "…"}, …].')
    for message in messages:
        _string(message, "role", origin)
        _string(message, "content", origin)
    if not any(message["role"] == "assistant" and message["content"].strip() for message in messages):
        return None
    return Document(origin, "\n".join(message["content"] for message in messages), messages=tuple(messages))


def _string(record: Record, name: str, origin: str) -> str:
    if name not in record:
        raise DataError(_lacks(record, repr(name), origin), "Add it, or take such records out.")
    return _require_text(record[name], name, origin)


def _require_text(found: object, name: str, origin: str) -> str:
    if not isinstance(found, str):
        what = f"{origin}: the field {name!r} is no text but {found!r:.60}."
        raise DataError(what, "Name a field that holds text in every record, or take such records out.")
    if not found.isascii():
        _require_characters(found, origin)
    return found


def _require_characters(text: str, origin: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        what = f"{origin}: character {error.start + 1} is half of a surrogate pair, which is no text."
        raise DataError(what, "Repair the record, or take it out.") from error


def _lacks(record: Record, name: str, origin: str) -> str:
    return f"{origin} has no field {name}; it has {', '.join(map(repr, record)) or 'none'}."


_FORMATS: dict[str, Callable[[Record, Data, str], Document | None]] = {
    "text": _text,
    "chat": _chat,
    "instruction": _instruction,
    "translation": _translation,
}
