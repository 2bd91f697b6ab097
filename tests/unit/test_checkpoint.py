"""State files: round trip, equal bytes, one digest from memory and from the file, and no torn file is ever read."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from peer.checkpoint import read_state, state_digest, state_metadata, write_state
from swarm import tensorfile
from swarm.errors import CorruptError, NotFoundError

STATE = {
    "model/weight": torch.arange(5000, dtype=torch.float32).reshape(50, 100),
    "model/half": torch.randn(3, 5).to(torch.bfloat16),
    "model/transposed": torch.randn(4, 6).t(),
    "optimizer/step": torch.tensor(7),
    "optimizer/scalar": torch.tensor(0.5, dtype=torch.float64),
    "flags": torch.tensor([True, False, True]),
    "bytes": torch.arange(5, dtype=torch.uint8),
    "empty": torch.empty(0, 3),
    "größe": torch.ones(2, dtype=torch.float16),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return written(tmp_path / "state.safetensors", STATE)


def written(path: Path, tensors: dict[str, Tensor]) -> Path:
    write_state(path, tensors, state_metadata("run", 3, 192, state_digest(tensors)))
    return path


def test_what_is_written_is_read(path: Path) -> None:
    tensors, metadata = read_state(path)
    assert tensors.keys() == STATE.keys()
    for name, tensor in STATE.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor), name
    assert (metadata["run"], metadata["round"], metadata["global_samples"]) == ("run", "3", "192")
    assert metadata["format"] == "garage-swarm-state-1"


def test_the_digest_from_memory_is_that_of_the_file_and_of_what_is_read(path: Path) -> None:
    tensors, metadata = read_state(path)
    assert state_digest(STATE) == tensorfile.state_digest(path) == state_digest(tensors) == metadata["digest"]


def test_safetensors_own_reader_and_writer_agree(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    contiguous = {name: tensor.contiguous() for name, tensor in STATE.items()}
    safetensors.torch.save_file(contiguous, other)
    assert tensorfile.state_digest(other) == state_digest(STATE)
    assert safetensors.torch.load_file(path).keys() == STATE.keys()


def test_equal_states_give_equal_bytes_whatever_their_order(path: Path, tmp_path: Path) -> None:
    again = written(tmp_path / "again", dict(reversed(STATE.items())))
    assert again.read_bytes() == path.read_bytes()


@given(st.data())
def test_any_change_changes_the_digest(data: st.DataObject) -> None:
    tensors = {name: tensor.clone() for name, tensor in STATE.items() if tensor.numel()}
    name = data.draw(st.sampled_from(sorted(tensors)))
    flat = tensors[name].contiguous().reshape(-1).view(torch.uint8)
    flat[data.draw(st.integers(0, len(flat) - 1))] ^= 1
    tensors[name] = flat.view(tensors[name].dtype).reshape(tensors[name].shape)
    assert state_digest(tensors) != state_digest({name: STATE[name] for name in tensors})


def test_names_and_shapes_are_part_of_the_digest() -> None:
    row = torch.zeros(1, 2)
    assert len({state_digest({"a": row}), state_digest({"b": row}), state_digest({"a": row.t()})}) == 3


def test_a_file_torn_at_any_4_kb_boundary_or_one_byte_is_refused_by_name(path: Path) -> None:
    whole = path.read_bytes()
    for end in [*range(0, len(whole), 4096), 1, 7, 8, 9, len(whole) - 1]:
        path.write_bytes(whole[:end])
        with pytest.raises(CorruptError, match=r"state\.safetensors is torn"):
            read_state(path)


def test_a_flipped_bit_anywhere_is_refused_by_name(path: Path) -> None:
    whole = path.read_bytes()
    header = int.from_bytes(whole[:8], "little") + 8
    for at in [*range(header, len(whole), 997), len(whole) - 1]:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with pytest.raises(CorruptError, match=r"state\.safetensors"):
            read_state(path)


def test_a_file_without_a_digest_is_refused(tmp_path: Path) -> None:
    write_state(tmp_path / "foreign", STATE, {})
    with pytest.raises(CorruptError, match="foreign"):
        read_state(tmp_path / "foreign")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nowhere"):
        read_state(tmp_path / "nowhere")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(KeyError):
        write_state(path, {"odd": torch.zeros(1, dtype=torch.complex64)}, {})
    assert path.read_bytes() == before
    assert [item.name for item in path.parent.iterdir()] == [path.name]
