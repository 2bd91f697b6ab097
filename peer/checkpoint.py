"""State files: tensors with a digest that every peer can recompute.

See "State, files, names" in docs/architecture.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from swarm.errors import CorruptError, NotFoundError
from swarm.tensorfile import atomic_write, read_header, tensor_prefix
from swarm.tensorfile import state_digest as file_digest

_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


STATE_FORMAT = "garage-swarm-state-1"


def state_metadata(run: str, round_number: int, global_samples: int, digest: str) -> dict[str, str]:
    """The metadata of a state file."""
    return {
        "format": STATE_FORMAT,
        "run": run,
        "round": str(round_number),
        "global_samples": str(global_samples),
        "digest": digest,
    }


def write_state(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file: whole or not at all, and equal content as equal bytes.

    Not through safetensors' own writer: it orders the metadata at random, and a file is named by its hash. Raises
    OSError (a full disk, a folder that cannot be written).
    """
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0].encode()))
    with atomic_write(path) as file:
        file.write(_header(ordered, metadata))
        for _, tensor in ordered:
            file.write(_bytes(tensor))


def read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors (on the CPU) and the metadata of a state file.

    Raises CorruptError, naming the file, when it is torn or its content is not what its digest says, and
    NotFoundError.
    """
    try:
        metadata = read_header(path).metadata
        if file_digest(path) != metadata.get("digest"):
            raise _altered(path, "its content does not have the digest that it names")
        return load_file(path), metadata
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no state file {path}.", "Check the path.") from error
    except SafetensorError as error:
        raise _altered(path, "it is no safetensors file") from error


def state_digest(tensors: dict[str, Tensor]) -> str:
    """The digest of a state in memory; equal to swarm.tensorfile.state_digest of its file."""
    digest = hashlib.sha256()
    for name in sorted(tensors, key=str.encode):
        tensor = tensors[name]
        digest.update(tensor_prefix(name, _DTYPES[tensor.dtype], tuple(tensor.shape)))
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def fitting(tensors: dict[str, Tensor], name: str, like: Tensor) -> Tensor:
    """A tensor of a state file. Raises CorruptError when it is missing or has another shape."""
    found = tensors.get(name)
    if found is None or found.shape != like.shape:
        raise CorruptError(
            f"The state does not fit the run's model: {name} is missing or has another shape.",
            "Fetch it again from the coordinator.",
        )
    return found


def _header(tensors: Iterable[tuple[str, Tensor]], metadata: dict[str, str]) -> bytes:
    """Length and JSON. The data begins at a multiple of 8 bytes and `tensors` have the widest types first, so each
    is aligned to its type."""
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    end = 0
    for name, tensor in tensors:
        begin, end = end, end + tensor.nbytes
        header[name] = {
            "dtype": _DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _bytes(tensor: Tensor) -> memoryview:
    """The tensor's little-endian bytes; a view, unless it lies on another device or is not contiguous."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data


def _altered(path: Path, why: str) -> CorruptError:
    return CorruptError(
        f"{path.name} is torn or was altered: {why}; it is not used.",
        f"Delete {path} and fetch it again, or use another checkpoint.",
    )
