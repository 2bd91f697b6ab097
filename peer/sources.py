"""The texts and records of a run, one after another, read as a stream; peer/formats.py makes documents of them.

- `builtin:pydoc-topics`: each topic of Python's own documentation is a text.
- `.txt`: a file is a text; a long one is cut at the first blank line after each million characters.
- `.jsonl`, `.parquet`, `hf:org/name`: records, which have fields.

Every error is a DataError that names the file and the line or record, what was found there, and what to do.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from peer import hub
from swarm.errors import DataError
from swarm.sections import Data

_LONG = 1_000_000  # characters; bounds what is in memory at once
_CHUNK = 1 << 20  # bytes
_ROWS = 256  # of a Parquet file in memory at once

Record = Mapping[str, Any]
Found = tuple[str, str | Record]  # where it stands, for people; a text or a record


def records(data: Data, base: Path, fields: Collection[str] = ()) -> Iterator[Found]:
    """What `data.source` holds; paths are relative to `base`. Only `fields` are read where that saves something.

    Raises DataError, also while it is read.
    """
    if data.source.startswith("builtin:"):
        return iter(_pydoc_topics(data.source))
    if data.source.startswith("hf:"):
        return _hub_records(data, base)
    return chain.from_iterable(_file(path, fields) for path in _paths(data.source, base))


def count(data: Data, base: Path) -> int | None:
    """About how many records there are, when that is quickly known."""
    if data.source.startswith("builtin:"):
        return len(_pydoc_topics(data.source))
    if data.source.startswith("hf:"):
        return None
    return sum(map(_count_in, _paths(data.source, base)))


def letters(data: Data, base: Path) -> int | None:
    """About how many letters of text there are, when that is quickly known: of files, their bytes. Raises DataError."""
    if data.source.startswith("builtin:"):
        return sum(len(text) for _, text in _pydoc_topics(data.source))
    if data.source.startswith("hf:"):
        return None
    return sum(path.stat().st_size for path in _paths(data.source, base))


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


def _pydoc_topics(source: str) -> list[Found]:
    from pydoc_data.topics import topics

    return [(f"{source}, topic {key!r}", topics[key]) for key in sorted(topics)]


def _count_in(path: Path) -> int:
    try:
        if path.suffix == ".jsonl":
            with path.open("rb") as file:
                return sum(part.count(b"\n") for part in iter(lambda: file.read(_CHUNK), b""))
        return 1 if path.suffix == ".txt" else int(pyarrow.parquet.read_metadata(path).num_rows)
    except (OSError, pyarrow.ArrowException) as error:
        raise _unreadable(path, error) from error


def _paths(source: str, base: Path) -> list[Path]:
    pattern = base.absolute() / Path(source).expanduser()
    if pattern.is_file():
        return [pattern]
    root = Path(pattern.anchor)
    found = sorted(path for path in root.glob(str(pattern.relative_to(root))) if path.is_file())
    if not found:
        raise DataError(f"There is no file {pattern}.", "Check data.source; paths are relative to the run spec.")
    return found


def _file(path: Path, fields: Collection[str]) -> Iterator[Found]:
    match path.suffix:
        case ".txt":
            return _texts(path)
        case ".jsonl":
            return _json_records(path)
        case _:
            return _parquet_records(path, fields)


def _texts(path: Path) -> Iterator[Found]:
    begin = 1
    for text in cut((line for _, line in _lines(path)), _LONG):
        yield f"{path}, line {begin}", text
        begin += text.count("\n")


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


def _json_records(path: Path) -> Iterator[Found]:
    for number, line in _lines(path):
        if line.strip():
            where = f"{path}, line {number}"
            yield where, _json_record(line, where)


def _json_record(line: str, where: str) -> Record:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:  # also for numbers of thousands of digits
        raise DataError(f"{where} is not valid JSON: {error}.", "Each line must be one JSON object.") from error
    if not isinstance(record, dict):
        what = f"{where} is no JSON object but a {type(record).__name__}."
        raise DataError(what, 'Each line must be one JSON object, such as {"text": "…"}.')
    return record


def _parquet_records(path: Path, fields: Collection[str]) -> Iterator[Found]:
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            wanted = [name for name in file.schema_arrow.names if name in fields]
            rows = (
                row
                for batch in file.iter_batches(batch_size=_ROWS, columns=wanted or None)
                for row in batch.to_pylist()
            )
            for number, row in enumerate(rows, start=1):
                yield f"{path}, record {number}", row
    except (OSError, pyarrow.ArrowException) as error:
        raise _unreadable(path, error) from error


def _hub_records(data: Data, base: Path) -> Iterator[Found]:
    """Streamed. As everywhere in that library, a local folder of the same name goes before the hub."""
    name = data.source.removeprefix("hf:")
    local = base / name
    library = _datasets()
    if not local.is_dir():
        hub.require_dataset(name, DataError)
    try:
        stream = library.load_dataset(str(local) if local.is_dir() else name, split=data.split, streaming=True)
        for number, row in enumerate(stream, start=1):
            yield f"{data.source}, record {number}", row
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


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} cannot be read: {error}.", "Check that the file is whole and that you may read it.")
