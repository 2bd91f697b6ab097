"""The frozen base: from a folder to blobs, and from the volunteer's folder to the cache."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from peer.base import adopt, base_blobs, manifests, missing, model_folder
from swarm.chunks import CHUNK
from swarm.errors import CorruptError, ModelError


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model-1.safetensors").write_bytes(os.urandom(CHUNK + 5))
    (folder / "model.safetensors.index.json").write_text("{}")
    (folder / "config.json").write_text("{}")
    (folder / "pytorch_model.bin").write_text("never")
    return folder


def test_the_weights_are_linked_as_blobs(model: Path, tmp_path: Path) -> None:
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    files = manifests(base_blobs(model, blobs))
    assert [(item.name, item.count) for item in files] == [
        ("model-1.safetensors", 2),
        ("model.safetensors.index.json", 1),
    ]
    assert all((blobs / item.sha256).samefile(model / item.name) for item in files)
    assert base_blobs(model, blobs) == [item.facts() for item in files]


def test_a_model_without_weights_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no \*\.safetensors"):
        base_blobs(tmp_path, tmp_path)


def test_a_copy_of_the_volunteer_is_used_without_copying(model: Path, tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    files = manifests(base_blobs(model, tmp_path / "blobs"))
    cache, folder = tmp_path / "cache", tmp_path / "run"
    folder.mkdir()
    adopt(files, model, cache)
    assert missing(files, cache) == []
    model_folder(folder, files, cache)
    assert sorted(path.name for path in folder.iterdir()) == [item.name for item in files]
    assert all((folder / item.name).samefile(model / item.name) for item in files)


def test_another_model_is_refused_and_the_file_is_named(model: Path, tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    files = manifests(base_blobs(model, tmp_path / "blobs"))
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(ModelError, match=r"holds no model-1\.safetensors"):
        adopt(files, other, tmp_path / "cache")
    data = bytearray((model / "model-1.safetensors").read_bytes())
    data[-1] ^= 1
    (other / "model-1.safetensors").write_bytes(data)
    with pytest.raises(ModelError, match=r"model-1\.safetensors differs .* 1 of 2 chunks.* another one") as caught:
        adopt(files, other, tmp_path / "cache")
    assert caught.value.exit_code == 14
    assert len(missing(files, tmp_path / "cache")) == 2


def test_a_file_of_the_cache_that_was_altered_is_refused_by_name(model: Path, tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    files = manifests(base_blobs(model, tmp_path / "blobs"))
    adopt(files, model, tmp_path / "cache")
    with (model / "model-1.safetensors").open("r+b") as file:  # a link: the cache has the same bytes
        file.write(b"altered")
    with pytest.raises(CorruptError, match=r"model-1\.safetensors"):
        missing(files, tmp_path / "cache")
