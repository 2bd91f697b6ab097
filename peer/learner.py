"""What one peer knows: θ, the optimizer's state, and how far the run is."""

from __future__ import annotations

import threading
from pathlib import Path

import torch
from torch import Tensor, nn

from peer.checkpoint import read_state, state_digest, state_metadata, write_state
from peer.exchange.base import Applied
from peer.gradients import Gradients
from peer.optimizer import AdamW
from peer.schedule import learning_rate
from swarm.errors import CorruptError
from swarm.runspec import RunSpec

_KEPT_SNAPSHOTS = 2


class Learner:
    """Holds θ_round, `parameters`, and applies agreed averages of gradients.

    θ changes under `lock` only, so that another thread may write a snapshot of it.
    """

    def __init__(self, spec: RunSpec, parameters: dict[str, nn.Parameter], gradients: Gradients) -> None:
        self.spec = spec
        self.parameters = parameters
        self.gradients = gradients
        self.optimizer = AdamW(parameters, spec.training)
        self.round = 0
        self.global_samples = 0
        self.digest = ""
        self.lock = threading.Lock()

    def apply(self, result: Applied) -> None:
        """θ_round → θ_(round+1) by the swarm's average: the same arithmetic at every peer."""
        training = self.spec.training
        clip = training.clip_norm
        scale = clip / result.norm if 0 < clip < result.norm else 1.0
        rate = learning_rate(training, self.global_samples)
        with self.lock:
            self.optimizer.step(result.mean, self.round + 1, rate, scale)
            self.round += 1
            self.global_samples += result.samples
            self.digest = state_digest(self.state())
        self.gradients.forget()

    def state(self) -> dict[str, Tensor]:
        """All agreed tensors by their names in a state file."""
        model = {f"model/{name}": parameter.detach() for name, parameter in self.parameters.items()}
        return {**model, **self.optimizer.state()}

    def load(self, path: Path) -> None:
        """Take over the state of a file. Raises CorruptError when it is torn or belongs to another model."""
        tensors, metadata = read_state(path)
        with self.lock, torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(_fitting(path, tensors, f"model/{name}", parameter))
            self.optimizer.load(tensors)
            self.round = int(metadata["round"])
            self.global_samples = int(metadata["global_samples"])
            self.digest = metadata["digest"]
        self.gradients.forget()

    def snapshot(self, folder: Path) -> tuple[Path, int, str]:
        """Write the agreed state to `folder`, once per round: (file, round, digest). Safe from any thread."""
        with self.lock:
            path = folder / f"round-{self.round}.safetensors"
            if not path.exists():
                metadata = state_metadata(self.spec.run.name, self.round, self.global_samples, self.digest)
                write_state(path, self.state(), metadata)
                _keep_newest(folder)
            return path, self.round, self.digest


def _fitting(path: Path, tensors: dict[str, Tensor], name: str, like: Tensor) -> Tensor:
    found = tensors.get(name)
    if found is None or found.shape != like.shape:
        raise CorruptError(
            f"{path.name} does not fit the run's model ({name}).", "Fetch it again from the coordinator."
        )
    return found


def _keep_newest(folder: Path) -> None:
    by_age = sorted(folder.glob("round-*.safetensors"), key=lambda path: path.stat().st_mtime)
    for old in by_age[:-_KEPT_SNAPSHOTS]:
        old.unlink()
