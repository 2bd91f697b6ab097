"""Safetensors files without the library: equal to its own writer, torn and altered ones refused by name."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from swarm.errors import CorruptError
from swarm.tensorfile import atomic_write, read_header, sha256_file, state_digest, tensor_prefix

DTYPES = {"F32": np.float32, "F16": np.float16, "F64": np.float64, "I32": np.int32, "I64": np.int64, "U8": np.uint8}

arrays = st.builds(
    lambda dtype, shape: np.arange(int(np.prod(shape)), dtype=DTYPES[dtype]).reshape(shape),
    st.sampled_from(sorted(DTYPES)),
    st.lists(st.integers(0, 4), max_size=3).map(tuple),
)
states = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12), arrays, max_size=6)


def example_file(folder: Path) -> tuple[Path, bytes]:
    tensors = {"b": np.arange(12, dtype=np.float32).reshape(3, 4), "a/x": np.ones(5, np.int32), "empty": np.ones(0)}
    content = save(tensors, metadata={"round": "3"})
    path = folder / "state.safetensors"
    path.write_bytes(content)
    return path, content


@settings(max_examples=60)
@given(states)
def test_header_and_digest_agree_with_the_library(
    tmp_path_factory: pytest.TempPathFactory, state: dict[str, Any]
) -> None:
    if "__metadata__" in state:
        return
    path = tmp_path_factory.mktemp("state") / "state.safetensors"
    path.write_bytes(save(state, metadata={"run": "x"}))
    header = read_header(path)
    assert header.metadata == {"run": "x"}
    assert [entry.name for entry in header.tensors] == sorted(state, key=str.encode)
    expected = hashlib.sha256()
    content = path.read_bytes()
    for entry in header.tensors:
        array = state[entry.name]
        assert (entry.shape, DTYPES[entry.dtype]) == (array.shape, array.dtype)
        assert content[entry.begin : entry.end] == array.tobytes()
        expected.update(tensor_prefix(entry.name, entry.dtype, entry.shape) + array.tobytes())
    assert state_digest(path) == expected.hexdigest()


def test_torn_at_any_byte_it_is_refused_by_name(tmp_path: Path) -> None:
    path, content = example_file(tmp_path)
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(CorruptError, match=r"state\.safetensors is torn"):
            read_header(path)
        with pytest.raises(CorruptError):
            state_digest(path)


@pytest.mark.parametrize("extra", [1, 8, 4096])
def test_a_file_that_is_too_long_is_refused(tmp_path: Path, extra: int) -> None:
    path, content = example_file(tmp_path)
    path.write_bytes(content + bytes(extra))
    with pytest.raises(CorruptError, match="length does not fit"):
        read_header(path)


def test_any_altered_byte_is_refused_or_changes_the_sum(tmp_path: Path) -> None:
    path, content = example_file(tmp_path)
    digest, checksum = state_digest(path), sha256_file(path)
    data_start = 8 + int.from_bytes(content[:8], "little")
    for position in range(len(content)):
        altered = bytearray(content)
        altered[position] ^= 1
        path.write_bytes(altered)
        assert sha256_file(path) != checksum
        if position >= data_start:
            assert state_digest(path) != digest


@pytest.mark.parametrize(
    "header",
    [
        b"not json",
        b"[]",
        b'"text"',
        b'{"a": 1}',
        b'{"a": {"dtype": "F32", "shape": [1]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}',
        b'{"a": {"dtype": "F32", "shape": ["x"], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": 3, "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": ["0", "4"]}}',
        b'{"__metadata__": [], "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}',
        b"\xff\xfe{}",
    ],
)
def test_headers_that_make_no_sense_are_refused(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(CorruptError, match=r"bad\.safetensors"):
        read_header(path)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_header_or_a_corrupt_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "any.safetensors"
    for candidate in (content, len(content).to_bytes(8, "little") + content):
        path.write_bytes(candidate)
        try:
            read_header(path)
        except CorruptError:
            continue


def test_a_header_that_claims_gigabytes_is_refused_without_reading_them(tmp_path: Path) -> None:
    path = tmp_path / "huge.safetensors"
    path.write_bytes((1 << 62).to_bytes(8, "little") + b"{}")
    with pytest.raises(CorruptError):
        read_header(path)


def test_atomic_write_shows_the_whole_file_or_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(b"old")

    def fail_halfway() -> None:
        with atomic_write(path) as file:
            file.write(b"half")
            assert path.read_bytes() == b"old"
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert [item.name for item in tmp_path.iterdir()] == ["file.json"]
    with atomic_write(path) as file:
        file.write(json.dumps({"new": 1}).encode())
    assert json.loads(path.read_bytes()) == {"new": 1}
    assert [item.name for item in tmp_path.iterdir()] == ["file.json"]
