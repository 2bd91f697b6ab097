"""Records of every format become documents: what is a prompt, what is learned, and what is wrong with a record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from peer.formats import Document, documents, language
from swarm.errors import DataError
from swarm.sections import Data

PAIRS = [{"en": f"The cat {number}.", "de": f"Die Katze {number}."} for number in range(40)]
CHAT = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hello."}]


def made(folder: Path, records: list[Any], form: str, **keys: Any) -> list[Document]:
    (folder / "data.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return list(documents(Data(source="data.jsonl", format=form, **keys), folder))  # type: ignore[arg-type]


def refusal(folder: Path, record: Any, form: str, **keys: Any) -> str:
    with pytest.raises(DataError) as caught:
        made(folder, [record], form, **keys)
    assert caught.value.remedy
    assert f"{folder / 'data.jsonl'}, line 1" in caught.value.what
    return caught.value.what


def test_an_instruction_is_a_prompt_and_an_answer(tmp_path: Path) -> None:
    records = [
        {"instruction": "Add.", "input": "1 and {2}", "output": "3"},
        {"instruction": "Say hello.", "output": "Hello.", "input": None},
        {"instruction": "Say nothing.", "output": " "},
    ]
    first, second = made(tmp_path, records, "instruction")
    assert first.pieces == (("### Task\nAdd.\n\n### Given\n1 and {2}\n\n### Answer\n", False), ("3", True))
    assert second.pieces == (("### Task\nSay hello.\n\n### Answer\n", False), ("Hello.", True))
    assert first.text == "Add.\n1 and {2}\n3"


def test_a_translation_names_the_languages_and_learns_the_target(tmp_path: Path) -> None:
    records = [{"en": "Yes.", "de": "Ja.", "n": 1}, {"en": "No.", "de": ""}]
    [only] = made(tmp_path, records, "translation", pair="en>de")
    prompt, answer = only.pieces
    assert prompt == ("Translate from English to German.\n\nEnglish:\nYes.\n\nGerman:\n", False)
    assert answer == ("Ja.", True)
    assert (language("de_AT"), language("klingon")) == ("German", "klingon")


def test_both_directions_are_one_document_in_a_direction_of_its_own(tmp_path: Path) -> None:
    both = made(tmp_path, PAIRS, "translation", pair="en<>de")
    forth = made(tmp_path, PAIRS, "translation", pair="en>de")
    assert len(both) == len(forth) == 40
    assert [document.text for document in both] == [document.text for document in forth]
    german = [document.pieces[1].text.startswith("Die") for document in both]
    assert 5 < sum(german) < 35
    backwards = made(tmp_path, PAIRS[::-1], "translation", pair="en<>de")
    assert {document.pieces for document in backwards} == {document.pieces for document in both}


def test_a_chat_keeps_its_messages(tmp_path: Path) -> None:
    [only] = made(tmp_path, [{"messages": CHAT}, {"messages": CHAT[:1]}], "chat")
    assert only.messages == tuple(CHAT)
    assert only.text == "Hello?\nHello."
    assert made(tmp_path, [{"talk": CHAT}], "chat", field="talk")[0].messages == tuple(CHAT)


@pytest.mark.parametrize(
    ("record", "form", "what"),
    [
        ({"instruction": "a"}, "instruction", "no field 'output'"),
        ({"instruction": "a", "output": 5}, "instruction", "the field 'output' is no text but 5"),
        ({"en": "a"}, "translation", "no field 'de'; it has 'en'"),
        ({"en": "a", "de": "\ud800"}, "translation", "half of a surrogate pair"),
        ({"text": "a"}, "chat", "no field 'messages'"),
        ({"messages": "hello"}, "chat", "no list of messages"),
        ({"messages": [{"role": "user"}]}, "chat", "no field 'content'"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "chat", "is no text but"),
    ],
)
def test_a_wrong_record_is_named(tmp_path: Path, record: Any, form: str, what: str) -> None:
    assert what in refusal(tmp_path, record, form, **({"pair": "en>de"} if form == "translation" else {}))


@pytest.mark.parametrize(
    "keys",
    [
        {"source": "a.txt", "format": "chat"},
        {"source": "builtin:pydoc-topics", "format": "instruction"},
        {"source": "a.jsonl", "format": "instruction", "packing": "stream"},
    ],
)
def test_what_does_not_fit_a_format_is_refused_in_the_spec(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="right would be"):
        Data(**keys)


def test_plain_text_among_records_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(DataError, match=r"a\.txt, line 1 is plain text"):
        list(documents(Data(source=f"{tmp_path}/*", format="chat"), tmp_path))
