"""What one peer knows: θ, the optimizer's state, and how far the run is."""

from __future__ import annotations

import threading
from pathlib import Path

import torch
from torch import Tensor, nn

from peer.checkpoint import read_state, state_digest, write_state
from peer.data import Samples
from peer.exchange.base import Applied
from peer.model import loss_sum
from peer.optimizer import AdamW
from peer.schedule import learning_rate
from swarm.errors import CorruptError
from swarm.runspec import RunSpec

STATE_FORMAT = "garage-swarm-state-1"
_KEPT_SNAPSHOTS = 2


class Learner:
    """Accumulates gradients at θ_round and applies agreed averages.

    θ changes under `lock` only, so that another thread may write a snapshot of it.
    """

    def __init__(
        self,
        spec: RunSpec,
        model: nn.Module,
        parameters: dict[str, nn.Parameter],
        device: torch.device,
        targets_per_sample: float = 0.0,  # 0 means all, sequence_length
    ) -> None:
        self.spec = spec
        self.model = model
        self.parameters = parameters
        self.device = device
        self.targets_per_sample = targets_per_sample or spec.data.sequence_length
        self.optimizer = AdamW(parameters, spec.training)
        self.round = 0
        self.global_samples = 0
        self.digest = ""
        self.lock = threading.Lock()

    def accumulate(self, samples: Samples) -> float:
        """Add the gradients of a batch to those of this round; the summed loss of its samples, see `loss_sum`."""
        loss = loss_sum(self.model, samples.to(self.device), self.targets_per_sample)
        torch.autograd.backward(loss)
        return float(loss.detach())

    def mean_gradient(self, samples: int) -> dict[str, Tensor]:
        """The mean gradient of this round's samples so far, fp32, on the CPU; zeros without samples."""
        scale = 1.0 / max(samples, 1)
        return {
            name: (torch.zeros_like(p) if p.grad is None else p.grad * scale).detach().float().cpu()
            for name, p in self.parameters.items()
        }

    def forget_gradients(self) -> None:
        """Begin a round anew."""
        for parameter in self.parameters.values():
            parameter.grad = None

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
        self.forget_gradients()

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
        self.forget_gradients()

    def snapshot(self, folder: Path) -> tuple[Path, int, str]:
        """Write the agreed state to `folder`, once per round: (file, round, digest). Safe from any thread."""
        with self.lock:
            path = folder / f"round-{self.round}.safetensors"
            if not path.exists():
                write_state(path, self.state(), self._metadata())
                _keep_newest(folder)
            return path, self.round, self.digest

    def _metadata(self) -> dict[str, str]:
        return {
            "format": STATE_FORMAT,
            "run": self.spec.run.name,
            "round": str(self.round),
            "global_samples": str(self.global_samples),
            "digest": self.digest,
        }


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
