"""What a run asks of a machine, from what the coordinator says of it: before anything large is fetched. Pure.

Estimates, in bytes and floating-point operations. With P trained values and B of a frozen base: full training keeps
θ, a gradient and two moments, 16 P bytes. Activations of one sample of L tokens: about 34 L h for each layer of width h
in half precision (Korthikanti et al. 2022, arXiv 2205.05198, section 4), and the logits, 8 L v with a vocabulary of v.
Training takes 6 operations for each value and token, 4 for a frozen one (Kaplan et al. 2020, arXiv 2001.08361).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from swarm.proto import coordinator_pb2 as pb
from swarm.runspec import RunSpec

_BASE_BYTES = {"full": 0.0, "lora": 2.0, "qlora": 0.6}  # on the device, for each value of the base
_PROCESS = 1_200_000_000  # bytes of RAM: torch, transformers and hivemind in the worker and its helpers
_GRADIENT_STATE, _LOCAL_STATE = 12, 4  # bytes in a state file for each trained value


@dataclass(frozen=True)
class Needs:
    """Of one worker."""

    trained: int  # values
    download: int  # bytes before the first sample
    disk: int  # bytes in all
    device: int  # bytes of memory where it computes, with one sample at once
    ram: int  # bytes of main memory beside that
    operations: float  # floating-point, for each sample
    gpu: bool  # machines without one may not take part


def needs_of(run: pb.Run, spec: RunSpec, config: Mapping[str, Any], here: Collection[str] = ()) -> Needs:
    """`config` is the model's config.json; `here` are files, by their SHA-256, that need not be fetched."""
    trained = trained_values(run, spec)
    base = sum(blob.size for blob in run.base) // 2  # values; bases come in half precision
    state = pb.Blob(sha256=run.latest.sha256, size=run.latest.size)
    fetched = sum(_missing(blob, here) for blob in (*run.model, *run.base, run.heldout, state))
    shards = [_missing(blob, here) for blob in run.shards]
    length = run.layout.sequence_length
    return Needs(
        trained=trained,
        download=fetched + max(shards, default=0),
        disk=fetched + sum(shards) + 2 * run.latest.size,
        device=16 * trained + round(_BASE_BYTES[spec.model.method] * base) + _activations(length, config),
        ram=_PROCESS + (16 if spec.training.mode == "local" else 12) * trained,
        operations=(6.0 * trained + 4.0 * base) * length,
        gpu=not spec.training.cpu_peers,
    )


def trained_values(run: pb.Run, spec: RunSpec) -> int:
    """From the size of the state that the run is at."""
    return run.latest.size // _in_state(spec)


def state_bytes(trained: int, spec: RunSpec) -> int:
    """About how large a state file of so many trained values is."""
    return trained * _in_state(spec)


def _in_state(spec: RunSpec) -> int:
    """Bytes of each trained value."""
    if spec.training.mode == "gradient":
        return _GRADIENT_STATE
    return _LOCAL_STATE * (2 if spec.local.outer_momentum else 1)


def update_bytes(trained: int, spec: RunSpec, members: int) -> int:
    """About what a member sends in a round, directly to the others."""
    others = max(members - 1, 0)
    if spec.training.mode == "local":
        width = {"int8": 1.0, "fp16": 2.0, "none": 8.0, "sparse": 0.00044 * spec.local.kept}[spec.local.codec]
        return round(width * trained * others)
    width = {"none": 4.0, "fp16": 2.0, "8bit": 1.0}[spec.exchange.compression]
    return round(2 * width * trained * others / max(members, 1))


def _missing(blob: pb.Blob, here: Collection[str]) -> int:
    return 0 if blob.sha256 in here else blob.size


def _activations(length: int, config: Mapping[str, Any]) -> int:
    width, layers, words = (_number(config.get(key)) for key in ("hidden_size", "num_hidden_layers", "vocab_size"))
    return 34 * length * width * layers + 8 * length * words


def _number(value: object) -> int:
    """0 for what a model's configuration cannot mean: it is a stranger's."""
    return value if isinstance(value, int) and 0 <= value < 1 << 32 else 0
