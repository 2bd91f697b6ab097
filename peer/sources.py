"""The texts of a run, one document after another, read as a stream.

- `builtin:pydoc-topics`: each topic of Python's own documentation is a document.
- `.txt`: a file is a document; a long one is cut at the first blank line after each million characters.
- `.jsonl`, `.parquet`, `hf:org/name`: each record is a document, made of `data.field` or by `data.template`.

Documents that hold nothing but white space are left out. Every error is a DataError that names the file and the line
or record, what was found there, and what to do.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from peer import hub
from swarm.errors import DataError
from swarm.runspec import Data

_LONG = 1_000_000  # characters; bounds what is in memory at once
_ROWS = 256  # of a Parquet file in memory at once

Record = Mapping[str, Any]


def documents(data: Data, base: Path) -> Iterator[str]:
    """The documents of `data.source`; paths are relative to `base`. Raises DataError, also while it is read."""
    if data.source.startswith("builtin:"):
        found: Iterable[str] = _pydoc_topics()
    elif data.source.startswith("hf:"):
        found = _texts(_hub_records(data, base), data, data.source)
    else:
        found = chain.from_iterable(_file(path, data) for path in _paths(data.source, base))
    return (text for text in found if text.strip())


def cut(lines: Iterable[str], size: int) -> Iterator[str]:
    """Pieces of at least `size` characters that end at a blank line, or at any line after twice as many."""
    piece: list[str] = []
    length = 0
    for line in lines:
        piece.append(line)
        length += len(line)
        if length >= size and (not line.strip() or length >= 2 * size):
            yield "".join(piece)
            piece, length = [], 0
    yield "".join(piece)


def _pydoc_topics() -> list[str]:
    from pydoc_data.topics import topics

    return [topics[key] for key in sorted(topics)]


def _paths(source: str, base: Path) -> list[Path]:
    pattern = base.absolute() / Path(source).expanduser()
    if pattern.is_file():
        return [pattern]
    root = Path(pattern.anchor)
    found = sorted(path for path in root.glob(str(pattern.relative_to(root))) if path.is_file())
    if not found:
        raise DataError(f"There is no file {pattern}.", "Check data.source; paths are relative to the run spec.")
    return found


def _file(path: Path, data: Data) -> Iterator[str]:
    match path.suffix:
        case ".txt":
            return cut((line for _, line in _lines(path)), _LONG)
        case ".jsonl":
            return _texts(_json_records(path), data, str(path))
        case _:
            return _texts(_parquet_records(path, data), data, str(path))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines, each with its end; a byte order mark is left out."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                yield number, text.replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        what = f"{path}, line {number}: byte {error.start + 1} ({error.object[error.start]:#04x}) is not UTF-8."
        raise DataError(what, "Save the file as UTF-8.") from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _json_records(path: Path) -> Iterator[tuple[str, Record]]:
    for number, line in _lines(path):
        if line.strip():
            where = f"line {number}"
            yield where, _json_record(line, f"{path}, {where}")


def _json_record(line: str, where: str) -> Record:
    try:
        record = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{where} is not valid JSON: {error}.", "Each line must be one JSON object.") from error
    if not isinstance(record, dict):
        what = f"{where} is no JSON object but a {type(record).__name__}."
        raise DataError(what, 'Each line must be one JSON object, such as {"text": "…"}.')
    return record


def _parquet_records(path: Path, data: Data) -> Iterator[tuple[str, Record]]:
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            wanted = [name for name in file.schema_arrow.names if name == data.field or data.template]
            rows = (
                row
                for batch in file.iter_batches(batch_size=_ROWS, columns=wanted or None)
                for row in batch.to_pylist()
            )
            for number, row in enumerate(rows, start=1):
                yield f"record {number}", row
    except (OSError, pyarrow.ArrowException) as error:
        raise _unreadable(path, error) from error


def _hub_records(data: Data, base: Path) -> Iterator[tuple[str, Record]]:
    """Streamed. As everywhere in that library, a local folder of the same name goes before the hub."""
    name = data.source.removeprefix("hf:")
    local = base / name
    library = _datasets()
    if not local.is_dir():
        hub.require_dataset(name, DataError)
    try:
        stream = library.load_dataset(str(local) if local.is_dir() else name, split=data.split, streaming=True)
        for number, row in enumerate(stream, start=1):
            yield f"record {number}", row
    except (OSError, ValueError, library.exceptions.DatasetsError) as error:
        what = f"The data set {name}, split {data.split!r}, cannot be read: {error}"
        raise DataError(what, "Check data.source and data.split.") from error


def _datasets() -> Any:
    try:
        import datasets
    except ImportError as error:
        what = "A data set of the hub needs the package `datasets`, which is not installed."
        raise DataError(what, "Install it with `pip install 'garage-swarm[hub]'`.") from error
    datasets.disable_progress_bars()
    return datasets


def _texts(records: Iterable[tuple[str, Record]], data: Data, origin: str) -> Iterator[str]:
    for where, record in records:
        yield _text(record, data, f"{origin}, {where}")


def _text(record: Record, data: Data, where: str) -> str:
    try:
        found = data.template.format_map(record) if data.template else record[data.field]
    except KeyError as error:
        what = f"{where} has no field {error}; it has {', '.join(map(repr, record)) or 'none'}."
        raise DataError(what, "Name a field that every record has in data.field or data.template.") from error
    if not isinstance(found, str):
        what = f"{where}: the field {data.field!r} is no text but {found!r:.60}."
        raise DataError(what, "Name a field that holds text in every record, or take such records out.")
    if not found.isascii():
        _require_characters(found, where)
    return found


def _require_characters(text: str, where: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        what = f"{where}: character {error.start + 1} is half of a surrogate pair, which is no text."
        raise DataError(what, "Repair the record, or take it out.") from error


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} cannot be read: {error}.", "Check that the file is whole and that you may read it.")
