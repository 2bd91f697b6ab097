"""Texts from every kind of source, and what is said when one is wrong."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.formats import documents
from peer.sources import count, cut
from swarm.errors import DataError
from swarm.sections import Data

RECORDS = [{"en": "Yes.", "de": "Ja.", "n": 1}, {"en": "No.", "de": "Nein.", "n": 2}]


def texts(base: Path, source: str, **keys: Any) -> list[str]:
    return [document.text for document in documents(Data(source=source, **keys), base)]


def refusal(base: Path, source: str, **keys: Any) -> str:
    with pytest.raises(DataError) as caught:
        texts(base, source, **keys)
    assert caught.value.remedy
    return caught.value.what


def write_jsonl(path: Path, records: list[Any]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def test_the_built_in_topics_are_in_order_and_not_empty(tmp_path: Path) -> None:
    found = texts(tmp_path, "builtin:pydoc-topics")
    assert len(found) > 70
    assert sum(map(len, found)) > 400_000


def test_a_text_file_is_one_document(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\n\r\ntwo \xc3\xa4\n")
    assert texts(tmp_path, "a.txt") == ["one\n\ntwo ä\n"]


def test_a_pattern_takes_all_files_in_order_and_leaves_out_empty_ones(tmp_path: Path) -> None:
    for name, text in {"b/2.txt": "two", "a/1.txt": "one", "a/3.txt": " \n", "a/4.md": "no"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert texts(tmp_path, "**/*.txt") == ["one", "two"]
    assert texts(Path("/"), str(tmp_path / "a" / "*.txt")) == ["one"]


def test_a_name_with_brackets_is_a_file_when_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "a[1].txt").write_text("here")
    assert texts(tmp_path, "a[1].txt") == ["here"]


def test_jsonl_by_field_and_by_template(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "pairs.jsonl", RECORDS)
    assert texts(tmp_path, "pairs.jsonl", field="de") == ["Ja.", "Nein."]
    assert texts(tmp_path, "pairs.jsonl", template="{n}: {en}\n{de}") == ["1: Yes.\nJa.", "2: No.\nNein."]


def test_parquet_by_field_and_by_template(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(RECORDS * 300), tmp_path / "pairs.parquet")
    assert texts(tmp_path, "pairs.parquet", field="en") == ["Yes.", "No."] * 300
    assert texts(tmp_path, "pairs.parquet", template="{en} {de}")[:2] == ["Yes. Ja.", "No. Nein."]


def test_a_data_set_of_the_hub_is_streamed_from_a_folder_of_its_name(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    (tmp_path / "org" / "pairs").mkdir(parents=True)
    write_jsonl(tmp_path / "org" / "pairs" / "train.jsonl", RECORDS)
    assert texts(tmp_path, "hf:org/pairs", field="en") == ["Yes.", "No."]
    assert "no field 'text'" in refusal(tmp_path, "hf:org/pairs")
    assert "split 'missing'" in refusal(tmp_path, "hf:org/pairs", split="missing")


def test_a_hub_out_of_reach_is_said_within_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", "http://127.0.0.1:9")
    begin = time.monotonic()
    assert "out of reach" in refusal(tmp_path, "hf:org/pairs")
    assert time.monotonic() - begin < 10


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b'{"text": "a"}\n{"txt": "b"}\n', "line 2 has no field 'text'; it has 'txt'"),
        (b'{"text": "a"}\n\n{"text": \n', "line 3 is not valid JSON"),
        (b'{"text": "a"}\n["b"]\n', "line 2 is no JSON object but a list"),
        (b'{"text": 5}\n', "line 1: the field 'text' is no text but 5"),
        (b'{"text": null}\n', "is no text but None"),
        (b'{"text": "a"}\n{"text": "\xff"}\n', "line 2: byte 11 (0xff) is not UTF-8"),
        (b'{"text": "\\ud800"}\n', "line 1: character 1 is half of a surrogate pair"),
        (b"[" * 200_000, "line 1 is not valid JSON"),
        (b'{"n": ' + b"9" * 5000 + b"}", "line 1 is not valid JSON"),
    ],
)
def test_a_wrong_record_is_named_by_file_and_line(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "data.jsonl").write_bytes(content)
    message = refusal(tmp_path, "data.jsonl")
    assert what in message
    assert str(tmp_path / "data.jsonl") in message
    assert len(message) < 500


def test_a_wrong_template_or_parquet_file_is_named(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(RECORDS), tmp_path / "a.parquet")
    assert "record 1 has no field 'fr'; it has 'en', 'de', 'n'" in refusal(tmp_path, "a.parquet", template="{fr}")
    assert "has no field 'text'" in refusal(tmp_path, "a.parquet")
    (tmp_path / "b.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-20])
    assert "b.parquet cannot be read" in refusal(tmp_path, "b.parquet")


def test_a_missing_file_and_one_in_utf_16_are_named(tmp_path: Path) -> None:
    assert "no file" in refusal(tmp_path, "nowhere.txt")
    assert "no file" in refusal(tmp_path, "*.jsonl")
    (tmp_path / "a.txt").write_text("text", encoding="utf-16")
    assert "a.txt, line 1: byte 1 (0xff) is not UTF-8" in refusal(tmp_path, "a.txt")


def test_documents_know_where_they_come_from(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x\n" * 700_000 + "\n" + "y\n")
    write_jsonl(tmp_path / "b.jsonl", [{"text": "one"}, {"text": " "}, {"text": "three"}])
    origins = [
        [document.origin for document in documents(Data(source=source), tmp_path)] for source in ("a.txt", "b.jsonl")
    ]
    assert origins[0] == [f"{tmp_path / 'a.txt'}, line 1", f"{tmp_path / 'a.txt'}, line 700002"]
    assert origins[1] == [f"{tmp_path / 'b.jsonl'}, line 1", f"{tmp_path / 'b.jsonl'}, line 3"]


def test_the_number_of_records_is_known_beforehand(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", RECORDS)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(RECORDS * 300), tmp_path / "a.parquet")
    sources = ["a.jsonl", "a.parquet", "hf:org/name"]
    assert [count(Data(source=source), tmp_path) for source in sources] == [2, 600, None]
    assert count(Data(source="builtin:pydoc-topics"), tmp_path) > 70  # type: ignore[operator]


@given(st.lists(st.sampled_from(["\n", "ab\n", "abcdefgh\n", "  \n"])), st.integers(1, 30))
def test_pieces_hold_everything_and_end_at_blank_lines_or_when_long(lines: list[str], size: int) -> None:
    pieces = list(cut(lines, size))
    assert "".join(pieces) == "".join(lines)
    for piece in pieces[:-1]:
        assert len(piece) >= size
        assert piece.splitlines()[-1].strip() == "" or len(piece) >= 2 * size
